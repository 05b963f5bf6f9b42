"""bytes ↔ messages: the HTTP upgrade and WebSocket, with bounds.

h11 and wsproto parse the HTTP heads and the frames; `fast_frames.py` parses the common frames of a
server. This module adds what they leave to their callers: it joins and bounds fragments, answers
pings and closes, and reports protocol violations apart from the peer's close. No input raises.

`server_frames.py` has the server's side of the upgrade; clients do not import it. This module is
imported with the first connection that frames, since h11 and wsproto take a quarter of the time
that this package and its dependencies take to import.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator
from typing import Any, cast

import wsproto.events as ws
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError as WsRemoteProtocolError

from gateway_proto.wire.close_codes import may_be_received
from gateway_proto.wire.fast_frames import (
    FastFrameParser,
    HeaderGuard,
    MessageBatch,
    ParseResult,
    Passthrough,
    ProtocolViolation,
)
from gateway_proto.wire.frame_events import CloseReceived, FrameEvent, Upgraded, UpgradeRejected
from gateway_proto.wire.http_heads import InformationalResponses, joined

__all__ = ["ClientFrames", "Frames"]

_BODY_LIMIT = 4096
"""Bytes of a rejection's body that are kept."""
_HEAD_LIMIT = 16384
"""Bytes of the status line and the header fields of a final response."""
_MAX_PONGS = 16
"""Pongs that wait to be sent. Above it only the latest ping is answered (RFC 6455, 5.5.3)."""
_NO_STATUS = 1005


class Frames:
    """An open WebSocket, for either role."""

    __slots__ = (
        *("_guard", "_is_upgraded", "_late_pong", "_limit", "_out", "_out_size", "_parts"),
        *("_pongs", "_role", "_ws"),
    )

    def __init__(self, role: ConnectionType, *, limit: int) -> None:
        self._limit = limit
        self._role = role
        self._is_upgraded = False
        # Made for the first frame that the fast path leaves. Most connections receive none, and it
        # takes 1.7 KB, a tenth of an idle connection.
        self._ws: Connection | None = None
        # A list, not a buffer: 0.4 µs for each of 64 frames of 1.1 kB, not 1.3.
        self._out: list[bytes] = []
        self._out_size = 0
        self._parts = bytearray()  # of a message that is not complete
        self._guard = HeaderGuard(limit, masked=role is ConnectionType.SERVER)
        self._pongs = 0  # in `_out`
        self._late_pong: ws.Pong | None = None  # for the latest ping after those

    @abc.abstractmethod
    def receive(self, data: bytes) -> Iterable[FrameEvent]:
        """Return what the bytes contain; to be exhausted before the next call."""
        ...

    def receive_eof(self) -> Iterable[FrameEvent]:
        """Return what the end of the bytes completes."""
        return ()

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return self._out_size

    def data_to_send(self) -> bytes:
        """Return the bytes that wait."""
        if not self._out:
            return b""
        self._send_late_pong()
        self._pongs = 0
        data = b"".join(self._out)
        self._out.clear()
        self._out_size = 0
        return data

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        self._out_size += len(data)

    @abc.abstractmethod
    def send(self, message: str | bytes) -> None:
        """Frame a message; drop it if a close frame was sent or received.

        The messages before the peer's close may be handled after it was received.
        """
        ...

    def close(self, code: int, reason: str) -> None:
        """Frame a close, or answer the peer's; does nothing where none can be sent."""
        if not self._is_upgraded:
            return
        websocket = self._websocket()
        if websocket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._send_late_pong()
            self._write(websocket.send(ws.CloseConnection(code, reason)))

    def _websocket(self) -> Connection:
        if self._ws is None:
            self._ws = Connection(self._role)
        return self._ws

    def _read_frames(self, data: bytes) -> Iterator[FrameEvent]:
        websocket = self._websocket()
        end = self._guard.check(data)
        # It refuses bytes once it is closed, and drops them after the peer's close.
        if websocket.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            websocket.receive_data(data[:end])
        for event in websocket.events():
            match event:  # a pong has no effect
                case ws.Message():
                    if (message := self._join(event)) is not None:
                        yield MessageBatch([message], isinstance(message, str))
                case ws.Ping():
                    if websocket.state is ConnectionState.OPEN:
                        self._answer_ping(websocket, event)
                case ws.CloseConnection():
                    code = int(event.code)
                    # A frame error found here comes as a close too, with the state left OPEN.
                    if websocket.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
                        yield self._broken(code, event.reason or "")
                        return
                    yield CloseReceived(None if code == _NO_STATUS else code, event.reason or "")
                    return
        if end is not None:
            yield ProtocolViolation(1009, f"a message has more than {self._limit} bytes")

    def _broken(self, code: int, error: str) -> CloseReceived | ProtocolViolation:
        """Return the input that wsproto rejects: a violation, or a close with a readable code.

        wsproto rejects a close frame with a code that it does not know, and one whose reason is
        not UTF-8. The code decides what follows, so it is reported.
        """
        self._guard.stop()
        payload = self._guard.close_payload()
        # An earlier frame may be the broken one: only wsproto's text distinguishes them.
        if "CLOSE" not in error or len(payload) < 2:
            return ProtocolViolation(code, f"broken WebSocket frame: {error}")
        theirs = int.from_bytes(payload[:2], "big")
        if not may_be_received(theirs):
            return ProtocolViolation(code, f"broken WebSocket frame: {error} ({theirs})")
        return CloseReceived(theirs, payload[2:].decode("utf-8", "replace"))

    def _join(self, part: ws.Message[Any]) -> str | bytes | None:
        """Add a part to its message. Return the message if it is complete."""
        data: str | bytes = part.data
        parts = self._parts
        if part.message_finished and not parts:
            return data
        # A buffer, not a list: an object for each part took 37 bytes for each byte.
        parts += data.encode() if isinstance(data, str) else data
        if not part.message_finished:
            return None
        message = bytes(parts)
        parts.clear()
        return message.decode() if isinstance(data, str) else message

    def _answer_ping(self, websocket: Connection, ping: ws.Ping) -> None:
        if self._pongs < _MAX_PONGS:
            self._pongs += 1
            self._write(websocket.send(ping.response()))
        else:
            self._late_pong = ping.response()

    def _send_late_pong(self) -> None:
        pong, self._late_pong = self._late_pong, None
        if pong is None:
            return
        assert self._ws is not None  # a ping was received
        if self._ws.state is ConnectionState.OPEN:
            self._write(self._ws.send(pong))


class ClientFrames(Frames):
    """The client's side, which asks for the upgrade."""

    __slots__ = (
        *("_body", "_parser", "_handshake", "_head_end"),
        *("_head_size", "_interim", "_refusal"),
    )

    def __init__(self, *, host: str, target: str, user_agent: str, limit: int) -> None:
        super().__init__(ConnectionType.CLIENT, limit=limit)
        self._parser = FastFrameParser(limit)
        self._handshake: H11Handshake | None = H11Handshake(ConnectionType.CLIENT)
        self._head_end = b""
        self._head_size = 0
        self._interim: InformationalResponses | None = InformationalResponses()
        self._refusal: ws.RejectConnection | None = None
        self._body = b""
        self._write(
            self._handshake.send(
                ws.Request(
                    host=host, target=target, extra_headers=[(b"User-Agent", user_agent.encode())]
                )
            )
        )

    def receive(self, data: bytes) -> Iterable[FrameEvent]:
        """Return what the bytes contain; to be exhausted before the next call."""
        return self._parse_frames(data) if self._is_upgraded else self._receive_handshake(data)

    def receive_eof(self) -> Iterator[FrameEvent]:
        """Return what the end of the bytes completes: a rejection without a length."""
        return self._receive_handshake(None)

    def send(self, message: str | bytes) -> None:
        assert self._is_upgraded
        # A message in one frame leaves no state behind in an open connection.
        websocket = self._ws or Connection(ConnectionType.CLIENT)
        if websocket.state is ConnectionState.OPEN:
            # Its type is generic in `str` or `bytes`, and has no form for a union of them.
            self._write(websocket.send(ws.Message(message)))  # type: ignore[type-var]

    def _parse_frames(self, data: bytes) -> Iterable[FrameEvent]:
        if self._parser.delegating:
            return self._read_frames(data)
        items = self._parser.feed(data)
        if self._parser.has_passthrough:
            return self._with_passthrough(items)
        return cast("list[FrameEvent]", items)

    def _with_passthrough(self, items: list[ParseResult]) -> Iterator[FrameEvent]:
        for item in items:
            if isinstance(item, Passthrough):
                yield from self._read_frames(item.data)
            else:
                yield item

    def _receive_handshake(self, data: bytes | None) -> Iterator[FrameEvent]:
        if (interim := self._interim) is not None:
            final, error = interim.skip(data), interim.error
            if error is not None:
                yield ProtocolViolation(1002, f"the upgrade has no answer after {error}")
                return
            if interim.is_over:
                self._interim = None
            if final:
                yield from self._receive_answer(final)
            if data is not None or self._handshake is None:
                return
        yield from self._receive_answer(data)

    def _receive_answer(self, data: bytes | None) -> Iterator[FrameEvent]:
        while (handshake := self._handshake) is not None:
            # One byte more than the limit at most, however the bytes were split: h11 compares a
            # head with its limit only while it is incomplete.
            later = b""
            if data is not None and self._refusal is None:
                room = max(1, _HEAD_LIMIT + 1 - self._head_size)
                data, later = data[:room], data[room:]
                self._head_size += len(data)
            head, rest, is_clean = self._split_head(data)
            rest += later
            broken = None
            try:
                handshake.receive_data(head)
            except (WsRemoteProtocolError, UnicodeError) as error:
                # Names of servers or ports that do not speak HTTP end here.
                broken = ProtocolViolation(
                    1002,
                    "the transport ended before the answer to the upgrade"
                    if data is None
                    else f"the answer to the upgrade is not understood: {error}",
                )
            # Events before the error come first, however the bytes were split.
            events = list(handshake.events())
            yield from self._answered(handshake, events, rest, is_clean=is_clean)
            if broken is not None:
                yield self.unfinished_refusal() or broken
                return
            if not rest:
                return
            data = rest

    def _split_head(self, data: bytes | None) -> tuple[bytes | None, bytes, bool]:
        """Return the bytes up to the end of a response's head, those after it, and whether it ends.

        wsproto buffers bytes that follow the head and does not return them, so they are held back.
        """
        if data is None:
            return None, b"", False
        before = len(self._head_end)
        window = self._head_end + data
        at = window.find(b"\r\n\r\n")
        if at < 0:
            self._head_end = window[-3:]
            return data, b"", False
        self._head_end = b""
        end = at + 4 - before
        return data[:end], data[end:], True

    def _answered(
        self, handshake: H11Handshake, events: list[ws.Event], rest: bytes, *, is_clean: bool
    ) -> Iterator[FrameEvent]:
        for event in events:
            match event:
                case ws.AcceptConnection():
                    self._is_upgraded = True
                    if not is_clean:  # it may hold bytes after the head
                        self._ws = handshake.connection
                    self._handshake = None  # not needed again, and connections are many
                    self._parser.delegating = not is_clean
                    yield Upgraded()
                    yield from self._parse_frames(rest)
                case ws.RejectConnection():
                    self._refusal = event
                case _:
                    assert isinstance(event, ws.RejectData)
                    self._body = (self._body + event.data)[:_BODY_LIMIT]
                    if event.body_finished:
                        yield self._refused()

    def unfinished_refusal(self) -> UpgradeRejected | None:
        """Return the rejection whose body is incomplete, or None."""
        return None if self._refusal is None else self._refused()

    def _refused(self) -> UpgradeRejected:
        assert self._refusal is not None
        headers = joined(self._refusal.headers)
        return UpgradeRejected(self._refusal.status_code, headers, self._body)
