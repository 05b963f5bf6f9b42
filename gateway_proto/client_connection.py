"""bytes, now ↔ events: one connection of a client to a gateway.

It is used for one transport and then thrown away: its compression context, timers and rate window
are new with it. What outlives it is a `Session` and a presence; see `client.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from gateway_proto._connection import DROPPED, GatewayConnection
from gateway_proto._layers.frames import ClientFrames, Refused, Requested, Unframed
from gateway_proto._layers.inflate import inflater
from gateway_proto._layers.payloads import Payload, encode
from gateway_proto._layers.spelling import spell
from gateway_proto._layers.state import Input, State, client_table
from gateway_proto._timing.deadlines import Timer
from gateway_proto._timing.heartbeats import Heartbeats
from gateway_proto._timing.ratelimit import SlidingWindow
from gateway_proto.commands import Command, Heartbeat, Identify, Resume, UpdatePresence
from gateway_proto.config import Config
from gateway_proto.dialects import Compression, HeartbeatForm, Opcode, Then
from gateway_proto.endpoint import seconds_to_wait
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    By,
    Closed,
    Dispatch,
    Event,
    HeartbeatAcked,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    Opened,
    Ready,
    ReconnectRequested,
    Resumed,
    SessionInvalidated,
    Unknown,
)
from gateway_proto.session import Session, fingerprint, session_after
from gateway_proto.urls import Url

__all__ = ["ClientConnection"]

_AFTER_IDENTIFY_REFUSED = 5.0
"""Seconds: INVALID_SESSION after Identify means that it came too soon."""


class _ReadyFields(msgspec.Struct):
    session_id: str | int
    resume_gateway_url: str | None = None
    heartbeat_interval: float | None = None


class _Interval(msgspec.Struct):
    heartbeat_interval: float


class _OptionalInterval(msgspec.Struct):
    heartbeat_interval: float | None = None


class _Redirect(msgspec.Struct):
    url: str | None = None


class ClientConnection(GatewayConnection[Command, Event]):
    """One connection of a client to a gateway."""

    def __init__(
        self,
        config: Config,
        url: Url | str,
        *,
        now: float,
        session: Session | None = None,
        presence: UpdatePresence | None = None,
        on_finished: Callable[[ClientConnection, Closed, float], None] | None = None,
        framing: bool = True,
    ) -> None:
        dialect = config.dialect
        if dialect.heartbeat_form is HeartbeatForm.UNIX_MILLISECONDS and config.unix_offset is None:
            raise LocalProtocolError(
                f"heartbeats of version {dialect.version} carry unix time: set Config.unix_offset "
                "to unix time minus the time of your clock, in seconds"
            )
        url = Url.parse(url) if isinstance(url, str) else url
        target = url.with_query(config.query)
        super().__init__(
            now=now,
            close_timeout=config.close_timeout,
            table=client_table(dialect),
            frames=ClientFrames(
                host=target.host_header,
                target=target.target,
                user_agent=config.user_agent,
                limit=config.message_limit,
            )
            if framing
            else Unframed(),
        )
        self._config = config
        self._dialect = dialect
        self._target = target
        self._on_finished = on_finished
        self._inflater = inflater(config.compression, limit=config.message_limit)
        self._session = session
        self._sequence = None if session is None else session.sequence
        self._window = SlidingWindow(*dialect.send_limit)
        self._presence_window = SlidingWindow(*dialect.presence_limit)
        self._waiting: deque[tuple[Command, str]] = deque()
        self._presence_waits = False
        self._heartbeats = Heartbeats(acks=dialect.acks)
        self.presence: UpdatePresence | None = presence or config.presence
        """The last presence that the caller asked for."""
        self.redirect: str | None = None
        """Where RECONNECT said to go."""
        self.opened: bool = False
        """Whether the WebSocket was open."""
        self.reconnect_requested: bool = False
        """Whether RECONNECT came."""
        self.identified: bool = False
        """Whether Identify was sent."""
        self.ready_at: float | None = None
        """When READY was reached first."""
        self._deadlines.set(Timer.HANDSHAKE, now + config.handshake_timeout)
        if not framing:
            self._opened(now)

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        return self._heartbeats.latency

    @property
    def session(self) -> Session | None:
        """As of the last event received."""
        if self._session is None or self._sequence is None:
            return self._session
        return attrs.evolve(self._session, sequence=self._sequence)

    # ----- commands -----

    def send(self, message: Command, *, now: float) -> None:
        """Send a command, or let it wait for room under the rate limit.

        A presence is a state: it may be given at any time, and the last one counts. Other
        commands before READY, and those that the machine sends by itself, raise
        `LocalProtocolError`; so does one that is too large, or one too many that waits.
        """
        if self._state in (State.CLOSING, State.CLOSED):
            raise LocalProtocolError("the connection is closed: send on the next one")
        if isinstance(message, Identify | Resume | Heartbeat):
            raise LocalProtocolError(f"the machine sends {type(message).__name__} by itself")
        text = self._spell(message)
        now = self._at(now)
        if isinstance(message, UpdatePresence):
            self.presence = message
            self._presence_waits = self._state is State.READY
        elif self._state is not State.READY:
            raise LocalProtocolError(
                f"{type(message).__name__} needs READY, and the connection is "
                f"{self._state.value}: wait for Ready or Resumed"
            )
        elif len(self._waiting) >= self._config.waiting_limit:
            raise LocalProtocolError(
                f"{len(self._waiting)} commands wait for room under the rate limit already"
            )
        else:
            self._waiting.append((message, text))
        self._flush(now)

    def _spell(self, command: Command) -> str:
        op, d = spell(command, self._dialect)
        text = encode(op, d)
        if len(text) > self._dialect.payload_limit:
            raise LocalProtocolError(
                f"{type(command).__name__} has {len(text)} bytes, more than the "
                f"{self._dialect.payload_limit} that a gateway takes"
            )
        return text.decode()

    def _write(self, text: str, now: float) -> None:
        self._window.take(now)
        self._frames.send(text)

    def _flush(self, now: float) -> None:
        """Send what waits and has room; set timers for the rest."""
        while self._waiting:
            free_at = self._window.free_at(now, reserve=self._dialect.heartbeat_reserve)
            if free_at > now:
                self._deadlines.set(Timer.SEND, free_at)
                break
            self._write(self._waiting.popleft()[1], now)
        if self._presence_waits and self.presence is not None:
            free_at = max(
                self._window.free_at(now, reserve=self._dialect.heartbeat_reserve),
                self._presence_window.free_at(now),
            )
            if free_at > now:
                self._deadlines.set(Timer.PRESENCE, free_at)
                return
            self._presence_waits = False
            self._presence_window.take(now)
            self._write(self._spell(self.presence), now)

    # ----- the road upwards -----

    def _opened(self, now: float) -> None:
        self.opened = True
        self._deadlines.clear(Timer.HANDSHAKE)
        self._events.append(Opened(self._target.target))
        if self._move(Input.OPENED):
            self._deadlines.set(Timer.GREETING, now + self._config.greeting_timeout)
        else:
            # Version 3: "connect and identify at once".
            self._introduce(now)

    def _introduce(self, now: float) -> None:
        """Resume the session, or open one."""
        config = self._config
        if self._session is not None:
            with_token = config.resume_with_token
            if with_token is None:
                with_token = self._dialect.resume_with_token
            command: Command = Resume(
                session_id=self._session.id,
                seq=self._session.sequence,
                token=config.token if with_token else None,
            )
            self._move(Input.RESUME)
        else:
            command = Identify(
                token=config.token,
                properties=config.properties,
                intents=config.intents,
                compress=config.compression is Compression.PAYLOAD,
                large_threshold=config.large_threshold,
                shard=config.shard,
                presence=self.presence,
            )
            self.identified = True
            if self.presence is not None:
                self._presence_window.take(now)
            self._move(Input.IDENTIFY)
        self._deadlines.set(Timer.SESSION, now + config.session_timeout)
        self._write(self._spell(command), now)

    def _inflate(self, message: str | bytes) -> str | bytes | None:
        return self._inflater.receive(message)

    def _received(self, payload: Payload, now: float) -> None:
        self._heartbeats.heard()
        match payload.op:
            case Opcode.DISPATCH:
                self._dispatched(payload, now)
            case Opcode.HELLO if self._dialect.greets:
                self._greeted(payload, now)
            case Opcode.HEARTBEAT:
                # "Answer at once, without waiting the rest of the interval."
                self._move(Input.HEARTBEAT)
                self._events.append(HeartbeatRequested())
                self._beat(now)
            case Opcode.HEARTBEAT_ACK if self._dialect.acks:
                self._move(Input.ACK)
                self._events.append(HeartbeatAcked(self._heartbeats.acked(now)))
            case Opcode.RECONNECT:
                self._reconnect(payload, now)
            case Opcode.INVALID_SESSION:
                self._invalidated(payload, now)
            case _:
                self._move(Input.UNKNOWN)
                message = payload.message if isinstance(payload.message, str) else None
                self._events.append(Unknown(payload.op, payload.raw, message))

    def _dispatched(self, payload: Payload, now: float) -> None:
        name = payload.t or ""
        sequence = payload.sequence
        if sequence is not None and name != "READY":
            # Before anything can go wrong with the event.
            self._sequence = sequence
        if name == "READY":
            self._ready(payload, now)
        elif name == "RESUMED":
            self._resumed(payload, now)
        else:
            self._move(Input.DISPATCH)
            self._events.append(Dispatch(name, sequence, payload.raw))

    def _ready(self, payload: Payload, now: float) -> None:
        fields = self._fields(payload, _ReadyFields, "READY", now)
        if fields is None or not self._move(Input.READY):
            return
        interval = None
        if not self._dialect.greets:
            interval = fields.heartbeat_interval
            if not self._beats_every(interval, "READY", now):
                return
        ready = Ready(
            "READY",
            payload.sequence,
            payload.raw,
            session_id=str(fields.session_id),
            resume_gateway_url=fields.resume_gateway_url
            if self._dialect.resume_url_in_ready
            else None,
            heartbeat_interval=None if interval is None else int(interval),
            shard=self._config.shard,
            version=self._dialect.version,
            fingerprint=fingerprint(self._config.token),
        )
        # Session id, resume URL and sequence change together, or not at all.
        self._session = session_after(None, ready)
        self._sequence = ready.sequence
        self._events.append(ready)
        self._start(now, say_presence=not self._dialect.presence_in_identify)

    def _resumed(self, payload: Payload, now: float) -> None:
        fields = self._fields(payload, _OptionalInterval, "RESUMED", now)
        if fields is None or not self._move(Input.RESUMED):
            return
        interval = None
        if not self._dialect.greets:
            interval = fields.heartbeat_interval
            if not self._beats_every(interval, "RESUMED", now):
                return
        self._events.append(
            Resumed(
                "RESUMED",
                payload.sequence,
                payload.raw,
                heartbeat_interval=None if interval is None else int(interval),
            )
        )
        if self._state is State.READY:
            # It may have changed while there was no connection.
            self._start(now, say_presence=True)

    def _start(self, now: float, *, say_presence: bool) -> None:
        if self.ready_at is None:
            self.ready_at = now
        self._deadlines.clear(Timer.SESSION)
        self._presence_waits = say_presence and self.presence is not None
        self._flush(now)

    def _greeted(self, payload: Payload, now: float) -> None:
        hello = self._fields(payload, _Interval, "HELLO", now)
        if hello is None:
            return
        self._move(Input.HELLO)
        self._events.append(Hello(int(hello.heartbeat_interval)))
        # "The first heartbeat after interval times random."
        if not self._beats_every(
            hello.heartbeat_interval, "HELLO", now, first=self._config.chance()
        ):
            return
        if self._state is State.GREETING:
            self._deadlines.clear(Timer.GREETING)
            self._introduce(now)

    def _reconnect(self, payload: Payload, now: float) -> None:
        if self._dialect.redirects:
            try:
                self.redirect = msgspec.json.decode(payload.raw, type=_Redirect).url
            except msgspec.DecodeError:
                # Null and integers were seen here; then the lookup says where.
                self.redirect = None
        self.reconnect_requested = True
        self._events.append(ReconnectRequested(self.redirect))
        # Codes 1000 and 1001 would end the session.
        closed = Closed(
            code=DROPPED,
            by=By.SELF,
            then=self._then(Then.RESUME),
            reason="reconnect requested",
        )
        self._drop(closed, now, Input.RECONNECT)

    def _invalidated(self, payload: Payload, now: float) -> None:
        # Other servers leave `d` out, or send what is no boolean: only true is true.
        resumable = payload.raw == b"true"
        low, high = self._dialect.invalid_session_wait
        wait = low + self._config.chance() * (high - low)
        if self._state is State.IDENTIFYING:
            wait = max(wait, _AFTER_IDENTIFY_REFUSED)
        if not resumable:
            self._session = None
        self._events.append(SessionInvalidated(resumable))
        closed = Closed(
            code=DROPPED,
            by=By.SELF,
            then=self._then(Then.RESUME),
            reason="session invalidated",
            retry_after=wait,
        )
        self._drop(closed, now, Input.INVALID_SESSION)

    def _fields(self, payload: Payload, type_: type[Any], name: str, now: float) -> Any:
        """The fields of `d` that the machine needs; None, and the end, where they are not there."""
        try:
            return msgspec.json.decode(payload.raw, type=type_)
        except (msgspec.DecodeError, RecursionError) as error:
            self._fail(DROPPED, f"{name} is not understood: {error}", now)
            return None

    def _malformed(self, error: str, now: float) -> None:
        # Without a context that runs on, the next message is none the worse for it.
        if self._config.compression is Compression.ZLIB_STREAM:
            self._fail(DROPPED, error, now)

    # ----- heartbeats -----

    def _beats_every(
        self, milliseconds: float | None, name: str, now: float, *, first: float = 1.0
    ) -> bool:
        """Beat at this interval, at first after a part of it."""
        if milliseconds is None or milliseconds <= 0:
            self._fail(
                DROPPED, f"{name} names no heartbeat_interval above zero: {milliseconds}", now
            )
            return False
        self._heartbeats.begin(milliseconds)
        self._deadlines.set(Timer.HEARTBEAT, now + self._heartbeats.interval * first)
        return True

    def _beat(self, now: float) -> None:
        d: int | str | None = self._sequence
        if self._dialect.heartbeat_form is HeartbeatForm.UNIX_MILLISECONDS:
            assert self._config.unix_offset is not None
            milliseconds = int((now + self._config.unix_offset) * 1000)
            d = milliseconds if self._config.heartbeat_as_integer else str(milliseconds)
        self._events.append(HeartbeatSent(d))
        self._write(self._spell(Heartbeat(d)), now)

    def _scheduled_beat(self, now: float) -> None:
        if not self._deadlines.paused and self._heartbeats.is_zombie():
            self._drop(
                Closed(
                    code=DROPPED,
                    by=By.SELF,
                    then=self._then(Then.RESUME),
                    reason="heartbeat not acknowledged",
                    error="zombie: no heartbeat ACK, though the transport is open",
                ),
                now,
            )
            return
        self._heartbeats.sent(now)
        # A late beat delays the next ones; they do not follow in a burst.
        self._deadlines.set(Timer.HEARTBEAT, now + self._heartbeats.interval)
        self._beat(now)

    def unpause(self, *, now: float) -> None:
        """The adapter reads again; what has waited in the socket is as good as heard."""
        if self._deadlines.paused:
            self._heartbeats.excuse()
        super().unpause(now=now)

    # ----- timers and the end -----

    def _fired(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.HEARTBEAT:
                self._scheduled_beat(now)
            case Timer.SEND | Timer.PRESENCE:
                self._flush(now)
            case Timer.CLOSE:
                self._end(self._peer_closed(None, ""), now)
            case _:
                self._fail(DROPPED, f"waited too long for {timer.value}", now)

    def _then(self, then: Then) -> Then:
        if then is Then.RESUME and self._session is None:
            return Then.IDENTIFY
        return then

    def _peer_closed(self, code: int | None, reason: str) -> Closed:
        then = self._then(self._dialect.after_close(code))
        return Closed(code=code, reason=reason, by=By.PEER, then=then)

    def _http(self, item: Refused | Requested, now: float) -> None:
        assert isinstance(item, Refused)
        excerpt = item.body[:200].decode("utf-8", "replace").strip()
        self._end(
            Closed(
                code=item.status,
                reason=excerpt,
                by=By.PEER,
                then=self._then(Then.RESUME),
                error=f"the upgrade was answered with HTTP {item.status}",
                retry_after=seconds_to_wait(item.headers),
            ),
            now,
        )

    def _finish(self, closed: Closed, now: float) -> None:
        if self._waiting:
            unsent = tuple(command for command, _ in self._waiting)
            closed = attrs.evolve(closed, unsent=unsent)
            self._waiting.clear()
        super()._finish(closed, now)

    def _finished(self, closed: Closed, now: float) -> None:
        self._session = session_after(self.session, closed)
        self._sequence = None if self._session is None else self._session.sequence
        if self._on_finished is not None:
            self._on_finished(self, closed, now)
