"""Output steps of the drivers of a server on asyncio, which one handle runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway_asyncio._wakes import WakeBatch


def test_callbacks_run_in_order_in_the_next_iteration() -> None:
    ran: list[int] = []

    async def main() -> None:
        wakes = WakeBatch()
        wakes.call_soon(lambda: wakes.call_soon(lambda: ran.append(3)))
        for number in (1, 2):
            wakes.call_soon(lambda number=number: ran.append(number))
        assert ran == []
        await asyncio.sleep(0)
        assert ran == [1, 2]
        await asyncio.sleep(0)

    asyncio.run(main())

    assert ran == [1, 2, 3]


def test_callbacks_after_an_interrupt_run_later() -> None:
    ran: list[int] = []
    loop = asyncio.new_event_loop()

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def wake(*callbacks: Callable[[], None]) -> None:
        wakes = WakeBatch()
        for callback in callbacks:
            wakes.call_soon(callback)
        await asyncio.sleep(0)

    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(
                wake(lambda: ran.append(1), interrupt, lambda: ran.append(2), lambda: ran.append(3))
            )
        assert ran == [1]
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()

    assert ran == [1, 2, 3]
