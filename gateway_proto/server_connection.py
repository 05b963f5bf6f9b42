"""bytes, now ↔ commands: one connection of a server, and the session that outlives it."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol
from urllib.parse import parse_qsl

import attrs
import msgspec

from gateway_proto._connection import DROPPED, GatewayConnection
from gateway_proto._layers import etf
from gateway_proto._layers.frames import Refused, Requested, ServerFrames, Unframed
from gateway_proto._layers.inflate import deflater, has_zstd, inflater
from gateway_proto._layers.payloads import Payload, encode, encode_dispatch
from gateway_proto._layers.spelling import read
from gateway_proto._layers.state import Input, State, server_table
from gateway_proto._timing.deadlines import Timer
from gateway_proto.commands import Heartbeat, Identify, Raw, Resume
from gateway_proto.dialects import DIALECTS, Compression, Dialect, Encoding, Opcode, Then
from gateway_proto.endpoint import answer
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    By,
    Closed,
    Dispatch,
    GatewayFound,
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    HttpRequested,
    Opened,
    ReconnectRequested,
    ServerEvent,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.server_config import ServerConfig

__all__ = ["Host", "ServerConnection", "ServerSession"]

_LARGE = 1024
"""Bytes from which a text is worth compressing by itself."""
_INTENTS_END = 1 << 32
_WITHOUT_VERSION = ("3", "6")
"""Who names no version speaks 3, which says it in Identify; where that is not spoken, 6, which
was the default for years."""


class ServerSession:
    """What the server keeps of a client between its connections."""

    def __init__(self, id_: str, identify: Identify, dialect: Dialect, replay_limit: int) -> None:
        self.id: str = id_
        self.token: str = identify.token
        self.shard: tuple[int, int] | None = identify.shard
        self.intents: int | None = identify.intents
        self.compress: bool = identify.compress
        self.dialect: Dialect = dialect
        self.sequence: int = 0
        """Of the last dispatch."""
        self.connection: ServerConnection | None = None
        """None while the client is away."""
        self._replay: deque[Dispatch] = deque(maxlen=replay_limit)
        self._forgotten = 0  # the sequence up to which dispatches were let go

    def next(self, name: str, raw: bytes, *, replay: bool = True) -> Dispatch:
        """The next dispatch, kept for a replay."""
        self.sequence += 1
        dispatch = Dispatch(name, self.sequence, raw)
        if replay:
            if len(self._replay) == self._replay.maxlen:
                self._forgotten = self._replay[0].sequence or 0 if self._replay else self.sequence
            self._replay.append(dispatch)
        return dispatch

    def missed(self, after: int) -> list[Dispatch] | None:
        """The dispatches after a sequence; None where they are no longer all there."""
        if after < self._forgotten:
            return None
        return [dispatch for dispatch in self._replay if (dispatch.sequence or 0) > after]


class Host(Protocol):
    """What a connection needs of its server."""

    config: ServerConfig

    def open_session(self, identify: Identify, dialect: Dialect) -> ServerSession:
        """A new session."""
        ...

    def find_session(self, resume: Resume, dialect: Dialect, *, now: float) -> ServerSession | None:
        """The session that a client may go on with; None: it may not."""
        ...

    def leave(self, connection: ServerConnection, *, now: float, forget: bool) -> None:
        """A connection is closed."""
        ...

    def back(self, session: ServerSession) -> None:
        """A session has a connection again."""
        ...

    def allows(self, token: str) -> bool:
        """Whether a token is let in."""
        ...

    def found(self, url: str) -> GatewayFound:
        """What `/gateway/bot` answers."""
        ...


class ServerConnection(GatewayConnection[ServerMessage, ServerEvent]):
    """One connection of a server to a client; made by `Server.accept`."""

    def __init__(self, server: Host, *, now: float, framing: bool) -> None:
        config = server.config
        super().__init__(
            now=now,
            close_timeout=config.close_timeout,
            table=server_table(),
            frames=ServerFrames(limit=config.message_limit) if framing else Unframed(),
            # A client sends nothing compressed; JSON and terms come as they are.
            inflater=inflater(Compression.NONE, limit=config.message_limit),
        )
        self._server = server
        self._config = config
        self._dialect = DIALECTS[config.versions[-1]]
        self._target = "/"
        self._host = "localhost"
        self._encoding = Encoding.JSON
        self._encoding_by_form = False
        self._compression = Compression.NONE
        self._deflater = deflater(self._compression)
        self.session: ServerSession | None = None
        """The client's, once it has identified or resumed."""
        self._deadlines.set(Timer.HANDSHAKE, now + config.handshake_timeout)

    @property
    def dialect(self) -> Dialect:
        """What the client asked to speak."""
        return self._dialect

    # ----- what is sent -----

    def send(self, message: ServerMessage, *, now: float) -> None:
        """Send a message. A dispatch without a sequence gets the session's next one.

        Raises `LocalProtocolError` where the WebSocket is not open, or, for a dispatch, there is
        no session.
        """
        if not isinstance(message, ServerMessage):
            raise LocalProtocolError(f"{message!r} is not a message of a server: see ServerMessage")
        if self._state not in (State.IDENTIFYING, State.READY):
            raise LocalProtocolError(
                f"the connection is {self._state.value}: nothing can be sent on it"
            )
        if isinstance(message, Dispatch) and message.sequence is None:
            if self.session is None:
                raise LocalProtocolError("a dispatch needs a session: wait for Identify or Resume")
            message = self.session.next(message.name, message.raw)
        self.write(message, now=now)

    def write(self, message: ServerMessage, *, now: float) -> None:
        """Send a message as it is; one that cannot be sent any more is let go."""
        self._at(now)
        if self._state not in (State.IDENTIFYING, State.READY):
            return
        match message:
            case Dispatch(name=name, sequence=sequence):
                text = encode_dispatch(message.raw, sequence, name, self._encoding)
            case Hello(heartbeat_interval):
                text = self._encode(Opcode.HELLO, {"heartbeat_interval": heartbeat_interval})
            case HeartbeatRequested():
                text = self._encode(Opcode.HEARTBEAT, None)
            case HeartbeatAcked():
                text = self._encode(Opcode.HEARTBEAT_ACK, None)
            case ReconnectRequested(url):
                text = self._encode(Opcode.RECONNECT, None if url is None else {"url": url})
            case _:
                says = self._dialect.invalid_session_says
                text = self._encode(Opcode.INVALID_SESSION, message.resumable if says else None)
        large = len(text) >= _LARGE or (isinstance(message, Dispatch) and message.name == "READY")
        self._frames.send(self._deflater.send(text, large=large))
        if self._frames.waiting > self._config.output_limit:
            self.drop(now=now)
        self._wake()

    def _encode(self, op: int, d: Any) -> bytes:
        return encode(op, d, self._encoding)

    def drop(self, *, now: float) -> None:
        """End the connection without a close frame, as a cut wire does; the session is kept."""
        self._end(Closed(code=None, by=By.SELF, then=Then.STOP, reason="dropped"), self._at(now))
        self._wake()

    # ----- the road upwards -----

    def _http(self, item: Refused | Requested, now: float) -> None:
        assert isinstance(item, Requested)
        assert isinstance(self._frames, ServerFrames)
        host = item.headers.get("host", self._host)
        if not item.upgrade:
            token = item.headers.get("authorization", "")
            response = answer(
                item.method,
                item.target,
                found=self._server.found(self._url(host)),
                user=dict(self._config.user),
                authorized=self._server.allows(token),
            )
            status = response.status
            self._frames.respond(status, b"application/json", response.body)
        else:
            error = self._choose(item.target, host)
            if error is None:
                self._take(self._frames.accept(), now)
                return
            status = 400
            self._frames.respond(status, b"text/plain", error.encode() + b"\n")
        self._events.append(HttpRequested(item.method, item.target, status))
        self._end(Closed(code=status, by=By.SELF, then=Then.STOP), now)

    def begin(self, target: str, host: str, *, now: float) -> None:
        """The WebSocket was accepted elsewhere, for this target and host."""
        error = self._choose(target, host)
        if error is not None:
            raise LocalProtocolError(error)
        self._opened(now)

    def _choose(self, target: str, host: str) -> str | None:
        """Speak what the query asks for; returns what is wrong with it."""
        query = dict(parse_qsl(target.partition("?")[2]))
        self._target, self._host = target, host
        versions = {str(version): DIALECTS[version] for version in self._config.versions}
        version = query.get("v")
        if version is None:
            version = next((v for v in _WITHOUT_VERSION if v in versions), min(versions, key=int))
        if version not in versions:
            return f"version {version[:20]!r} is not spoken here"
        self._dialect = versions[version]
        encoding = query.get("encoding", "json")
        if encoding not in self._encodings():
            return f"encoding {encoding[:20]!r} is not spoken here"
        self._encoding = Encoding(encoding)
        compress = query.get("compress")
        if compress is None:
            return None
        spoken = {c.value: c for c in self._dialect.compressions if c.in_query}
        if compress not in spoken or (compress == "zstd-stream" and not has_zstd()):
            return f"compression {compress[:20]!r} is not spoken here"
        self._compress(spoken[compress])
        return None

    def _encodings(self) -> list[str]:
        return ["json", "etf"] if etf.available() else ["json"]

    def _compress(self, compression: Compression) -> None:
        self._compression = compression
        self._deflater = deflater(compression)

    def _url(self, host: str) -> str:
        return self._config.url or f"ws://{host}"

    def _opened(self, now: float) -> None:
        self._move(Input.OPENED)
        self._encoding_by_form = not self._dialect.in_query
        self._deadlines.clear(Timer.HANDSHAKE)
        self._deadlines.set(Timer.SESSION, now + self._config.identify_timeout)
        self._events.append(Opened(self._target))
        if self._dialect.greets:
            self.write(Hello(self._config.heartbeat_interval), now=now)
            self._await_heartbeat(now)

    def _await_heartbeat(self, now: float) -> None:
        seconds = self._config.heartbeat_interval / 1000 * self._config.heartbeat_tolerance
        self._deadlines.set(Timer.LIVENESS, now + seconds)

    def _received(self, payload: Payload, now: float) -> None:
        if self._encoding_by_form:
            # "JSON or ETF, by the form of the first packet."
            self._encoding_by_form = False
            is_etf = payload.raw.startswith(etf.VERSION)
            self._encoding = Encoding.ETF if is_etf else Encoding.JSON
        if len(payload.d) > self._dialect.payload_limit:
            self._refuse(4002, "Payload too large", now)
            return
        op = payload.opcode
        if op is None:
            self._refuse(4001, "Unknown opcode", now)
            return
        try:
            command = read(op, payload.raw, self._dialect)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            self._malformed(str(error), now)
            return
        self._events.append(command)
        match command:
            case Heartbeat():
                self._heard_heartbeat(now)
            case Identify() if self._state is State.IDENTIFYING:
                self._identify(command, now)
            case Resume() if self._state is State.IDENTIFYING:
                self._resume(command, now)
            case Identify() | Resume():
                self._refuse(4005, "Already authenticated", now)
            case Raw(op) if op not in self._dialect.commands:
                self._refuse(4001, "Unknown opcode", now)
            case _ if not self._move(Input.COMMAND):
                self._refuse(4003, "Not authenticated", now)
            case _:
                pass

    def _heard_heartbeat(self, now: float) -> None:
        self._move(Input.HEARTBEAT)
        # A client may wait long for its turn to identify, and beats meanwhile.
        if self._state is State.IDENTIFYING:
            self._deadlines.set(Timer.SESSION, now + self._config.identify_timeout)
        self._await_heartbeat(now)
        if self._dialect.acks:
            self.write(HeartbeatAcked(), now=now)

    def _identify(self, identify: Identify, now: float) -> None:
        shard, intents = identify.shard, identify.intents
        if not self._server.allows(identify.token):
            self._refuse(4004, "Authentication failed", now)
        elif shard is not None and not 0 <= shard[0] < shard[1]:
            self._refuse(4010, "Invalid shard", now)
        elif self._dialect.intents_required and (
            intents is None or not 0 <= intents < _INTENTS_END
        ):
            self._refuse(4013, "Invalid intent(s)", now)
        else:
            self._move(Input.IDENTIFY)
            identify = attrs.evolve(identify, token=identify.token.removeprefix("Bot "))
            self._begin_session(self._server.open_session(identify, self._dialect), now)
            self._greet(now)

    def _begin_session(self, session: ServerSession, now: float) -> None:
        self.session = session
        session.connection = self
        self._server.back(session)
        self._deadlines.clear(Timer.SESSION)
        json = self._encoding is Encoding.JSON
        if session.compress and self._compression is Compression.NONE and json:
            self._compress(Compression.PAYLOAD)
        if not self._dialect.greets:
            self._await_heartbeat(now)

    def _greet(self, now: float) -> None:
        """READY, and the guilds."""
        assert self.session is not None
        config, dialect = self._config, self._dialect
        ready: dict[str, Any] = {
            "v": dialect.version,
            "user": config.user,
            "session_id": self.session.id,
            "private_channels": [],
            "guilds": config.guilds
            if dialect.guilds_in_ready
            else [{"id": guild["id"], "unavailable": True} for guild in config.guilds],
            "relationships": [],
            "user_settings": {},
        }
        if self.session.shard is not None:
            ready["shard"] = self.session.shard
        if dialect.trace_in_ready:
            ready["_trace"] = []
        if dialect.greets:
            ready["application"] = {"id": config.user["id"], "flags": 0}
        else:
            ready |= {"heartbeat_interval": config.heartbeat_interval, "read_state": []}
        if dialect.resume_url_in_ready:
            ready["resume_gateway_url"] = self._url(self._host)
        self.write(self.session.next("READY", msgspec.json.encode(ready)), now=now)
        if not dialect.guilds_in_ready:
            for guild in config.guilds:
                raw = msgspec.json.encode(guild)
                self.write(self.session.next("GUILD_CREATE", raw), now=now)

    def _resume(self, resume: Resume, now: float) -> None:
        session = self._server.find_session(resume, self._dialect, now=now)
        if session is not None and resume.seq > session.sequence:
            self._refuse(4007, "Invalid seq", now)
            return
        missed = None if session is None else session.missed(resume.seq)
        if session is None or missed is None:
            code = self._dialect.failed_resume_close
            if code is None:
                self.write(SessionInvalidated(resumable=False), now=now)
            else:
                self._refuse(code, "Invalid session", now)
            return
        self._move(Input.RESUME)
        if session.connection is not None:
            # The client lost it before we did.
            session.connection.drop(now=now)
        self._begin_session(session, now)
        for dispatch in missed:
            self.write(dispatch, now=now)
        d: dict[str, Any] = {"_trace": []} if self._dialect.trace_in_ready else {}
        if not self._dialect.greets:
            d["heartbeat_interval"] = self._config.heartbeat_interval
        self.write(session.next("RESUMED", msgspec.json.encode(d), replay=False), now=now)

    # ----- ends -----

    def _refuse(self, code: int, reason: str, now: float) -> None:
        """Close for what the client did."""
        self._close(Closed(code=code, reason=reason, by=By.SELF, then=Then.STOP), now)

    def _malformed(self, error: str, now: float) -> None:
        self._refuse(4002, "Error while decoding payload", now)

    def _fired(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.LIVENESS | Timer.SESSION:
                self._refuse(4009, "Session timed out", now)
            case Timer.CLOSE:
                self._end(self._peer_closed(None, ""), now)
            case _:
                self._fail(DROPPED, f"waited too long for {timer.value}", now)

    def _then(self, then: Then) -> Then:
        return Then.STOP

    def _peer_closed(self, code: int | None, reason: str) -> Closed:
        return Closed(code=code, reason=reason, by=By.PEER, then=Then.STOP)

    def _finished(self, closed: Closed, now: float) -> None:
        # A client that closes with 1000 or 1001 is gone for good.
        forget = closed.by is By.PEER and closed.code in (1000, 1001)
        self._server.leave(self, now=now, forget=forget)
