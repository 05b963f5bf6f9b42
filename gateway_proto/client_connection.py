"""bytes, now ↔ events: one connection of a client to a gateway.

It is used for one transport and then thrown away: its compression context, timers and rate window
are new with it. What outlives it is a `Session` and a presence; see `client.py`. What it sends
stands in `_sending.py`, what keeps it alive in `_beating.py`, the short road of dispatches in
`_receiving.py`, and what it makes of all other payloads here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway_proto._checks import is_text, shown
from gateway_proto._connection import DROPPED
from gateway_proto._layers import etf
from gateway_proto._layers.frames import ClientFrames, Refused, Requested, Unframed
from gateway_proto._layers.http_values import seconds_to_wait
from gateway_proto._layers.payloads import Payload
from gateway_proto._layers.raw import from_raw
from gateway_proto._layers.state import Input, State
from gateway_proto._receiving import Receiving
from gateway_proto._redaction import without_token
from gateway_proto._timing.deadlines import Timer
from gateway_proto._timing.heartbeats import milliseconds
from gateway_proto._timing.outbox import Waiting
from gateway_proto._timing.voice_states import VoiceStates
from gateway_proto.commands import Resume, UpdatePresence
from gateway_proto.config import Config
from gateway_proto.dialects import Encoding, Opcode, Then
from gateway_proto.endpoint import refusal_text
from gateway_proto.errors import DataError
from gateway_proto.events import (
    By,
    Closed,
    Dispatch,
    EncodingIgnored,
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    IdentifySlotNeeded,
    Opened,
    Ready,
    ReconnectRequested,
    Resumed,
    SessionInvalidated,
    Unknown,
    UrlRefused,
)
from gateway_proto.requests import ANSWERS, Requests
from gateway_proto.session import LONGEST_ID, Session, check_session, fingerprint, session_after
from gateway_proto.shards import IdentifyBudget, identify_key
from gateway_proto.urls import LONGEST_URL, Url

__all__ = ["ClientConnection"]

_AFTER_IDENTIFY_REFUSED = 5.0
"""Seconds: INVALID_SESSION after Identify means that it came too soon."""
_IDENTIFIES_A_CONNECTION = 10
"""With `Config.identify_on_same_connection`; after them a new connection is made."""


class _ReadyFields(msgspec.Struct):
    session_id: str | int
    resume_gateway_url: Any = None
    heartbeat_interval: Any = None


class _Interval(msgspec.Struct):
    heartbeat_interval: Any = None


class _Redirect(msgspec.Struct):
    url: str | None = None


class ClientConnection(Receiving):
    """One connection of a client to a gateway."""

    __slots__ = (
        "_alone",
        "_awaits_answer",
        "_awaits_slot",
        "_budget",
        "_interval",
        "_on_finished",
        "_on_slot_needed",
        "_path",
        "_presence_said",
        "_session",
        "identified_at",
        "opened",
        "reached",
        "ready_at",
        "reconnect_requested",
        "redirect",
        "resume_refused",
        "resume_unanswered",
    )

    def __init__(
        self,
        config: Config,
        url: Url | str,
        *,
        now: float,
        session: Session | None = None,
        presence: UpdatePresence | None = None,
        requests: Requests | None = None,
        budget: IdentifyBudget | None = None,
        voice_states: VoiceStates | None = None,
        on_finished: Callable[[ClientConnection, Closed, float], None] | None = None,
        on_slot_needed: Callable[[ClientConnection, float], None] | None = None,
        framing: bool = True,
    ) -> None:
        check_session("session", session)
        url = Url.parse(url) if isinstance(url, str) else url
        target = url.with_query(config.query)
        super().__init__(
            config,
            now=now,
            presence=presence,
            requests=Requests(config.dialect) if requests is None else requests,
            voice_states=voice_states,
            frames=ClientFrames(
                host=target.host_header,
                target=target.target,
                user_agent=config.user_agent,
                limit=config.message_limit,
            )
            if framing
            else Unframed(),
        )
        self._path = target.target
        self._budget = budget
        self._on_finished = on_finished
        self._on_slot_needed = on_slot_needed
        self._session = session
        self._sequence = None if session is None else session.sequence
        # Milliseconds; the fallback of versions without HELLO if RESUMED names none.
        self._interval = None if session is None else milliseconds(session.heartbeat_interval)
        self._alone = requests is None
        self._presence_said: UpdatePresence | None = None  # in Identify
        self._awaits_slot = False
        self.redirect: str | None = None
        """Where RECONNECT said to go."""
        self.opened: bool = False
        """Whether the WebSocket was open."""
        self.reached: bool = False
        """Whether the gateway itself was reached: HELLO, or another control payload, was received.
        Versions without HELLO: whether the WebSocket was open."""
        self.reconnect_requested: bool = False
        """Whether RECONNECT came."""
        self.identified_at: list[float] = []
        """When Identify was sent."""
        self.ready_at: float | None = None
        """When READY was reached first."""
        self.resume_refused: bool = False
        """Whether the connection ended with INVALID_SESSION in answer to Resume."""
        self.resume_unanswered: bool = False
        """Whether the connection ended since nothing answered Resume in `Config.resume_timeout`."""
        self._awaits_answer = False  # to Resume
        self._deadlines.set(Timer.HANDSHAKE, now + config.handshake_timeout)
        if not framing:
            self._opened(now)

    @property
    def session(self) -> Session | None:
        """As of the last event received."""
        if self._session is None or self._sequence is None:
            return self._session
        return msgspec.structs.replace(self._session, sequence=self._sequence)

    # ----- the road upwards -----

    def _opened(self, now: float) -> None:
        self.opened = True
        self._deadlines.clear(Timer.HANDSHAKE)
        self._events.append(Opened(self._path))
        if self._move(Input.OPENED):
            self._deadlines.set(Timer.GREETING, now + self._config.greeting_timeout)
        else:
            # Version 3: "connect and identify at once".
            self.reached = True
            self._introduce(now)

    def _introduce(self, now: float) -> None:
        """Resume the session, or open one."""
        # With the sequence of now: dispatches may come before HELLO, and are received once.
        session = self.session
        if session is None:
            self._ask_to_identify(now)
            return
        with_token = self._config.resume_with_token
        if with_token is None:
            with_token = self._dialect.resume_with_token
        self._move(Input.RESUME)
        self._answered = False
        self._awaits_answer = True
        resume = Resume(
            session_id=session.id,
            seq=session.sequence,
            token=self._config.token if with_token else None,
        )
        self._deadlines.set(Timer.SESSION, now + self._config.resume_timeout)
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

    @property
    def awaits_slot(self) -> bool:
        """Whether `grant_identify` would send Identify: not if the connection is closing."""
        return self._awaits_slot and self._state in (State.GREETING, State.IDENTIFYING)

    def grant_identify(self, *, now: float) -> None:
        """Identify now; does nothing unless the connection waits for its identify slot.

        One that is closing no longer waits: grant the slot to another.
        """
        now = self._at(now)
        if self.awaits_slot:
            self._identify(now)
            self._wake()

    def _identify(self, now: float) -> None:
        config = self._config
        self._awaits_slot = False
        identify = config.identify(self.presence)
        self.identified_at.append(now)
        if self._budget is not None:
            self._budget.take(now)
        self._move(Input.IDENTIFY)
        self._deadlines.set(Timer.SESSION, now + config.session_timeout)
        self._presence_said = self.presence if self._dialect.presence_in_identify else None
        self._outbox.count(now, presence=self._presence_said is not None)
        self._write(identify, self._config.spell(identify))

    def _received(self, payload: Dispatch | Payload, now: float) -> None:
        self._heard()
        if isinstance(payload, Dispatch):
            self._dispatched(payload, now)
        else:
            self._controlled(payload, now)
        if self._heartbeats.held and self._state not in (State.CLOSING, State.CLOSED):
            self._scheduled_beat(now)

    def _controlled(self, payload: Payload, now: float) -> None:
        self.reached = True
        match payload.op:
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
                if payload.op == Opcode.HELLO:  # in a version without HELLO
                    self._interval = _interval(payload.raw) or self._interval
                self._move(Input.UNKNOWN)
                message, name = payload.message, payload.t
                message = self._redacted(message) if isinstance(message, str) else None
                name = None if name is None else self._redacted(name)
                self._events.append(Unknown(payload.op, payload.raw, message, name))

    def _dispatched(self, dispatch: Dispatch, now: float) -> None:
        name = dispatch.name
        if self._awaits_answer:
            # The replay has begun.
            self._awaits_answer = False
            self._deadlines.set(Timer.SESSION, now + self._config.session_timeout)
        if dispatch.sequence is not None and name != "READY":
            # Before anything can go wrong with the event.
            self._sequence = dispatch.sequence
        if name == "READY":
            self._ready(dispatch, now)
        elif name == "RESUMED":
            self._resumed(dispatch, now)
        else:
            self._move(Input.DISPATCH)
            self._events.append(dispatch)
            # RATE_LIMITED is about commands too whose answer nobody awaits.
            if name in ANSWERS and (self._requests or name == "RATE_LIMITED"):
                self._events += self._requests.received(dispatch, now)
                self._flush(now)

    def _ready(self, dispatch: Dispatch, now: float) -> None:
        fields = self._fields(dispatch.raw, _ReadyFields, "READY", now)
        if fields is None:
            return
        session_id = str(fields.session_id)
        # What no Resume could carry: the session would be lost unnoticed.
        if not session_id or not is_text(session_id):
            self._fail(DROPPED, f"READY names an invalid session id: {shown(session_id)}", now)
            return
        if len(session_id) > LONGEST_ID:
            self._fail(DROPPED, f"READY names a session id of {len(session_id)} characters", now)
            return
        if not self._move(Input.READY):
            return
        interval = None
        if not self._dialect.greets:
            self._check_encoding(dispatch.raw)
            interval = milliseconds(fields.heartbeat_interval) or self._interval
            if not self._beats_every(interval, "READY", now):
                return
        url = self._resume_url(fields.resume_gateway_url)
        ready = Ready(
            "READY",
            dispatch.sequence,
            dispatch._d,
            session_id=session_id,
            resume_gateway_url=url,
            heartbeat_interval=interval,
            shard=self._config.shard,
            version=self._dialect.version,
            fingerprint=fingerprint(self._config.token),
            encoding=self._config.encoding,
        )
        # In answer to Resume it is a new session, in which the old one's answers do not come.
        self._clear_outbox("a new session began", now)
        if self._voice_states is not None:
            self._voice_states.begin_session()
        # Session id, resume URL and sequence change together, or not at all.
        self._session = session_after(None, ready)
        self._sequence = ready.sequence
        self._events.append(ready)
        self._start(now, say_presence=self.presence != self._presence_said)

    def _resume_url(self, named: Any) -> str | None:
        """Return the resume URL that READY names; None if there is none that can be kept."""
        if not isinstance(named, str) or not self._dialect.resume_url_in_ready:
            return None
        if len(named) > LONGEST_URL:
            why = f"it has {len(named)} characters, more than {LONGEST_URL}"
            self._events.append(UrlRefused(f"{self._redacted(named)[:200]}...", why))
            return None
        if not is_text(named):
            self._events.append(
                UrlRefused(self._redacted(ascii(named)[1:-1]), "it has a lone surrogate")
            )
            return None
        return named

    def _resumed(self, dispatch: Dispatch, now: float) -> None:
        interval = None
        if not self._dialect.greets:
            # Compatible servers leave it out: the interval of READY stays in effect.
            interval = _interval(dispatch.raw) or self._interval
            if not self._beats_every(interval, "RESUMED", now):
                return
        if not self._move(Input.RESUMED):
            return
        resumed = Resumed("RESUMED", dispatch.sequence, dispatch._d, heartbeat_interval=interval)
        self._session = session_after(self._session, resumed)
        self._events.append(resumed)
        if self._state is State.READY:
            # It may have changed while there was no connection.
            self._start(now, say_presence=True)

    def _start(self, now: float, *, say_presence: bool) -> None:
        if self.ready_at is None:
            self.ready_at = now
        # READY that nobody asked for ends the wait for the next Identify too.
        self._awaits_slot = False
        self._deadlines.clear(Timer.IDENTIFY)
        self._deadlines.clear(Timer.SESSION)
        if say_presence and self.presence is not None:
            self._outbox.put_presence(
                Waiting(self.presence, self._config.spell(self.presence), now)
            )
        self._restore_voice_states(now)
        self._flush(now)

    def _greeted(self, payload: Payload, now: float) -> None:
        interval = _interval(payload.raw)
        self._check_encoding(payload.raw)
        if interval is not None:
            self._events.append(Hello(interval))
        self._move(Input.HELLO)
        # The first heartbeat is due after a random part of the interval:
        # https://docs.discord.com/developers/events/gateway#heartbeat-interval
        if not self._beats_every(interval, "HELLO", now, first=self._config.chance()):
            return
        if self._state is State.GREETING and not self._awaits_slot:
            self._deadlines.clear(Timer.GREETING)
            self._introduce(now)

    def _check_encoding(self, raw: bytes) -> None:
        # "encoding: The encoding of received gateway packets": some compatible servers ignore it.
        # https://docs.discord.com/developers/events/gateway#connecting
        received = Encoding.ETF if raw[:1] == etf.VERSION else Encoding.JSON
        # What is null may have been left out: then it is in no encoding.
        if received is not self._config.encoding and raw != b"null":
            self._events.append(EncodingIgnored(self._config.encoding, received))

    def _reconnect(self, payload: Payload, now: float) -> None:
        if self._dialect.redirects:
            try:
                self.redirect = from_raw(payload.raw, _Redirect).url
            except DataError:
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
        self._awaits_answer = False
        resuming = self._state is State.RESUMING
        if self._state is State.IDENTIFYING:
            wait = max(wait, _AFTER_IDENTIFY_REFUSED)
        if not resumable:
            self._session = None
            self._sequence = None
        self._events.append(SessionInvalidated(resumable))
        config = self._config
        attempts = len(self.identified_at)
        stays = config.identify_on_same_connection and attempts < (
            config.identify_attempts or _IDENTIFIES_A_CONNECTION
        )
        # On this connection nothing would wait for the budget; the client does before the next.
        stays = stays and (self._budget is None or self._budget.spent(now) is None)
        if stays and not resumable and self._move(Input.INVALID_SESSION_STAY):
            self._clear_outbox("the session was invalidated", now)
            self._awaits_slot = False  # it is needed again after the wait
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
        self.resume_refused = resuming
        self._drop(closed, now, Input.INVALID_SESSION)

    def _fields(self, raw: bytes, type_: type[Any], name: str, now: float) -> Any:
        """The fields of `d` that the machine needs; None, and the end, where they are not there."""
        try:
            return from_raw(raw, type_)
        except DataError as error:
            self._fail(DROPPED, f"{name} is not understood: {error}", now)
            return None

    def _malformed(self, error: str, now: float) -> None:
        skip = self._config.skip_malformed
        # Without a context that runs on, the next message is none the worse for it.
        if skip is None:
            skip = not self._config.compression.in_query
        if not skip:
            self._fail(DROPPED, error, now)

    # ----- timers and the end -----

    def _fired(self, timer: Timer, now: float) -> None:
        frames = self._frames
        refusal = frames.unfinished_refusal() if isinstance(frames, ClientFrames) else None
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
            case Timer.HANDSHAKE if refusal is not None:
                self._http(refusal, now)
            case Timer.SESSION if self._awaits_answer:
                self.resume_unanswered = True
                self._fail(DROPPED, "waited too long for an answer to Resume", now)
            case _:
                self._fail(DROPPED, f"waited too long for {timer.value}", now)

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
            last_sent=self._last_sent if after.blames_command else (),
        )

    def _http(self, item: Refused | Requested, now: float) -> None:
        assert isinstance(item, Refused)
        excerpt = self._redacted(item.body.decode("utf-8", "replace"))[:200].strip()
        ray = item.headers.get("cf-ray", "")[:80]
        offset = self._config.unix_offset
        self._end(
            Closed(
                code=item.status,
                reason=excerpt,
                by=By.PEER,
                then=self._then(Then.RESUME),
                error=refusal_text("upgrade", item.status, item.headers, self._path)
                + (f" (cf-ray {ray})" if ray else ""),
                retry_after=seconds_to_wait(
                    item.headers, item.body, unix=None if offset is None else now + offset
                ),
            ),
            now,
        )

    def _finish(self, closed: Closed, now: float) -> None:
        closed = msgspec.structs.replace(
            closed,
            reason=self._redacted(closed.reason),
            error=None if closed.error is None else self._redacted(closed.error),
            unsent=self._leave_unsent(),
        )
        self._session = session_after(self.session, closed)
        if self._session is None or self._alone:
            self._events += self._requests.fail("the session is lost")
        super()._finish(closed, now)

    def _redacted(self, text: str) -> str:
        return without_token(text, self._config.token)

    def _finished(self, closed: Closed, now: float) -> None:
        self._sequence = None if self._session is None else self._session.sequence
        if self._on_finished is not None:
            self._on_finished(self, closed, now)


def _interval(raw: bytes) -> int | None:
    """Return the `heartbeat_interval` of a body, in milliseconds; None if it has no usable one."""
    try:
        value = from_raw(raw, _Interval).heartbeat_interval
    except DataError:
        return None
    return milliseconds(value)


def _is_true(raw: bytes) -> bool:
    try:
        return from_raw(raw, bool)
    except DataError:
        return False
