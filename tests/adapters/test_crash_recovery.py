"""Killed clients and servers lose no event; `crash_recovery.py` is the long form."""

from __future__ import annotations

import signal

import pytest

from tests.adapters.crash_recovery import kill_both


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing can be killed so here")
@pytest.mark.parametrize("adapter", ["asyncio", "trio"])
def test_ten_kills_lose_no_event(adapter: str) -> None:
    done = kill_both(10, adapter=adapter, seed=3, servers=0.2)

    assert done["numbers"] > 100
    assert len(done["outages"]["client"]) >= 5
    assert len(done["outages"]["server"]) >= 1
