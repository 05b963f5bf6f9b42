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
from gateway_proto._layers.payloads import Payload, from_raw
from gateway_proto._layers.state import Input, State, client_table
from gateway_proto._timing.deadlines import Timer
from gateway_proto._timing.heartbeats import EarlyHeartbeats, Heartbeats
from gateway_proto._timing.outbox import Outbox, Waiting
from gateway_proto.commands import Command, Heartbeat, Identify, Resume, UpdatePresence
from gateway_proto.config import Config
from gateway_proto.dialects import HeartbeatForm, Opcode, Then
from gateway_proto.endpoint import seconds_to_wait
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    By,
    Closed,
    CommandsWait,
    Dispatch,
    Event,
    HeartbeatAcked,
    HeartbeatLate,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    IdentifySlotNeeded,
    Opened,
    Ready,
    ReconnectRequested,
    Resumed,
    SessionInvalidated,
    Suspended,
    Unknown,
)
from gateway_proto.requests import ANSWERS, Request, Requests
from gateway_proto.session import LONGEST_ID, Session, fingerprint, session_after
from gateway_proto.shards import identify_key
from gateway_proto.urls import Url

__all__ = ["ClientConnection"]

_AFTER_IDENTIFY_REFUSED = 5.0
"""Seconds: INVALID_SESSION after Identify means that it came too soon."""
_LAST_SENT = 4
"""Commands that are kept for the report of a close that blames one."""


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
        requests: Requests | None = None,
        on_finished: Callable[[ClientConnection, Closed, float], None] | None = None,
        on_slot_needed: Callable[[ClientConnection, float], None] | None = None,
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
            inflater=inflater(config.compression, limit=config.message_limit),
        )
        self._config = config
        self._dialect = dialect
        self._target = target
        self._on_finished = on_finished
        self._on_slot_needed = on_slot_needed
        self._session = session
        self._sequence = None if session is None else session.sequence
        self._alone = requests is None
        self._requests = Requests(dialect) if requests is None else requests
        self._outbox: Outbox[Command] = Outbox(
            send_limit=dialect.send_limit,
            presence_limit=dialect.presence_limit,
            held_until=self._requests.held_until,
        )
        self._presence_said: UpdatePresence | None = None  # in Identify
        self._unsent: tuple[Command, ...] = ()
        self._last_sent: deque[Command] = deque(maxlen=_LAST_SENT)
        self._heartbeats = Heartbeats(acks=dialect.acks, policy=config.zombie_policy)
        self._answered = True  # something came since Resume was sent
        self._awaits_slot = False
        self._wait_reported = False
        self._unix_offset = config.unix_offset
        self._clocks: float | None = None
        self.presence: UpdatePresence | None = presence or config.presence
        """The last presence that the caller asked for."""
        self.redirect: str | None = None
        """Where RECONNECT said to go."""
        self.opened: bool = False
        """Whether the WebSocket was open."""
        self.reconnect_requested: bool = False
        """Whether RECONNECT came."""
        self.identified_at: list[float] = []
        """When Identify was sent."""
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
    def waiting(self) -> tuple[Command, ...]:
        """Commands that wait for room under the rate limits, in order."""
        return self._outbox.waiting

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
        text = self._config.spell(message)
        if isinstance(message, UpdatePresence):
            self._config.spell(self._config.identify(message))  # it must have room in there too
            now = self._at(now)
            self.presence = message
            if self._state is State.READY:
                self._outbox.put_presence(Waiting(message, text, now))
        else:
            self._check_ready(message)
            now = self._at(now)
            self._outbox.put(Waiting(message, text, now))
        self._flush(now)

    def request(self, request: Request, *, now: float, timeout: float = 30.0) -> int:
        """Send a request and collect its answer; returns its number.

        `RequestAnswered` or `RequestFailed` with that number follows; `timeout` is seconds without
        any part of the answer. Raises `LocalProtocolError` as `send` does.
        """
        if not isinstance(request, Request):
            raise LocalProtocolError(f"{request!r} is no request with an answer: use send")
        self._check_ready(request)
        if isinstance(getattr(request, "guild_id", ""), tuple):
            raise LocalProtocolError(
                "the answers of several guilds are not told apart: ask for one"
            )
        self._config.spell(request)
        nonce = f"{int(self._config.chance() * 2**32):x}"
        number, request = self._requests.open(request, timeout, nonce)
        now = self._at(now)
        self._outbox.put(Waiting(request, self._config.spell(request), now, number))
        self._flush(now)
        return number

    def _check_ready(self, command: Command) -> None:
        if self._state is not State.READY:
            raise LocalProtocolError(
                f"{type(command).__name__} needs READY, and the connection is "
                f"{self._state.value}: wait for Ready or Resumed"
            )
        if len(self._outbox.waiting) >= self._config.waiting_limit:
            raise LocalProtocolError(
                f"{len(self._outbox.waiting)} commands wait for room under the rate limit already"
            )

    def _write(self, command: Command, text: str | bytes) -> None:
        self._last_sent.append(command)
        self._frames.send(text)

    def _flush(self, now: float) -> None:
        """Send what waits and has room; set timers for the rest."""
        while (waiting := self._outbox.take(now)) is not None:
            self._write(waiting.command, waiting.text)
            self._requests.note(waiting.command, now)
            if waiting.number is not None:
                self._requests.sent(waiting.number, now)
        for timer, at in (
            (Timer.SEND, self._outbox.free_at(now)),
            (Timer.REQUEST, self._requests.next_timer()),
        ):
            if at is None:
                self._deadlines.clear(timer)
            else:
                self._deadlines.set(timer, at)
        since = self._outbox.waiting_since
        if since is None:
            self._deadlines.clear(Timer.WAITING)
            self._wait_reported = False
        elif not self._wait_reported:
            self._deadlines.set(Timer.WAITING, since + self._config.waiting_reported_after)

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
        if self._session is None:
            self._ask_to_identify(now)
            return
        with_token = self._config.resume_with_token
        if with_token is None:
            with_token = self._dialect.resume_with_token
        self._move(Input.RESUME)
        self._answered = False
        resume = Resume(
            session_id=self._session.id,
            seq=self._session.sequence,
            token=self._config.token if with_token else None,
        )
        self._deadlines.set(Timer.SESSION, now + self._config.session_timeout)
        self._outbox.count(now)
        self._write(resume, self._config.spell(resume))

    def _ask_to_identify(self, now: float) -> None:
        config = self._config
        # Versions that do not greet have no state in which to wait for a turn.
        if not config.ask_to_identify or not self._dialect.greets:
            self._identify(now)
            return
        self._awaits_slot = True
        shard_id = 0 if config.shard is None else config.shard[0]
        key = identify_key(shard_id, config.max_concurrency)
        self._events.append(IdentifySlotNeeded(shard_id, key))
        if self._on_slot_needed is not None:
            self._on_slot_needed(self, now)

    def grant_identify(self, *, now: float) -> None:
        """It is the connection's turn to identify; does nothing where it does not wait for it."""
        now = self._at(now)
        if self._awaits_slot and self._state is not State.CLOSED:
            self._identify(now)
            self._wake()

    def _identify(self, now: float) -> None:
        config = self._config
        self._awaits_slot = False
        identify = config.identify(self.presence)
        self.identified_at.append(now)
        self._move(Input.IDENTIFY)
        self._deadlines.set(Timer.SESSION, now + config.session_timeout)
        self._presence_said = self.presence if self._dialect.presence_in_identify else None
        self._outbox.count(now, presence=self._presence_said is not None)
        self._write(identify, self._config.spell(identify))

    def _received(self, payload: Payload, now: float) -> None:
        self._heartbeats.heard()
        self._answered = True
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
        if self._heartbeats.held and self._state is not State.CLOSED:
            self._scheduled_beat(now)

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
            dispatch = Dispatch(name, sequence, payload.raw)
            self._events.append(dispatch)
            if name in ANSWERS and self._requests:
                self._events += self._requests.received(dispatch, now)
                self._flush(now)

    def _ready(self, payload: Payload, now: float) -> None:
        fields = self._fields(payload, _ReadyFields, "READY", now)
        if fields is None:
            return
        session_id = str(fields.session_id)
        if len(session_id) > LONGEST_ID:
            self._fail(DROPPED, f"READY names a session id of {len(session_id)} characters", now)
            return
        if not self._move(Input.READY):
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
            session_id=session_id,
            resume_gateway_url=fields.resume_gateway_url
            if self._dialect.resume_url_in_ready
            else None,
            heartbeat_interval=None if interval is None else int(interval),
            shard=self._config.shard,
            version=self._dialect.version,
            fingerprint=fingerprint(self._config.token),
        )
        # In answer to Resume it is a new session, in which the old one's answers do not come.
        self._clear_outbox("a new session began", now)
        # Session id, resume URL and sequence change together, or not at all.
        self._session = session_after(None, ready)
        self._sequence = ready.sequence
        self._events.append(ready)
        self._start(now, say_presence=self.presence != self._presence_said)

    def _resumed(self, payload: Payload, now: float) -> None:
        interval = None
        if not self._dialect.greets:
            fields = self._fields(payload, _OptionalInterval, "RESUMED", now)
            interval = None if fields is None else fields.heartbeat_interval
            if fields is None or not self._beats_every(interval, "RESUMED", now):
                return
        if not self._move(Input.RESUMED):
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
        if say_presence and self.presence is not None:
            self._outbox.put_presence(
                Waiting(self.presence, self._config.spell(self.presence), now)
            )
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
        if self._state is State.GREETING and not self._awaits_slot:
            self._deadlines.clear(Timer.GREETING)
            self._introduce(now)

    def _reconnect(self, payload: Payload, now: float) -> None:
        if self._dialect.redirects:
            try:
                self.redirect = from_raw(payload.raw, _Redirect).url
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
        resumable = self._dialect.invalid_session_says and _is_true(payload.raw)
        low, high = self._dialect.invalid_session_wait
        wait = low + self._config.chance() * (high - low)
        if self._state is State.IDENTIFYING:
            wait = max(wait, _AFTER_IDENTIFY_REFUSED)
        if not resumable:
            self._session = None
            self._sequence = None
        self._events.append(SessionInvalidated(resumable))
        config = self._config
        attempts = len(self.identified_at)
        stays = config.identify_on_same_connection and attempts < config.identify_attempts
        if stays and not resumable and self._move(Input.INVALID_SESSION_STAY):
            self._clear_outbox("the session was invalidated", now)
            self._deadlines.set(Timer.IDENTIFY, now + wait)
            self._deadlines.clear(Timer.SESSION)
            return
        closed = Closed(
            code=DROPPED,
            by=By.SELF,
            then=self._then(Then.RESUME),
            reason="session invalidated",
            retry_after=wait,
        )
        self._drop(closed, now, Input.INVALID_SESSION)

    def _clear_outbox(self, why: str, now: float) -> None:
        """What waits was meant for the session that is over; what is awaited will not come."""
        self._unsent += tuple(waiting.command for waiting in self._outbox.clear())
        self._events += self._requests.fail(why)
        self._flush(now)

    def _fields(self, payload: Payload, type_: type[Any], name: str, now: float) -> Any:
        """The fields of `d` that the machine needs; None, and the end, where they are not there."""
        try:
            return from_raw(payload.raw, type_)
        except (msgspec.DecodeError, RecursionError) as error:
            self._fail(DROPPED, f"{name} is not understood: {error}", now)
            return None

    def _malformed(self, error: str, now: float) -> None:
        skip = self._config.skip_malformed
        # Without a context that runs on, the next message is none the worse for it.
        if skip is None:
            skip = not self._config.compression.in_query
        if not skip:
            self._fail(DROPPED, error, now)

    # ----- heartbeats -----

    def _beats_every(
        self, milliseconds: float | None, name: str, now: float, *, first: float = 1.0
    ) -> bool:
        """Beat at this interval, at first after a part of it."""
        if milliseconds is None or not milliseconds > 0:
            self._fail(
                DROPPED, f"{name} names no heartbeat_interval above zero: {milliseconds}", now
            )
            return False
        self._heartbeats.begin(milliseconds, now, first=first)
        self._outbox.reserve(self._heartbeats.places(self._dialect.send_limit[1]))
        self._deadlines.set(Timer.HEARTBEAT, self._heartbeats.due)
        return True

    def _beat(self, now: float) -> None:
        d: int | str | None = self._sequence
        if self._dialect.heartbeat_form is HeartbeatForm.UNIX_MILLISECONDS:
            assert self._unix_offset is not None
            milliseconds = int((now + self._unix_offset) * 1000)
            d = milliseconds if self._config.heartbeat_as_integer else str(milliseconds)
        self._events.append(HeartbeatSent(d))
        self._outbox.count(now)
        self._frames.send(self._config.spell(Heartbeat(d)))

    def _may_beat(self) -> bool:
        policy = self._config.early_heartbeats
        if policy is EarlyHeartbeats.AFTER_ANSWER:
            return self._answered
        # Whoever waits for its turn to identify beats meanwhile.
        awaited = self._state is State.RESUMING or self._state is State.IDENTIFYING
        return policy is EarlyHeartbeats.ALWAYS or not awaited

    def _scheduled_beat(self, now: float) -> None:
        if not self._may_beat():
            self._heartbeats.held = True
            return
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
        held = self._heartbeats.held
        late = self._heartbeats.sent(now)
        self._deadlines.set(Timer.HEARTBEAT, self._heartbeats.due)
        if late > self._config.late_after and not held:
            self._events.append(HeartbeatLate(late))
        self._beat(now)

    def check_clock(self, unix: float, *, now: float) -> None:
        """Compare unix time with `now`, both in seconds: a clock that stood still is noticed.

        Where the monotonic clock pauses while the machine sleeps, everything looks healthy after
        it, and the server has long closed; so the connection is dropped, and resumed.
        """
        now = self._at(now)
        before, self._clocks = self._clocks, unix - now
        if before is None or self._state is State.CLOSED:
            return
        self._unix_offset = self._clocks
        gap = self._clocks - before
        if gap <= self._config.suspended_after:
            return
        self._events.append(Suspended(gap))
        error = f"the machine was suspended for {gap:.0f} s, or its clock was set"
        self._fail(DROPPED, error, now)

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
            case Timer.SEND:
                self._flush(now)
            case Timer.WAITING:
                self._report_waiting(now)
            case Timer.REQUEST:
                self._events += self._requests.expire(now)
                self._flush(now)
            case Timer.IDENTIFY:
                self._ask_to_identify(now)
            case Timer.CLOSE:
                self._end(self._peer_closed(None, ""), now)
            case _:
                self._fail(DROPPED, f"waited too long for {timer.value}", now)

    def _report_waiting(self, now: float) -> None:
        since = self._outbox.waiting_since
        assert since is not None  # the timer is cleared with the queue
        self._wait_reported = True
        self._events.append(CommandsWait(len(self._outbox.waiting), now - since))

    def _then(self, then: Then) -> Then:
        if then is Then.RESUME and self._session is None:
            return Then.IDENTIFY
        return then

    def _peer_closed(self, code: int | None, reason: str) -> Closed:
        after = self._config.after_close(code)
        then = after.then
        if self._state is State.RESUMING and after.resuming is not None:
            then = after.resuming
        return Closed(
            code=code,
            reason=reason,
            by=By.PEER,
            then=self._then(then),
            retry_after=after.wait or None,
            last_sent=tuple(self._last_sent) if after.blames_command else (),
        )

    def _http(self, item: Refused | Requested, now: float) -> None:
        assert isinstance(item, Refused)
        excerpt = item.body[:200].decode("utf-8", "replace").strip()
        ray = item.headers.get("cf-ray")
        self._end(
            Closed(
                code=item.status,
                reason=excerpt,
                by=By.PEER,
                then=self._then(Then.RESUME),
                error=f"the upgrade was answered with HTTP {item.status}"
                + (f" (cf-ray {ray})" if ray else ""),
                retry_after=seconds_to_wait(item.headers),
            ),
            now,
        )

    def _finish(self, closed: Closed, now: float) -> None:
        waiting = self._outbox.clear()
        unsent = self._unsent + tuple(waiting.command for waiting in waiting)
        closed = attrs.evolve(closed, unsent=unsent)
        numbers = [entry.number for entry in waiting if entry.number is not None]
        self._events += self._requests.fail("the connection ended before it was sent", numbers)
        self._session = session_after(self.session, closed)
        if self._session is None or self._alone:
            self._events += self._requests.fail("the session is lost")
        super()._finish(closed, now)

    def _finished(self, closed: Closed, now: float) -> None:
        self._sequence = None if self._session is None else self._session.sequence
        if self._on_finished is not None:
            self._on_finished(self, closed, now)


def _is_true(raw: bytes) -> bool:
    try:
        return from_raw(raw, bool)
    except (msgspec.DecodeError, RecursionError):
        return False
