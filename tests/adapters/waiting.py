"""Waiting for a condition on either event loop."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from tests.adapters.support import PATIENCE


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for a condition."""
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)
