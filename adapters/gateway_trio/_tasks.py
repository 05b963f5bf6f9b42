"""Background task on trio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

__all__ = ["in_background"]


@contextlib.asynccontextmanager
async def in_background(
    run: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Run a task in the background; then `stop`, shielded for ten seconds, and cancel the task."""
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        try:
            yield
        except trio.Cancelled:
            raise
        except BaseException as caught:
            # Raised again outside of the nursery, which would wrap it in a group.
            error = caught
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await stop()
            nursery.cancel_scope.cancel()
    if error is not None:
        raise error
