"""bytes ↔ messages: the HTTP upgrade and WebSocket, with bounds.

What h11 and wsproto leave to their callers is done here: fragments are joined and bounded, pings
and closes are answered, a broken frame is told from the peer's close, and no input ever raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias, cast

import h11
import msgspec
import wsproto.events as ws
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError as WsLocalProtocolError
from wsproto.utilities import RemoteProtocolError as WsRemoteProtocolError

from gateway_proto._layers.close_codes import may_be_received
from gateway_proto._layers.cutter import Broken, Cut, Cutter, HeaderGuard, Messages, Unusual

__all__ = [
    "Broken",
    "ClientFrames",
    "CloseReceived",
    "Frames",
    "Incoming",
    "Messages",
    "Refused",
    "Requested",
    "ServerFrames",
    "Unframed",
    "Upgraded",
    "joined",
]

_BODY_LIMIT = 4096
"""Bytes of a refusal's body that are kept."""
_INTERIM = re.compile(rb"HTTP/1\.[0-9] +1(?!01)[0-9][0-9](?![0-9])")
"""How an informational response begins, apart from 101 (Switching Protocols)."""
_INTERIM_START = len(b"HTTP/1.1 100 ")
_INTERIM_LIMIT = 32
_INTERIM_BYTES = 65536
"""Of all informational responses before the final one."""
_HEAD_LIMIT = 16384
"""Bytes of the status line and the header fields of a final response."""
_HEAD_END = re.compile(rb"\n\r?\n")
_REQUEST_LIMIT = 16 * 2**20
"""Bytes of a request's body: messages have files of up to 10 MiB."""
_MOST_HEADERS = 100
"""Header fields of a request."""
_MOST_PONGS = 16
"""Pongs that wait to be sent. After them only the latest ping is answered (RFC 6455, 5.5.3)."""
_NO_STATUS = 1005


class Upgraded(msgspec.Struct, frozen=True):
    """Client: the server accepted the upgrade."""


class Refused(msgspec.Struct, frozen=True):
    """Client: the server answered the upgrade with an HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes


class Requested(msgspec.Struct, frozen=True):
    """Server: a request, to be answered by `accept` or `respond`."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    upgrade: bool


class CloseReceived(msgspec.Struct, frozen=True):
    """The peer's close frame; `code` is None where it carried none."""

    code: int | None
    reason: str


Incoming: TypeAlias = Upgraded | Refused | Requested | Messages | CloseReceived | Broken


class Frames:
    """What both roles share: an open WebSocket."""

    __slots__ = ("_guard", "_late_pong", "_limit", "_out", "_parts", "_pongs", "_ws")

    def __init__(self, *, limit: int, masked: bool) -> None:
        self._limit = limit
        self._ws: Connection | None = None
        self._out = bytearray()
        self._parts = bytearray()  # of a message that is not complete
        self._guard = HeaderGuard(limit, masked=masked)
        self._pongs = 0  # in `_out`
        self._late_pong: ws.Pong | None = None  # for the latest ping after those

    @property
    def waiting(self) -> int:
        """Bytes that wait."""
        return len(self._out)

    def data_to_send(self) -> bytes:
        """The bytes that wait."""
        if not self._out:
            return b""
        self._send_late_pong()
        self._pongs = 0
        data = bytes(self._out)
        self._out.clear()
        return data

    def send(self, message: str | bytes) -> None:
        """Frame a message; drop it if a close frame was sent or received.

        The messages before the peer's close may be handled after it was received.
        """
        assert self._ws is not None
        if self._ws.state is not ConnectionState.OPEN:
            return
        # Its type is generic in `str` or `bytes`, and knows no union of them.
        self._out += self._ws.send(ws.Message(message))  # type: ignore[type-var]

    def close(self, code: int, reason: str) -> None:
        """Frame a close, or answer the peer's; does nothing where none can be sent."""
        if self._ws is not None and self._ws.state in (
            ConnectionState.OPEN,
            ConnectionState.REMOTE_CLOSING,
        ):
            self._send_late_pong()
            self._out += self._ws.send(ws.CloseConnection(code, reason))

    def _read_frames(self, data: bytes) -> Iterator[Incoming]:
        websocket = self._ws
        assert websocket is not None
        end = self._guard.check(data)
        # It refuses bytes once it is closed, and drops them after the peer's close.
        if websocket.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            websocket.receive_data(data[:end])
        for event in websocket.events():
            match event:  # a pong says nothing
                case ws.Message():
                    if (message := self._join(event)) is not None:
                        yield Messages([message], isinstance(message, str))
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
            yield Broken(1009, f"a message has more than {self._limit} bytes")

    def _broken(self, code: int, error: str) -> CloseReceived | Broken:
        """Return what wsproto rejects: a broken frame, or a close whose code is understood.

        wsproto rejects a close frame with a code that it does not know, and one whose reason is
        not UTF-8. The code says what follows, so it counts.
        """
        payload = self._guard.close_payload()
        # An earlier frame may be the broken one: only wsproto's text tells.
        if "CLOSE" not in error or len(payload) < 2:
            return Broken(code, f"broken WebSocket frame: {error}")
        theirs = int.from_bytes(payload[:2], "big")
        if not may_be_received(theirs):
            return Broken(code, f"broken WebSocket frame: {error} ({theirs})")
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
        if self._pongs < _MOST_PONGS:
            self._pongs += 1
            self._out += websocket.send(ping.response())
        else:
            self._late_pong = ping.response()

    def _send_late_pong(self) -> None:
        pong, self._late_pong = self._late_pong, None
        if pong is None:
            return
        assert self._ws is not None  # a ping came
        if self._ws.state is ConnectionState.OPEN:
            self._out += self._ws.send(pong)


class Unframed:
    """Messages alone: the WebSocket is somebody else's."""

    def __init__(self) -> None:
        self._messages: list[str | bytes] = []
        self._size = 0
        self._close: tuple[int, str] | None = None
        self._is_closed = False

    def send(self, message: str | bytes) -> None:
        """Let a message wait."""
        self._messages.append(message)
        self._size += len(message)

    def close(self, code: int, reason: str) -> None:
        """Let a close wait; there is one, and nothing follows it."""
        if not self._is_closed:
            self._is_closed = True
            self._close = (code, reason)

    @property
    def waiting(self) -> int:
        """Bytes, or characters of text, that wait."""
        return self._size

    def messages_to_send(self) -> list[str | bytes]:
        """The messages that wait."""
        messages = self._messages
        self._messages = []
        self._size = 0
        return messages

    def close_to_send(self) -> tuple[int, str] | None:
        """The close that waits, once."""
        close = self._close
        self._close = None
        return close


class ClientFrames(Frames):
    """The side that asks for the upgrade."""

    __slots__ = (
        "_body",
        "_cutter",
        "_handshake",
        "_head_end",
        "_head_size",
        "_interim",
        "_interim_bytes",
        "_interim_pending",
        "_refusal",
        "_start",
    )

    def __init__(self, *, host: str, target: str, user_agent: str, limit: int) -> None:
        super().__init__(limit=limit, masked=False)
        self._cutter = Cutter(limit)
        self._handshake: H11Handshake | None = H11Handshake(ConnectionType.CLIENT)
        self._head_end = b""
        self._head_size = 0
        self._start: bytearray | None = bytearray()
        self._interim = 0
        self._interim_bytes = 0  # of those that are complete
        self._interim_pending = 0  # of the one that is not
        self._refusal: ws.RejectConnection | None = None
        self._body = b""
        self._out += self._handshake.send(
            ws.Request(
                host=host, target=target, extra_headers=[(b"User-Agent", user_agent.encode())]
            )
        )

    def receive(self, data: bytes) -> Iterable[Incoming]:
        """What the bytes hold; to be drained before the next call."""
        return self._receive_handshake(data) if self._ws is None else self._cut_frames(data)

    def receive_eof(self) -> Iterator[Incoming]:
        """What the end of the bytes completes: a refusal without a length."""
        return self._receive_handshake(None)

    def _cut_frames(self, data: bytes) -> Iterable[Incoming]:
        if self._cutter.off:
            return self._read_frames(data)
        items = self._cutter.cut(data)
        if self._cutter.has_unusual:
            return self._with_unusual(items)
        return cast("list[Incoming]", items)

    def _with_unusual(self, items: list[Cut]) -> Iterator[Incoming]:
        for item in items:
            if isinstance(item, Unusual):
                yield from self._read_frames(item.data)
            else:
                yield item

    def _receive_handshake(self, data: bytes | None) -> Iterator[Incoming]:
        if self._start is not None:
            final = self._skip_interim(data)
            size = self._interim_bytes + self._interim_pending
            if self._interim > _INTERIM_LIMIT or size > _INTERIM_BYTES:
                error = f"more than {_INTERIM_LIMIT} informational responses, or too large ones"
                yield Broken(1002, f"the upgrade has no answer after {error}")
                return
            if final:
                yield from self._receive_answer(final)
            if data is not None or self._handshake is None:
                return
        yield from self._receive_answer(data)

    def _skip_interim(self, data: bytes | None) -> bytes:
        """Return what follows informational responses, as far as it has been received.

        RFC 9110, section 15.2: "A client MUST be able to parse one or more 1xx responses received
        prior to a final response".
        """
        start = self._start
        assert start is not None
        self._interim_pending = 0
        searched = max(0, len(start) - 3)
        start += data or b""
        while len(start) >= _INTERIM_START or not b"HTTP/1.".startswith(start[:7]):
            if _INTERIM.match(start) is None:
                break
            end = _HEAD_END.search(start, searched)
            if end is None:
                self._interim_pending = len(start)
                return b""
            self._interim += 1
            self._interim_bytes += end.end()
            del start[: end.end()]
            searched = 0
        else:
            if data is not None:
                return b""
        self._start = None
        return bytes(start)

    def _receive_answer(self, data: bytes | None) -> Iterator[Incoming]:
        while (handshake := self._handshake) is not None:
            # One byte more than the limit at most, however the bytes were split: h11 compares a
            # head with its limit only while it is incomplete.
            later = b""
            if data is not None and self._refusal is None:
                room = max(1, _HEAD_LIMIT + 1 - self._head_size)
                data, later = data[:room], data[room:]
                self._head_size += len(data)
            head, rest, is_clean = self._split(data)
            rest += later
            broken = None
            try:
                handshake.receive_data(head)
            except (WsRemoteProtocolError, UnicodeError) as error:
                # Names of servers or ports that do not speak HTTP end here.
                broken = Broken(1002, f"the answer to the upgrade is not understood: {error}")
            # What was understood before comes first, however the bytes were cut.
            events = list(handshake.events())
            yield from self._answered(handshake, events, rest, is_clean=is_clean)
            if broken is not None:
                yield self.unfinished_refusal() or broken
                return
            if not rest:
                return
            data = rest

    def _split(self, data: bytes | None) -> tuple[bytes | None, bytes, bool]:
        """The bytes up to the end of a response's head, those behind it, and whether it is one.

        What is fed to the handshake behind the head is in wsproto's hands, out of sight.
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
    ) -> Iterator[Incoming]:
        for event in events:
            match event:
                case ws.AcceptConnection():
                    self._ws = handshake.connection
                    self._handshake = None  # a connection lives long, and never needs it again
                    self._cutter.off = not is_clean
                    yield Upgraded()
                    yield from self._cut_frames(rest)
                case ws.RejectConnection():
                    self._refusal = event
                case _:
                    assert isinstance(event, ws.RejectData)
                    self._body = (self._body + event.data)[:_BODY_LIMIT]
                    if event.body_finished:
                        yield self._refused()

    def unfinished_refusal(self) -> Refused | None:
        """Return the refusal whose body has not been received to its end; None if there is none."""
        return None if self._refusal is None else self._refused()

    def _refused(self) -> Refused:
        assert self._refusal is not None
        headers = joined(self._refusal.headers)
        return Refused(self._refusal.status_code, headers, self._body)


class ServerFrames(Frames):
    """The side that answers a request: with the upgrade, or with a response."""

    def __init__(self, *, limit: int, body_limit: int = _REQUEST_LIMIT) -> None:
        super().__init__(limit=limit, masked=True)
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._body_limit = body_limit
        self._done = False  # with the request: what follows is the answer's business

    def receive(self, data: bytes) -> Iterable[Incoming]:
        """What the bytes hold; to be drained before the next call."""
        if self._ws is not None:
            return self._read_frames(data)
        return self._receive_request(data)

    def accept(self) -> Iterator[Incoming]:
        """Accept the upgrade, and read what came behind the request."""
        assert self._request is not None
        problem = _handshake_problem(self._request)
        if problem is not None:
            self.respond(400, b"text/plain", f"no WebSocket upgrade: {problem}\n".encode())
            yield Broken(1002, f"no WebSocket upgrade: {problem}")
            return
        handshake = H11Handshake(ConnectionType.SERVER)
        try:
            handshake.initiate_upgrade_connection(list(self._request.headers), self._request.target)
            self._out += handshake.send(ws.AcceptConnection())
        except (
            WsRemoteProtocolError,
            WsLocalProtocolError,
            h11.LocalProtocolError,
            UnicodeError,
        ) as error:
            self.respond(400, b"text/plain", f"no WebSocket upgrade: {error}\n".encode())
            yield Broken(1002, f"no WebSocket upgrade: {error}")
            return
        self._ws = handshake.connection
        yield Upgraded()
        yield from self._read_frames(self._http.trailing_data[0])

    def respond(
        self,
        status: int,
        content_type: bytes,
        body: bytes,
        retry_after: float | None = None,
        more: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Answer the request with a response, the last on this connection; seconds to wait."""
        more = tuple(more)
        headers = [(b"Content-Type", content_type)]
        # RFC 9110, section 8.3: Content-Type describes content, and an empty body has none.
        if not body or any(name.lower() == b"content-type" for name, _ in more):
            headers.clear()
        # RFC 9110, sections 8.6 and 15.4.5: 204 has no Content-Length, and 304 no body.
        if status in (204, 304):
            body = b""
            headers.clear()
        else:
            headers.append((b"Content-Length", str(len(body)).encode()))
        headers += [(b"Connection", b"close"), *more]
        if retry_after is not None:
            headers.append((b"Retry-After", f"{retry_after:g}".encode()))
        self._out += self._http.send(h11.Response(status_code=status, headers=headers))
        if self._request is None or self._request.method != b"HEAD":
            self._out += self._http.send(h11.Data(data=body))
        self._out += self._http.send(h11.EndOfMessage())

    # ----- for faults -----

    def send_badly(self, message: str | bytes, how: str, size: int) -> None:
        """Frame a message, and break it: its frame, its data, or it into frames of `size` bytes."""
        assert self._ws is not None
        at = len(self._out)
        match how:
            case "corrupt":
                self.send(message)
                self._out[at] |= 0x70  # bits that no extension gave a meaning
            case "corrupt_data":
                self.send(message)
                self._out[-1] ^= 0xFF
                self._out[(at + len(self._out)) // 2] ^= 0xFF
            case _:
                step = max(1, size)
                for i in range(0, len(message), step):
                    end = i + step
                    is_last = end >= len(message)
                    part = ws.Message(message[i:end], message_finished=is_last)  # type: ignore[type-var]
                    self._out += self._ws.send(part)

    def send_garbage(self) -> None:
        """Bytes that are no frame."""
        self._out += b"\xff\xff\xffgarbage"

    def take_back(self, size: int) -> None:
        """Let go of the last bytes that wait."""
        if size > 0:
            del self._out[-size:]

    def _receive_request(self, data: bytes) -> Iterator[Incoming]:
        if self._done:
            return
        try:
            self._http.receive_data(data)
            while not self._done:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._request = event
                    if len(list(event.headers)) > _MOST_HEADERS:
                        self._done = True
                        error = f"more than {_MOST_HEADERS} header fields"
                        self.respond(431, b"text/plain", f"{error}\n".encode())
                        yield Broken(1009, error)
                        return
                    if self._http.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        self._out += self._http.send(go_on)
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > self._body_limit:
                        self._done = True
                        error = f"a body of more than {self._body_limit} bytes is not taken"
                        self.respond(413, b"text/plain", f"{error}\n".encode())
                        yield Broken(1009, error)
                elif isinstance(event, h11.EndOfMessage):
                    self._done = True
                    yield self._requested()
                else:
                    return  # there is more to come
            return
        except h11.RemoteProtocolError as error:
            # To wait inside of here would keep the error, and its frames, in a cycle.
            what, status = str(error), error.error_status_hint
        self._done = True
        self.respond(status, b"text/plain", f"bad request: {what}\n".encode())
        yield Broken(1002, f"bad HTTP request: {what}")

    def _requested(self) -> Requested:
        assert self._request is not None
        method, target = self._request.method, self._request.target
        headers = _texts(self._request.headers)
        upgrade = headers.get("upgrade", "").lower() == "websocket"
        return Requested(method.decode(), target.decode(), headers, bytes(self._body), upgrade)


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by their names in small letters; those of one name with commas between.

    RFC 9110, section 5.3.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _is_key(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether there is one Sec-WebSocket-Key, of 16 bytes in base64 (RFC 6455, 4.2.1)."""
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    try:
        return len(keys) == 1 and len(binascii.a2b_base64(keys[0], strict_mode=True)) == 16
    except binascii.Error:
        return False


def _handshake_problem(request: h11.Request) -> str | None:
    """Return what wsproto accepts and RFC 6455, section 4.2.1, does not."""
    if request.method != b"GET" or request.http_version < b"1.1":
        return "the method must be GET, and the version HTTP/1.1"
    if not _is_key(request.headers):
        return "Sec-WebSocket-Key must be 16 bytes in base64"
    return None


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By names in small letters; h11 takes no names, methods or targets beyond ASCII."""
    return {name.decode(): value.decode("latin-1") for name, value in headers}
