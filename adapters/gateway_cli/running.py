"""Runner of a command's coroutine, until its end, a signal or a failed output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway_cli.output import INTERRUPTED, Output
from gateway_cli.start import ending_signals

__all__ = ["run"]

T = TypeVar("T")

_GRACE_SECONDS = 1.5
"""Seconds to wait for a close, and for a pending name lookup, after a signal."""


def run(
    output: Output,
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    status: int = INTERRUPTED,
    on_signal: Callable[[], object] | None = None,
    grace: float = _GRACE_SECONDS,
) -> T:
    """Run a coroutine on asyncio. The ending signals cancel it, and raise KeyboardInterrupt.

    With `on_signal` they call this instead, in the event loop. If the coroutine has not ended
    `grace` seconds after a signal, or at a second one, the process exits with `status`. Raises what
    ended the output.
    """
    interrupted = threading.Event()
    deadline = threading.Timer(grace, os._exit, [status])
    deadline.daemon = True

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt(*_: object) -> None:
            if interrupted.is_set():
                os._exit(status)
            interrupted.set()
            deadline.start()
            loop.call_soon_threadsafe(task.cancel if on_signal is None else on_signal)

        def stop() -> None:
            # After a signal it ends anyway, or drains without a terminal.
            if not (loop.is_closed() or interrupted.is_set()):
                loop.call_soon_threadsafe(task.cancel)

        output.on_error = stop
        for number in numbers:
            # The handler of the loop wakes it if the signal comes just before its system call.
            # It would not run in a loop that is blocked; the other one does.
            with contextlib.suppress(NotImplementedError):  # on Windows
                loop.add_signal_handler(number, lambda: None)
            signal.signal(number, interrupt)
        return await main()

    numbers = ending_signals()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        result = asyncio.run(cancellable())
    except asyncio.CancelledError:
        if output.error is None or interrupted.is_set():
            raise KeyboardInterrupt from None
    finally:
        output.on_error = None
        # The closed loop has left the defaults, and the output may take a while.
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        try:
            output.drain()
        finally:
            deadline.cancel()
    output.check()
    return result
