"""messages → frames: the half of a server's connection that sends, and the session it tells.

What a scenario makes go wrong on the way stands here too; when it does is `_mischief.py`'s.
"""

from __future__ import annotations

import abc
import functools
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_proto._checks import BOOL, COUNT, LARGEST, TEXT, WORD, integer, optional
from gateway_proto._connection import EVENT_SIZE, GatewayConnection
from gateway_proto._layers import etf
from gateway_proto._layers.frames import ServerFrames, Unframed
from gateway_proto._layers.inflate import PlainInflater, deflater
from gateway_proto._layers.payloads import Payload, encode_control, encode_dispatch
from gateway_proto._layers.raw import to_term, value_of_caller
from gateway_proto._layers.state import State, server_table
from gateway_proto._members import MembersView
from gateway_proto._mischief import Mischief
from gateway_proto._timing.deadlines import Timer
from gateway_proto._timing.ratelimit import SlidingWindow
from gateway_proto._wire import Wire
from gateway_proto.commands import Identify, UpdatePresence
from gateway_proto.dialects import DIALECTS, Compression, Dialect, Encoding, Opcode, Then
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    By,
    Closed,
    Dispatch,
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    ReconnectRequested,
    ServerEvent,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.faults import Fault
from gateway_proto.intents import Intents
from gateway_proto.server_config import ServerConfig
from gateway_proto.shards import shard_of

__all__ = ["ServerSession", "Telling"]

_LARGE = 1024
"""Bytes from which a text is worth compressing by itself."""
_SEQUENCE = optional(integer(0, 2**63 - 1))
_URL = optional(TEXT)
_DIRECT = (
    Intents.DIRECT_MESSAGES
    | Intents.DIRECT_MESSAGE_REACTIONS
    | Intents.DIRECT_MESSAGE_TYPING
    | Intents.DIRECT_MESSAGE_POLLS
)
_PRIVATE = (1, 3)
"""Types of the channels for direct messages: of two users, and of a group."""


class ServerSession:
    """What the server keeps of a client between its connections."""

    def __init__(
        self,
        id_: str,
        identify: Identify,
        dialect: Dialect,
        replay_limit: int,
        replay_bytes: int = LARGEST,
    ) -> None:
        self.id: str = id_
        self.token: str = identify.token.removeprefix("Bot ")
        self.shard: tuple[int, int] | None = identify.shard
        self.intents: int | None = identify.intents if dialect.intents else None
        """None: it gets what every intent brings."""
        self.compress: bool = identify.compress
        self.dialect: Dialect = dialect
        self.sequence: int = 0
        """Of the last dispatch."""
        self.connection: Telling | None = None
        """None while the client is away."""
        self.large_threshold: int = identify.large_threshold or dialect.large_threshold
        """Members of a guild beyond which GUILD_CREATE has not all of them."""
        self.presence: UpdatePresence | None = identify.presence
        """The one that is shown."""
        self._presences = SlidingWindow(*dialect.presence_limit)
        self.encoding: Encoding = Encoding.JSON
        """Of its last connection."""
        self._replay: deque[tuple[Dispatch, int]] = deque()  # each with its size in bytes
        self._replay_size = 0  # bytes
        self._replay_limits = (replay_limit, replay_bytes)
        self._forgotten = 0  # the sequence up to which dispatches are no longer kept

    def __repr__(self) -> str:
        """Return the repr, without the token, the session's id and the data of dispatches."""
        number = None if self.connection is None else self.connection.number
        return (
            f"ServerSession(version={self.dialect.version}, shard={self.shard}, "
            f"intents={self.intents}, sequence={self.sequence}, connection={number})"
        )

    def gets(self, name: str, guild_id: str | int | None, data: Any = None) -> bool:
        """Return whether a dispatch is for this session, by its version, shard and intents."""
        if not self.dialect.knows(name):
            return False
        if not self.dialect.private_channels and _creates_private_channel(name, data):
            return False
        needed = _needed(name, of_guild=guild_id is not None)
        if self.shard is not None and (guild_id is not None or needed):
            # What has no guild goes to shard 0.
            mine = 0 if guild_id is None else shard_of(guild_id, self.shard[1])
            if self.shard[0] != mine:
                return False
        return not needed or self.intents is None or bool(needed & self.intents)

    def show(self, presence: UpdatePresence, *, now: float) -> bool:
        """Show a presence; False: there were too many, and it is let go without a word."""
        if self._presences.free_at(now) > now:
            return False
        self._presences.take(now)
        self.presence = presence
        return True

    def members_view(self, user_id: str) -> MembersView:
        """Return what the session sees of members; `user_id` is that of the bot."""
        return MembersView(self.intents, self.large_threshold, user_id)

    @property
    def reads_content(self) -> bool:
        """Whether it gets what others write in guilds."""
        asked = self.intents is None or bool(self.intents & Intents.MESSAGE_CONTENT)
        return asked or not self.dialect.content_intent

    def next(self, name: str, raw: bytes, *, replay: bool = True) -> Dispatch:
        """The next dispatch, kept for a replay."""
        self.sequence += 1
        dispatch = Dispatch(name, self.sequence, msgspec.Raw(raw))
        if replay:
            self._keep(dispatch, EVENT_SIZE + len(name) + len(raw))
        return dispatch

    def _keep(self, dispatch: Dispatch, size: int) -> None:
        """Keep a dispatch for a resume; drop the oldest ones beyond the limits."""
        most, most_bytes = self._replay_limits
        self._replay.append((dispatch, size))
        self._replay_size += size
        while len(self._replay) > most or self._replay_size > most_bytes:
            oldest, size = self._replay.popleft()
            self._replay_size -= size
            self._forgotten = oldest.sequence or 0

    @property
    def replay_size(self) -> int:
        """Bytes of the dispatches that are kept for a resume."""
        return self._replay_size

    def missed(self, after: int, encoding: Encoding = Encoding.JSON) -> list[Dispatch] | None:
        """Return the dispatches after a sequence, for a connection with this encoding.

        None if they are not all kept, or one of them cannot be written in this encoding.
        """
        if after < self._forgotten:
            return None
        missed = [dispatch for dispatch, _ in self._replay if (dispatch.sequence or 0) > after]
        if encoding is Encoding.JSON:
            return missed
        try:
            return [_as_term(dispatch) for dispatch in missed]
        except LocalProtocolError:
            return None


def _as_term(dispatch: Dispatch) -> Dispatch:
    raw = dispatch.raw
    if raw[:1] == etf.VERSION:
        return dispatch
    return Dispatch(dispatch.name, dispatch.sequence, msgspec.Raw(to_term(raw)))


@functools.cache
def _needed(name: str, *, of_guild: bool) -> Intents:
    """The intents of which one is needed for a dispatch; none for what is no dispatch of theirs."""
    needed = Intents.for_event(name)
    # Without a guild it may be a direct message, or one that a test has shortened.
    return needed & ~_DIRECT if of_guild else needed


def _creates_private_channel(name: str, data: Any) -> bool:
    """Return whether a dispatch is CHANNEL_CREATE of a channel for direct messages."""
    return name == "CHANNEL_CREATE" and isinstance(data, Mapping) and data.get("type") in _PRIVATE


def _size(message: ServerMessage) -> int:
    return EVENT_SIZE + (len(message.raw) if isinstance(message, Dispatch) else 0)


def _check(message: ServerMessage, encoding: Encoding) -> None:
    """Check a message of the caller before it changes anything; raises `LocalProtocolError`."""
    match message:
        case Dispatch(name=name, sequence=sequence):
            WORD.named("Dispatch.name", name)
            _SEQUENCE.named("Dispatch.sequence", sequence)
            encode_dispatch(message.raw, sequence, name, encoding)
            value_of_caller(message.raw)
        case Hello(heartbeat_interval):
            COUNT.named("Hello.heartbeat_interval", heartbeat_interval)
        case ReconnectRequested(url):
            _URL.named("ReconnectRequested.url", url)
        case SessionInvalidated(resumable):
            BOOL.named("SessionInvalidated.resumable", resumable)
        case _:
            pass


class Telling(GatewayConnection[ServerMessage, ServerEvent, Payload], abc.ABC):
    """What is sent, in the version, encoding and compression that the client asked for."""

    def __init__(self, config: ServerConfig, *, now: float, framing: bool) -> None:
        super().__init__(
            now=now,
            close_timeout=config.close_timeout,
            events_limit=config.events_limit,
            output_limit=config.output_limit,
            table=server_table(),
            frames=ServerFrames(limit=config.message_limit) if framing else Unframed(),
            inflater=PlainInflater(),
        )
        self._config = config
        self._dialect = DIALECTS[config.versions[-1]]
        self._encoding = Encoding.JSON
        self._compression = Compression.NONE
        self._deflater = deflater(self._compression)
        self._mischief = Mischief(())
        self.wire: Wire = Wire()
        """What bytes go through on their way out."""
        self._silent = False
        self._held: list[ServerMessage] = []
        self._held_size = 0  # bytes
        self._cut: int | None = None
        self._last_dispatch: Dispatch | None = None
        self.number: int | None = None
        """Which connection of the server it is, counted from 1; None: it has asked for none yet."""
        self.session: ServerSession | None = None
        """The client's, once it has identified or resumed."""

    def __repr__(self) -> str:
        """Return the repr, without secrets and payloads."""
        return (
            f"{type(self).__name__}(number={self.number}, state={self._state.value}, "
            f"version={self._dialect.version}, encoding={self._encoding.value}, "
            f"compression={self._compression.value}, waiting={self.waiting}, "
            f"session={self.session!r})"
        )

    @property
    def dialect(self) -> Dialect:
        """What the client asked to speak."""
        return self._dialect

    @property
    def encoding(self) -> Encoding:
        """What the client asked for."""
        return self._encoding

    @property
    def compression(self) -> Compression:
        """What the client asked for."""
        return self._compression

    @property
    def waiting(self) -> int:
        """Bytes that wait to be sent."""
        return self._frames.waiting + self.wire.waiting + self._held_size

    def data_to_send(self) -> bytes:
        """The bytes that wait, in order; each once."""
        return self.wire.pass_on(super().data_to_send(), at_end=self._state is State.CLOSED)

    def close_to_send(self) -> tuple[int, str] | None:
        """`framing=False`: code and reason of the close to send behind the messages, once."""
        return None if self._silent else super().close_to_send()

    def _begin_upgrade(self, number: int, faults: tuple[Fault, ...]) -> None:
        self.number = number
        self._mischief = Mischief(faults)

    def _attach(self, session: ServerSession) -> None:
        self.session = session
        session.connection = self

    def _detach(self) -> None:
        self.session = None

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
        _check(message, self._encoding)
        if isinstance(message, Dispatch) and message.sequence is None:
            if self.session is None:
                raise LocalProtocolError("a dispatch needs a session: wait for Identify or Resume")
            message = self.session.next(message.name, message.raw)
        self.write(message, now=now)

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """Begin the closing handshake; after it, or its timeout, comes `Closed`.

        Raises `LocalProtocolError` for a code or a reason that a close frame cannot carry.
        """
        super().close(code, reason, now=now)
        self._wake()

    def write(self, message: ServerMessage, *, now: float) -> None:
        """Send a message as it is; one that cannot be sent any more is let go."""
        self._at(now)
        if self._state not in (State.IDENTIFYING, State.READY) or self._silent:
            return
        if self._mischief.held_until is not None:
            self._held.append(message)
            self._held_size += _size(message)
            self._check_output(now)
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
        self._send_message(self._deflater.send(text, large=large), now)
        if isinstance(message, Dispatch):
            self._last_dispatch = message
            self._reach("dispatch", now)
        elif isinstance(message, SessionInvalidated):
            self._invalidate(message, now)

    @abc.abstractmethod
    def _invalidate(self, message: SessionInvalidated, now: float) -> None:
        """End or detach the session after INVALID_SESSION was sent."""

    def _send_message(self, message: str | bytes, now: float) -> None:
        fault, self._mischief.frame = self._mischief.frame, None
        before = self._frames.waiting
        if fault is not None and isinstance(self._frames, ServerFrames):
            self._frames.send_badly(message, fault.what, fault.size)
        else:
            self._frames.send(message)
        if self._cut is not None:
            self._cut -= self._frames.waiting - before
            if self._cut <= 0:
                if isinstance(self._frames, ServerFrames):
                    self._frames.take_back(-self._cut)
                self.drop(now=now)
        self.wire.count_message()
        self._check_output(now)
        self._wake()

    def _check_output(self, now: float) -> None:
        """Drop the connection if more waits for the client than `output_limit` allows."""
        if self.waiting > self._output_limit:
            self.drop(now=now)

    # ----- for faults -----

    def cut_after(self, size: int, *, now: float) -> None:
        """Drop the transport after so many more bytes."""
        self._cut = size
        if size <= 0:
            self.drop(now=now)

    def close_as_real_servers_do(self, code: int, reason: str, *, now: float) -> None:
        """Close with any code that a close frame may carry, such as 1012 of a restart."""
        self._close(Closed(code=code, reason=reason, by=By.SELF, then=Then.STOP), self._at(now))
        self._wake()

    def send_bomb(self, size: int, *, now: float) -> None:
        """Send a message that inflates to so many bytes."""
        if self._state in (State.IDENTIFYING, State.READY):
            text = b'{"op":0,"t":"BOMB","d":"' + b" " * size + b'"}'
            self._send_message(self._deflater.send(text, large=True), now)

    def send_garbage(self, *, now: float) -> None:
        """Send bytes that are no frame."""
        is_open = self._state in (State.IDENTIFYING, State.READY)
        if is_open and isinstance(self._frames, ServerFrames):
            self._frames.send_garbage()
            self._wake()

    @property
    def acknowledges(self) -> bool:
        """Whether heartbeats are acknowledged."""
        return not self._mischief.no_acks and not self._silent

    def stop_acks(self) -> None:
        """Acknowledge no heartbeat any more."""
        self._mischief.no_acks = True

    def fall_silent(self) -> None:
        """Send nothing any more; what waits is still sent."""
        self._silent = True
        self.wire.fall_silent(self._frames.waiting)

    def merge(self, messages: int) -> None:
        """Keep the next messages back, and send them at once."""
        self.wire.merge(messages, self._frames.waiting)

    def skip_sequences(self, count: int) -> None:
        """Leave out sequences."""
        if self.session is not None:
            self.session.sequence += count

    def last_dispatch(self) -> Dispatch | None:
        """The dispatch that was sent last."""
        return self._last_dispatch

    def _reach(self, trigger: str, now: float) -> bool:
        """Let the faults happen that belong here; whether the connection is still open."""
        self._mischief.reach(trigger, self, now)
        self._plan_mischief()
        return self._state in (State.IDENTIFYING, State.READY)

    def _plan_mischief(self) -> None:
        times = (self._mischief.next_timer(), self.wire.next_at)
        at = min((at for at in times if at is not None), default=None)
        if at is not None and self._state not in (State.CLOSING, State.CLOSED):
            self._deadlines.set(Timer.FAULT, at)

    def _release(self, now: float) -> None:
        held, self._held, self._held_size = self._held, [], 0
        for message in held:
            self.write(message, now=now)

    def _encode(self, op: int, d: Any) -> bytes:
        return encode_control(op, d, self._encoding)

    def drop(self, *, now: float) -> None:
        """End the connection without a close frame, as a cut wire does; the session is kept."""
        self._end(Closed(code=None, by=By.SELF, then=Then.STOP, reason="dropped"), self._at(now))
        self._wake()
