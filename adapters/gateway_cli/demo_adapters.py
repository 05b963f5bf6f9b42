"""Adapters of `demo`: one coroutine on asyncio or trio, until its end, a signal or a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import gateway_asyncio
from gateway_cli.output import Output
from gateway_cli.running import run
from gateway_cli.show import MISUSED, fail
from gateway_cli.start import ending_signals

__all__ = ["ADAPTERS", "SECONDS"]

SECONDS = 9.0
"""Maximum duration of the demo."""
Main: TypeAlias = Callable[[Any], Awaitable[None]]
"""Function that runs the demo with the module of an adapter."""


class _Interrupted(Exception):
    """A signal was received."""


def _run_on_asyncio(main: Main, output: Output) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await main(gateway_asyncio)

    run(output, bounded)


def _run_on_trio(main: Main, output: Output) -> None:
    # They take a tenth of the time to start, which all other commands would pay for.
    try:
        import trio

        import gateway_trio
    except ModuleNotFoundError as error:
        fail(f"--adapter trio needs {error.name}: install gateway-proto[cli]", status=MISUSED)
    errors: list[Exception] = []

    async def bounded() -> None:
        with trio.open_signal_receiver(*ending_signals()) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(interrupt, signals, nursery.cancel_scope)
                try:
                    with trio.fail_after(SECONDS):
                        await main(gateway_trio)
                except (OSError, trio.TooSlowError) as error:
                    slow = isinstance(error, trio.TooSlowError)
                    errors.append(TimeoutError() if slow else error)
                nursery.cancel_scope.cancel()

    async def interrupt(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            errors.append(_Interrupted(number))
            scope.cancel()

    trio.run(bounded)
    output.drain()
    for ended in errors:
        if isinstance(ended, _Interrupted):
            raise KeyboardInterrupt
        raise ended
    output.check()


ADAPTERS: dict[str, Callable[[Main, Output], None]] = {
    "asyncio": _run_on_asyncio,
    "trio": _run_on_trio,
}
"""Functions that run the demo, by the name of the adapter."""
