"""tasks that run meanwhile, and what they tell each other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import trio

__all__ = ["News", "in_background"]


class News:
    """Something to wait for, again and again."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        """Wake all who wait."""
        event, self._event = self._event, trio.Event()
        event.set()

    async def wait(self) -> None:
        """Until the next `tell`."""
        await self._event.wait()


@contextlib.asynccontextmanager
async def in_background(
    tasks: Iterable[Callable[[], Awaitable[None]]], stop: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Run tasks meanwhile; then `stop`, shielded for ten seconds, and cancel them."""
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)
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
