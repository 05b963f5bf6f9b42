"""Host name → addresses on asyncio, in a thread that nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

__all__ = ["resolve"]


async def resolve(host: str, port: int) -> Any:
    """Return what `getaddrinfo` finds for stream sockets.

    `loop.getaddrinfo` uses the executor of the event loop, and both the end of `asyncio.run` and
    that of the process wait for its threads: without DNS that takes up to half a minute.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Any] = loop.create_future()

    def answer(result: Any, error: Exception | None) -> None:
        if found.done():  # the dial was cancelled
            return
        if error is None:
            found.set_result(result)
        else:
            found.set_exception(error)

    def look_up() -> None:
        result, error = None, None
        try:
            result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(answer, result, error)

    threading.Thread(target=look_up, name="gateway_asyncio resolve", daemon=True).start()
    return await found
