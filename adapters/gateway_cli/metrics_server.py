"""HTTP server of `--metrics`: one path, on the local host."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import h11

from gateway_proto.fleet import FleetMetrics

__all__ = ["serve_metrics"]

_HOST = "127.0.0.1"
_PATH = "/metrics"
_SECONDS = 5.0
"""Maximum duration of a connection: each has one request."""
_MAX_REQUEST = 16384
_MAX_CONNECTIONS = 32


@contextlib.asynccontextmanager
async def serve_metrics(port: int, text: Callable[[], str | None]) -> AsyncIterator[str]:
    """Serve a text in the format OpenMetrics, or status 503 if it is None; yield the URL.

    Port 0 selects a free one. Raises OSError if the port cannot be had.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if len(tasks) <= _MAX_CONNECTIONS:
                await _answer(reader, writer, text)
        finally:
            tasks.discard(task)
            # A reader that does not take the rest would keep a closing transport open forever.
            writer.transport.abort()

    server = await asyncio.start_server(accept, _HOST, port)
    try:
        yield f"http://{_HOST}:{server.sockets[0].getsockname()[1]}{_PATH}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: Callable[[], str | None]
) -> None:
    """Read a request and write its response; give up if the peer does not follow."""
    writer.transport.set_write_buffer_limits(0)  # `drain` waits until all is sent
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_REQUEST)
    with contextlib.suppress(OSError):  # also for TimeoutError
        async with asyncio.timeout(_SECONDS):
            try:
                request = await _request(connection, reader)
            except h11.RemoteProtocolError as error:
                status = HTTPStatus(error.error_status_hint)
                writer.write(_response(connection, status, str(error) + "\n"))
            else:
                if request is None:
                    return
                writer.write(_response(connection, *_result(request, text), request.method))
            await writer.drain()


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Return the request; None if the peer has left. Raises `h11.RemoteProtocolError`."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await reader.read(_MAX_REQUEST))


def _result(request: h11.Request, text: Callable[[], str | None]) -> tuple[HTTPStatus, str]:
    if request.target.partition(b"?")[0] != _PATH.encode():
        return HTTPStatus.NOT_FOUND, f"the metrics are at {_PATH}\n"
    if request.method not in (b"GET", b"HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD\n"
    found = text()
    if found is None:
        return HTTPStatus.SERVICE_UNAVAILABLE, "the fleet is not open yet\n"
    return HTTPStatus.OK, found


def _response(
    connection: h11.Connection, status: HTTPStatus, text: str, method: bytes = b"GET"
) -> bytes:
    body = text.encode()
    is_text = status is not HTTPStatus.OK
    headers = [
        ("Content-Type", "text/plain; charset=utf-8" if is_text else FleetMetrics.content_type),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    head = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
    data = connection.send(head) or b""
    if method != b"HEAD":
        data += connection.send(h11.Data(data=body)) or b""
    return data
