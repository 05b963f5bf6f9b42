"""A few shards with faults; `soak.py` is the long form."""

from __future__ import annotations

import pathlib

import pytest

from tests.adapters.soak import soak


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="memory is read there")
def test_shards_receive_every_number_despite_faults() -> None:
    done = soak(shards=20, minutes=0.15)

    assert done["numbers"] > 100
    assert done["resumes"] > 0
    assert done["memory"]
