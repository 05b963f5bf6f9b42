"""Transport over the streams that a function of the caller has opened."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine, Iterator
from typing import Any, Protocol, runtime_checkable

from gateway_dialing import NO_LIMIT, is_failed_dial
from gateway_proto import LocalProtocolError
from gateway_proto._checks import shown

__all__ = ["StreamTransport", "deliver"]

_CHUNK = 65536
_HIGH_WATER = 65536
_WRITER_ATTRIBUTES = ("write", "drain", "close", "wait_closed", "transport")


def deliver(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Give data to a protocol that reads into buffers of its own."""
    while data:
        buffer = memoryview(protocol.get_buffer(len(data)))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


@runtime_checkable
class _Failing(Protocol):
    def fail(self, error: BaseException) -> None: ...


class StreamTransport(asyncio.Transport):
    """Transport over a StreamReader and a StreamWriter, or objects like these."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.BaseProtocol = asyncio.BaseProtocol()
        self._readable = asyncio.Event()
        self._readable.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_full = False
        self._is_closing = False
        self._is_lost = False

    @classmethod
    def of(cls, opened: Any) -> StreamTransport:
        """Return a transport over the result of `connect`; raises `LocalProtocolError`."""
        match opened:
            case (reader, writer) if hasattr(reader, "read") and all(
                hasattr(writer, name) for name in _WRITER_ATTRIBUTES
            ):
                return cls(reader, writer)
        raise LocalProtocolError(
            f"connect returned {shown(opened)}: expected (StreamReader, StreamWriter)"
        )

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Add TLS, verified for a host."""
        writer: Any = self._writer
        transport = writer.transport
        try:
            await writer.start_tls(context, server_hostname=host, ssl_handshake_timeout=NO_LIMIT)
        except AttributeError:
            if writer.transport is not None:
                raise
            # The connection was lost in the step in which the handshake completed: the event loop
            # returned no transport, and asyncio's writer, also its destructor, fails without one.
            writer._transport = transport
            raise ConnectionResetError from None

    # ----- called by the protocol -----

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol, and start reading for it."""
        assert isinstance(protocol, asyncio.BufferedProtocol)
        self._protocol = protocol
        self._start(self._read(protocol))

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that was set."""
        return self._protocol

    def write(self, data: Any) -> None:
        """Send; call `pause_writing` of the protocol while the peer does not read."""
        if self._is_closing:
            return
        try:
            self._writer.write(data)
        except Exception as error:
            self._report(error)
            self.abort()
            return
        if self._writer.transport.get_write_buffer_size() > _HIGH_WATER:
            self._hold()

    def pause_reading(self) -> None:
        """Stop delivering until `resume_reading`."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """Continue delivering."""
        self._readable.set()

    def is_closing(self) -> bool:
        """Whether the transport is closed or closing."""
        return self._is_closing or self._writer.is_closing()

    def close(self) -> None:
        """Send pending data, then close."""
        if not self._is_closing:
            self._is_closing = True
            with self._reporting():
                self._writer.close()
            self._start(self._flush())

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        if not self._is_lost:
            self._loop.call_soon(self._lost, None)
        with self._reporting():
            self._writer.transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the extra info of the writer."""
        return self._writer.get_extra_info(name, default)

    # ----- inside -----

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, protocol: asyncio.BufferedProtocol) -> None:
        lost: Exception | None = None
        try:
            while data := await self._reader.read(_CHUNK):
                await self._readable.wait()
                if self._is_lost:
                    return
                deliver(protocol, data)
        except Exception as error:
            lost = error
        self._lost(lost)

    def _hold(self) -> None:
        if not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()
            self._start(self._drain())

    async def _drain(self) -> None:
        with contextlib.suppress(Exception):  # the end of the stream is read too
            await self._writer.drain()
        self._is_full = False
        if not self._is_lost:
            self._protocol.resume_writing()

    async def _flush(self) -> None:
        with contextlib.suppress(Exception):
            await self._writer.wait_closed()
        self._lost(None)

    def _lost(self, error: Exception | None) -> None:
        """Report the end of the connection once, and cancel all tasks."""
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        current = asyncio.current_task()
        for task in self._tasks - ({current} if current is not None else set()):
            task.cancel()
        if error is not None:
            self._report(error)
        with self._reporting():
            self._writer.close()
        protocol, self._protocol = self._protocol, asyncio.BaseProtocol()
        protocol.connection_lost(error)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        """End the driver because of a bug in a stream of the caller; it keeps the first one."""
        if not is_failed_dial(error) and isinstance(self._protocol, _Failing):
            self._protocol.fail(error)
