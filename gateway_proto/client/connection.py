"""One connection of a client to a gateway.

A connection is used for one transport: its decompressor, timers, heartbeat schedule and rate
limits are created with it. A `Session` and a presence survive it; `client.py` passes them on.

Received bytes become frames, messages and payloads in the base class. A payload then takes one of
two paths. `take_dispatches` handles dispatches that change nothing but the sequence; everything
else reaches `_handle_payload`, and one `match` over the op codes shows what each payload does.
States and their transitions are a table, `client_table`; an input without a transition is ignored.

The order of a connection: the WebSocket opens; HELLO starts the heartbeats; Identify or Resume is
sent, Identify perhaps after an identify slot was granted; READY or RESUMED makes the connection
ready. Versions without HELLO send Identify or Resume at once, and READY starts the heartbeats.

The connection delegates to objects that take `now` and values, return values and do not know it:

- `HeartbeatScheduler`: schedule, zombie detection, latency; `_send_heartbeat` sends;
- `CommandSender`: the `CommandQueue` of commands and the presence under the rate limits, and two
  objects that the connections of a client share: `PendingRequests`, commands with answers, and
  `VoiceStates`, those to send again in a new session;
- `Timers`: all timers; `_on_timer` shows what each one does.

Every end runs through `_finish`: it reports unsent commands, decides whether the session survives
and hands a `ConnectionOutcome` to the owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from gateway_proto import events
from gateway_proto._checks import BOOL, DURATION, as_now, number
from gateway_proto._redaction import without_token
from gateway_proto.client.command_encoding import (
    check_is_request,
    check_sent_by_caller,
    encode_command,
    encode_identify,
    identify_command,
    resume_command,
)
from gateway_proto.client.command_sender import CommandSender
from gateway_proto.client.fast_path import Full, Undecoded, take_dispatches
from gateway_proto.client.outcome import ConnectionOutcome
from gateway_proto.client.payload_fields import (
    heartbeat_interval,
    is_resumable,
    ready_fields,
    reconnect_url,
    resume_url_problem,
)
from gateway_proto.client.requests import RESPONSE_DISPATCHES, PendingRequests
from gateway_proto.commands import Command, Heartbeat, Request, UpdatePresence, UpdateVoiceState
from gateway_proto.config import Config, check_is_config
from gateway_proto.connection import RESUMABLE_CLOSE_CODE, BaseConnection
from gateway_proto.encoding import ETF_VERSION
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.events import Closed, Dispatch, Event, Initiator
from gateway_proto.session import (
    Session,
    check_callback,
    check_session,
    session_after,
    token_fingerprint,
)
from gateway_proto.state import Input, State, client_table
from gateway_proto.timing.heartbeat import (
    EarlyHeartbeats,
    HeartbeatAction,
    HeartbeatScheduler,
    parse_interval,
)
from gateway_proto.timing.identify_budget import IdentifyBudget, identify_key
from gateway_proto.timing.timers import AWAITED, Timer
from gateway_proto.urls import MAX_URL_LENGTH, Url
from gateway_proto.versions import CloseCodePolicy, Encoding, HeartbeatFormat, NextAction, Opcode
from gateway_proto.wire.compression import make_decompressor
from gateway_proto.wire.frame_events import ExternalWebSocket, HttpRequest, UpgradeRejected
from gateway_proto.wire.payload import Payload, decode_message

if TYPE_CHECKING:
    from gateway_proto.timing.voice_states import VoiceStates
    from gateway_proto.wire.frames import ClientFrames

__all__ = ["ClientConnection"]

_MIN_WAIT_AFTER_IDENTIFY = 5.0
"""Seconds after INVALID_SESSION in answer to Identify: it was sent too soon.
<https://docs.discord.com/developers/events/gateway#rate-limiting>"""
_UNIX_TIME = number(-(10**12), 10**12, "seconds")
_MAX_IDENTIFIES = 10
"""Identifies on one connection with `Config.identify_on_same_connection`."""


class ClientConnection(BaseConnection[Command, Event, Dispatch | Payload]):
    """One connection of a client to a gateway."""

    __slots__ = (
        "_answered_since_resume",
        "_awaiting_identify_slot",
        "_awaits_resume_answer",
        "_budget",
        "_clock_offset",
        "_config",
        "_heartbeats",
        "_interval",
        "_is_standalone",
        "_on_finished",
        "_on_slot_needed",
        "_outcome",
        "_path",
        "_presence_in_identify",
        "_sender",
        "_sequence",
        "_session",
        "_unix_offset",
        "_version",
    )

    _decode = staticmethod(decode_message)

    def __init__(
        self,
        config: Config,
        url: Url | str,
        *,
        now: float,
        session: Session | None = None,
        presence: UpdatePresence | None = None,
        requests: PendingRequests | None = None,
        budget: IdentifyBudget | None = None,
        voice_states: VoiceStates[UpdateVoiceState] | None = None,
        on_finished: Callable[[ConnectionOutcome, Closed, float], None] | None = None,
        on_slot_needed: Callable[[ClientConnection, float], None] | None = None,
        framing: bool = True,
    ) -> None:
        check_is_config(config)
        check_session("session", session)
        check_callback("on_slot_needed", on_slot_needed)
        BOOL.named("framing", framing)
        now = as_now(now)
        version, offset = config.version, config.unix_offset
        if version.heartbeat_format is HeartbeatFormat.UNIX_MILLISECONDS and offset is None:
            raise LocalProtocolError(
                f"heartbeats of version {version.number} carry unix time: set Config.unix_offset "
                "to unix time minus the time of your clock, in seconds"
            )
        presence = config.presence if presence is None else presence
        encode_identify(config, presence)  # raises here, before the transport opens
        url = url if isinstance(url, Url) else Url.parse(url)
        target = url.with_query(config.query)
        frames: ClientFrames | ExternalWebSocket = ExternalWebSocket()
        if framing:
            # Imported on use: other libraries may have the WebSocket.
            from gateway_proto.wire.frames import ClientFrames

            frames = ClientFrames(
                host=target.host_header,
                target=target.target,
                user_agent=config.user_agent,
                limit=config.message_limit,
            )
        super().__init__(
            now=now,
            close_timeout=config.close_timeout,
            events_limit=config.events_limit,
            output_limit=config.output_limit,
            table=client_table(version),
            frames=frames,
            decompressor=make_decompressor(config.compression, limit=config.message_limit),
        )
        self._config = config
        self._version = version
        self._path = target.target
        self._budget = budget
        self._on_finished = on_finished
        self._on_slot_needed = on_slot_needed
        self._is_standalone = requests is None
        requests = PendingRequests(version) if requests is None else requests
        self._sender = CommandSender(config, requests, voice_states)
        self._heartbeats = HeartbeatScheduler(
            acks=version.acks_heartbeats, policy=config.zombie_policy
        )
        self._unix_offset = offset
        self._clock_offset: float | None = None
        self._session = session
        self._sequence = None if session is None else session.sequence
        # Milliseconds; the fallback of versions without HELLO if RESUMED names none.
        self._interval = None if session is None else parse_interval(session.heartbeat_interval)
        self._presence_in_identify: UpdatePresence | None = None
        self._awaiting_identify_slot = False
        self._answered_since_resume = True  # any payload was received since Resume
        self._awaits_resume_answer = False  # a dispatch or INVALID_SESSION
        self._outcome = ConnectionOutcome(presence)
        self._timers.set(Timer.HANDSHAKE, now + config.handshake_timeout)
        self._timers.set(Timer.REQUEST, requests.next_timer())  # of an earlier connection
        if not framing:
            self._handle_open(now)

    @property
    def session(self) -> Session | None:
        """The session as of the last event received."""
        if self._session is None or self._sequence is None:
            return self._session
        return msgspec.structs.replace(self._session, sequence=self._sequence)

    @property
    def presence(self) -> UpdatePresence | None:
        """The last presence that the caller asked for."""
        return self._outcome.presence

    @property
    def latency(self) -> float | None:
        """Seconds from the last acknowledged heartbeat to its ACK."""
        return self._heartbeats.latency

    @property
    def queued_commands(self) -> tuple[Command, ...]:
        """Commands queued under the rate limits, in order; a presence is last."""
        return self._sender.queue.queued_commands

    @property
    def voice_states(self) -> tuple[UpdateVoiceState, ...]:
        """Voice states that `Config.restore_voice_states` sends again in a new session."""
        return self._sender.voice_states

    # ----- commands -----

    def send(self, message: Command, *, now: float) -> None:
        """Send a command, or queue it under the rate limit.

        A presence is a state: it may be given at any time, and the last one counts. Raises
        `LocalProtocolError` for other commands before READY, those that only the connection sends,
        one that is too large, and when too many are queued.
        """
        self._check_open()
        check_sent_by_caller(message)
        encoded = encode_command(self._config, message)
        if isinstance(message, UpdatePresence):
            encode_identify(self._config, message)  # raises if it is too large in an Identify
            now = self._advance_clock(now)
            self._outcome.presence = message
            if self._state is State.READY:
                self._sender.put_presence(message, now)
        else:
            self._check_ready(message)
            now = self._advance_clock(now)
            self._sender.put(message, encoded, now)
        self._flush(now)

    def can_send(self, command: Command, *, now: float) -> bool:
        """Whether `send` would send a command at once, and not queue it or raise for the state."""
        now = as_now(now)
        at = self._sender.queue.slot_at(command, now)
        return self._state is State.READY and at is not None and at <= now

    def request(self, request: Request, *, now: float, timeout: float = 30.0) -> int:
        """Send a request and collect its answer; returns its number.

        `RequestAnswered` or `RequestFailed` with that number follows. `timeout` is seconds without
        any part of the answer, counted from when the request is sent: one that is queued under the
        rate limits (all members of a guild: once in 30 seconds) takes that much longer. Raises
        `LocalProtocolError` as `send` does.
        """
        DURATION.named("timeout", timeout)
        check_is_request(request)
        self._check_open()
        self._check_ready(request)
        encode_command(self._config, request)
        now = self._advance_clock(now)
        number = self._sender.put_request(request, timeout, now)
        self._flush(now)
        return number

    def _check_open(self) -> None:
        if self._state in (State.CLOSING, State.CLOSED):
            raise LocalProtocolError(
                "the connection is closed: send on the next one; without one, see Client.gave_up"
            )

    def _check_ready(self, command: Command) -> None:
        if self._state is not State.READY:
            raise LocalProtocolError(
                f"{type(command).__name__} needs READY, and the connection is "
                f"{self._state.value}: wait for Ready or Resumed"
            )
        self._sender.check_capacity(command)

    def _flush(self, now: float) -> None:
        """Send queued commands that the rate limits allow; set timers for the others."""
        for message in self._sender.pop_messages(now):
            self._frames.send(message)
        for timer, at in self._sender.timers(now):
            self._timers.set(timer, at)

    def _drop_queued(self, reason: str, now: float) -> None:
        self._events += self._sender.drop_queued(reason)
        self._flush(now)

    # ----- HELLO, Identify and Resume -----

    def _handle_open(self, now: float) -> None:
        self._outcome.opened = True
        self._timers.clear(Timer.HANDSHAKE)
        self._events.append(events.Opened(self._path))
        if self._transition(Input.OPENED):
            self._timers.set(Timer.HELLO, now + self._config.hello_timeout)
        else:
            # Versions without HELLO identify at once after connecting:
            # https://github.com/DiscordAPI/docs/blob/b8c8a7ca43b39a4d1d2871a6d3901ee378bbbae5/docs/reference/websockets/general.rst
            self._outcome.reached = True
            self._resume_or_identify(now)

    def _handle_hello(self, payload: Payload, now: float) -> None:
        interval = heartbeat_interval(payload.raw)
        self._check_encoding(payload.raw)
        if interval is not None:
            self._events.append(events.Hello(interval))
        self._transition(Input.HELLO)
        # The first heartbeat is due after a random part of the interval:
        # https://docs.discord.com/developers/events/gateway#heartbeat-interval
        if not self._start_heartbeats(interval, "HELLO", now, first=self._config.next_random()):
            return
        if self._state is State.AWAITING_HELLO and not self._awaiting_identify_slot:
            self._timers.clear(Timer.HELLO)
            self._resume_or_identify(now)

    def _check_encoding(self, raw: bytes) -> None:
        # "encoding: The encoding of received gateway packets": some compatible servers ignore it.
        # https://docs.discord.com/developers/events/gateway#connecting
        received = Encoding.ETF if raw[:1] == ETF_VERSION else Encoding.JSON
        # A null may stand for a missing `d`, which has no encoding.
        if received is not self._config.encoding and raw != b"null":
            self._events.append(events.EncodingIgnored(self._config.encoding, received))

    def _resume_or_identify(self, now: float) -> None:
        # With the current sequence: dispatches before HELLO must not be replayed.
        session = self.session
        if session is None:
            self._request_identify_slot(now)
            return
        self._transition(Input.RESUME)
        self._answered_since_resume = False
        self._awaits_resume_answer = True
        resume = resume_command(self._config, session)
        self._timers.set(Timer.READY, now + self._config.resume_timeout)
        self._sender.queue.record_sent(now)
        self._sender.record_sent(resume)
        self._frames.send(encode_command(self._config, resume))

    def _request_identify_slot(self, now: float) -> None:
        config = self._config
        # Versions without HELLO have no state in which to wait for a slot.
        if not config.wait_for_identify_slot or not self._version.sends_hello:
            self._send_identify(now)
            return
        self._awaiting_identify_slot = True
        shard_id = 0 if config.shard is None else config.shard[0]
        key = identify_key(shard_id, config.max_concurrency)
        self._events.append(events.IdentifySlotNeeded(shard_id, key))
        if self._on_slot_needed is not None:
            self._on_slot_needed(self, now)

    @property
    def awaiting_identify_slot(self) -> bool:
        """Whether `grant_identify` would send Identify: not if the connection is closing."""
        is_waiting = self._state in (State.AWAITING_HELLO, State.IDENTIFYING)
        return self._awaiting_identify_slot and is_waiting

    def grant_identify(self, *, now: float) -> None:
        """Identify now; does nothing unless the connection waits for its identify slot.

        A closing connection no longer waits: grant the slot to another.
        """
        now = self._advance_clock(now)
        if self.awaiting_identify_slot:
            self._send_identify(now)
            self._wake()

    def _send_identify(self, now: float) -> None:
        presence = self._outcome.presence
        self._awaiting_identify_slot = False
        self._outcome.identified_at.append(now)
        if self._budget is not None:
            self._budget.record(now)
        self._transition(Input.IDENTIFY)
        self._timers.set(Timer.READY, now + self._config.ready_timeout)
        self._presence_in_identify = presence if self._version.presence_in_identify else None
        has_presence = self._presence_in_identify is not None
        self._sender.queue.record_sent(now, presence=has_presence)
        self._sender.record_sent(identify_command(self._config, presence))
        # Encoded again: kept, it would take memory for as long as the connection lasts.
        self._frames.send(encode_identify(self._config, presence))

    # ----- payloads -----

    def _process_messages(self, messages: list[str | bytes], now: float, *, is_text: bool) -> None:
        following = iter(messages)
        decompress = None if is_text else self._decompressor.receive
        while True:
            if not self._fast_path_allowed():
                message = next(following, None)
                if message is None:
                    return
                if not is_text and self._is_full() and self._hold_back([message, *following], now):
                    return
                super()._process_messages([message], now, is_text=is_text)
                continue
            received = self._events
            count = len(received)
            self._events_size, sequence, stop = take_dispatches(
                following,
                decompress,
                received,
                self._events_size,
                self._events_limit,
                self._config.encoding,
            )
            if len(received) > count:
                self._heartbeats.has_traffic = self._answered_since_resume = True
                if sequence is not None:
                    self._sequence = sequence
            match stop:
                case None:
                    return
                case Dispatch():
                    self._handle_payload(stop, now)
                case Undecoded(text, decompressed):
                    self._process_payload_text(
                        text, now, is_text=is_text, decompressed=decompressed
                    )
                case Full(message):
                    self._hold_back([message, *following], now)
                    return
                case error:
                    self._fail(RESUMABLE_CLOSE_CODE, str(error), now)
                    return

    def _fast_path_allowed(self) -> bool:
        """Whether a dispatch changes nothing but the sequence."""
        state = self._state
        return (
            self._table.get((state, Input.DISPATCH)) is state
            and not self._heartbeats.deferred
            and not self._awaits_resume_answer
        )

    def _handle_payload(self, payload: Dispatch | Payload, now: float) -> None:
        self._heartbeats.has_traffic = self._answered_since_resume = True
        if isinstance(payload, Dispatch):
            self._handle_dispatch(payload, now)
        else:
            self._handle_control(payload, now)
        if self._heartbeats.deferred and self._state not in (State.CLOSING, State.CLOSED):
            self._on_heartbeat_timer(now)

    def _handle_control(self, payload: Payload, now: float) -> None:
        self._outcome.reached = True
        match payload.op:
            case Opcode.HELLO if self._version.sends_hello:
                self._handle_hello(payload, now)
            case Opcode.HEARTBEAT:
                # The answer must not wait for the schedule:
                # https://docs.discord.com/developers/events/gateway#heartbeat-requests
                self._transition(Input.HEARTBEAT)
                self._events.append(events.HeartbeatRequested())
                self._send_heartbeat(now)
            case Opcode.HEARTBEAT_ACK if self._version.acks_heartbeats:
                self._transition(Input.ACK)
                self._events.append(events.HeartbeatAcked(self._heartbeats.record_ack(now)))
            case Opcode.RECONNECT:
                self._handle_reconnect(payload, now)
            case Opcode.INVALID_SESSION:
                self._handle_invalid_session(payload, now)
            case _:
                if payload.op == Opcode.HELLO:  # in a version without HELLO
                    self._interval = heartbeat_interval(payload.raw) or self._interval
                self._transition(Input.UNKNOWN)
                message, name = payload.error_text, payload.t
                message = None if message is None else self._redacted(message)
                name = None if name is None else self._redacted(name)
                self._events.append(events.UnknownPayload(payload.op, payload.raw, message, name))

    def _handle_dispatch(self, dispatch: Dispatch, now: float) -> None:
        name = dispatch.name
        if self._awaits_resume_answer:
            # The answer has begun; the whole replay and RESUMED have the longer timeout.
            self._awaits_resume_answer = False
            self._timers.set(Timer.READY, now + self._config.ready_timeout)
        if dispatch.sequence is not None and name != "READY":
            # Before the handlers: the dispatch counts as received, even if they close.
            self._sequence = dispatch.sequence
        if name == "READY":
            self._handle_ready(dispatch, now)
        elif name == "RESUMED":
            self._handle_resumed(dispatch, now)
        else:
            self._transition(Input.DISPATCH)
            self._events.append(dispatch)
            # RATE_LIMITED also concerns commands without a pending request.
            if name in RESPONSE_DISPATCHES and (
                self._sender.requests.pending or name == "RATE_LIMITED"
            ):
                self._events += self._sender.requests.handle_dispatch(dispatch, now)
                self._flush(now)

    def _handle_ready(self, dispatch: Dispatch, now: float) -> None:
        try:
            fields = ready_fields(dispatch.raw)
        except DataError as error:
            self._fail(RESUMABLE_CLOSE_CODE, str(error), now)
            return
        if not self._transition(Input.READY):
            return
        interval = None
        if not self._version.sends_hello:
            self._check_encoding(dispatch.raw)
            interval = parse_interval(fields.heartbeat_interval) or self._interval
            if not self._start_heartbeats(interval, "READY", now):
                return
        ready = events.Ready(
            "READY",
            dispatch.sequence,
            dispatch._d,
            session_id=fields.session_id,
            resume_gateway_url=self._resume_url(fields.resume_gateway_url),
            heartbeat_interval=interval,
            shard=self._config.shard,
            version=self._version.number,
            token_fingerprint=token_fingerprint(self._config.token),
            encoding=self._config.encoding,
        )
        # In answer to Resume it is a new session, which has no answers to the old one's requests.
        self._drop_queued("a new session began", now)
        self._sender.start_session()
        # Session id, resume URL and sequence change together, or not at all.
        self._session = session_after(None, ready)
        self._sequence = ready.sequence
        self._events.append(ready)
        self._enter_ready(now, send_presence=self.presence != self._presence_in_identify)

    def _resume_url(self, url: Any) -> str | None:
        """Return the resume URL that READY names, if it can be kept; report one that cannot."""
        if not isinstance(url, str) or not self._version.resume_url_in_ready:
            return None
        problem = resume_url_problem(url)
        if problem is None:
            return url
        shown = self._redacted(ascii(url)[1:-1])
        shown = f"{shown[:200]}..." if len(url) > MAX_URL_LENGTH else shown
        self._events.append(events.UrlRejected(shown, problem))
        return None

    def _handle_resumed(self, dispatch: Dispatch, now: float) -> None:
        interval = None
        if not self._version.sends_hello:
            # Compatible servers leave it out: the interval of READY stays in effect.
            interval = heartbeat_interval(dispatch.raw) or self._interval
            if not self._start_heartbeats(interval, "RESUMED", now):
                return
        if not self._transition(Input.RESUMED):
            return
        resumed = events.Resumed(
            "RESUMED", dispatch.sequence, dispatch._d, heartbeat_interval=interval
        )
        self._session = session_after(self._session, resumed)
        self._events.append(resumed)
        if self._state is State.READY:
            # The presence may have changed while there was no connection.
            self._enter_ready(now, send_presence=True)

    def _enter_ready(self, now: float, *, send_presence: bool) -> None:
        if self._outcome.ready_at is None:
            self._outcome.ready_at = now
        # An unsolicited READY ends the wait for the next Identify too.
        self._awaiting_identify_slot = False
        self._timers.clear(Timer.IDENTIFY)
        self._timers.clear(Timer.READY)
        presence = self._outcome.presence
        if send_presence and presence is not None:
            self._sender.put_presence(presence, now)
        self._sender.restore_voice_states(now)
        self._flush(now)

    def _handle_reconnect(self, payload: Payload, now: float) -> None:
        outcome = self._outcome
        if self._version.reconnect_has_url:
            outcome.redirect = reconnect_url(payload.raw)
        outcome.reconnect_requested = True
        self._events.append(events.ReconnectRequested(outcome.redirect))
        # Codes 1000 and 1001 would end the session:
        # https://docs.discord.com/developers/events/gateway#initiating-a-disconnect
        self._close_without_waiting(self._lost("reconnect requested"), now, Input.RECONNECT)

    def _handle_invalid_session(self, payload: Payload, now: float) -> None:
        config, outcome = self._config, self._outcome
        resumable = self._version.invalid_session_has_flag and is_resumable(payload.raw)
        low, high = self._version.invalid_session_wait
        wait = low + config.next_random() * (high - low)
        self._awaits_resume_answer = False
        resuming = self._state is State.RESUMING
        if self._state is State.IDENTIFYING:
            wait = max(wait, _MIN_WAIT_AFTER_IDENTIFY)
        if not resumable:
            self._session = self._sequence = None
        self._events.append(events.SessionInvalidated(resumable))
        limit = config.identify_attempts or _MAX_IDENTIFIES
        stays = config.identify_on_same_connection and len(outcome.identified_at) < limit
        # This connection would not wait for the budget; the client does before the next one.
        stays = stays and (self._budget is None or self._budget.spent(now) is None)
        if stays and not resumable and self._transition(Input.INVALID_SESSION_SAME_CONNECTION):
            self._drop_queued("the session was invalidated", now)
            self._awaiting_identify_slot = False  # it is needed again after the wait
            self._timers.set(Timer.IDENTIFY, now + wait)
            self._timers.clear(Timer.READY)
            return
        outcome.resume_refused = resuming
        closed = self._lost("session invalidated", retry_after=wait)
        self._close_without_waiting(closed, now, Input.INVALID_SESSION)

    def _handle_malformed(self, error: str, now: float) -> None:
        skip = self._config.skip_malformed
        # Without a shared compression context, it does not affect the next message.
        if skip is None:
            skip = not self._config.compression.is_stream
        if not skip:
            self._fail(RESUMABLE_CLOSE_CODE, error, now)

    # ----- heartbeats and clocks -----

    def _start_heartbeats(
        self, milliseconds: int | None, name: str, now: float, *, first: float = 1.0
    ) -> bool:
        """Schedule heartbeats at this interval; the first after the fraction `first` of it.

        Without an interval, close and return False: servers drop a client without heartbeats.
        """
        if milliseconds is None:
            self._fail(
                RESUMABLE_CLOSE_CODE,
                f"{name} has no usable heartbeat_interval: expected milliseconds above zero",
                now,
            )
            return False
        self._heartbeats.start(milliseconds, now, first=first)
        self._sender.queue.reserve(self._heartbeats.slots_needed(self._version.send_limit[1]))
        self._timers.set(Timer.HEARTBEAT, self._heartbeats.due)
        return True

    def _on_heartbeat_timer(self, now: float) -> None:
        heartbeats = self._heartbeats
        match heartbeats.on_timer(
            now,
            is_allowed=self._may_send_heartbeat(),
            is_reading=not self._timers.is_paused,
        ):
            case HeartbeatAction.SEND:
                self._timers.set(Timer.HEARTBEAT, heartbeats.due)
                if heartbeats.delay > self._config.late_heartbeat_threshold:
                    self._events.append(events.HeartbeatLate(heartbeats.delay))
                self._send_heartbeat(now)
            case HeartbeatAction.ZOMBIE:
                error = "zombie: no heartbeat ACK, though the transport is open"
                self._close_without_waiting(
                    self._lost("heartbeat not acknowledged", error=error), now
                )
            case HeartbeatAction.DEFER:  # pragma: no branch
                pass

    def _may_send_heartbeat(self) -> bool:
        policy = self._config.early_heartbeats
        if policy is EarlyHeartbeats.AFTER_ANSWER:
            return self._answered_since_resume
        # Heartbeats continue while the connection waits for its identify slot.
        awaited = self._state is State.RESUMING or self._state is State.IDENTIFYING
        return policy is EarlyHeartbeats.ALWAYS or not awaited

    def _send_heartbeat(self, now: float) -> None:
        d: int | str | None = self._sequence
        if self._version.heartbeat_format is HeartbeatFormat.UNIX_MILLISECONDS:
            assert self._unix_offset is not None
            unix = int((now + self._unix_offset) * 1000)
            d = unix if self._config.heartbeat_as_integer else str(unix)
        self._events.append(events.HeartbeatSent(d))
        self._sender.queue.window.record(now)
        if self._config.encoding is Encoding.JSON and (d is None or isinstance(d, int)):
            self._frames.send(f'{{"op":1,"d":{"null" if d is None else d}}}')
        else:
            self._frames.send(encode_command(self._config, Heartbeat(d)))

    def check_clock(self, unix: float, *, now: float) -> None:
        """Compare unix time with `now`, both in seconds, to detect that the clock stopped.

        If the monotonic clock stops during system suspend, the connection still looks healthy on
        wake-up although the server has closed it. Detect the jump, drop the connection and resume.
        """
        _UNIX_TIME.named("unix", unix)
        now = self._advance_clock(now)
        before, self._clock_offset = self._clock_offset, unix - now
        if before is None or self._state is State.CLOSED:
            return
        self._unix_offset = self._clock_offset
        gap = self._clock_offset - before
        if gap <= self._config.clock_jump_threshold:
            return
        self._events.append(events.ClockJumped(gap))
        error = f"the system was suspended for {gap:.0f} s, or its clock was set"
        self._fail(RESUMABLE_CLOSE_CODE, error, now)

    def unpause(self, *, now: float) -> None:
        """Report that the adapter reads again; unread data may contain answers."""
        now = self._advance_clock(now)
        seconds = self._timers.paused_for(now)
        super().unpause(now=now)
        # Held input keeps the timers paused; this is called again after it was processed.
        if seconds is None or self._timers.is_paused:
            return
        if self._state in (State.CLOSING, State.CLOSED):
            return
        self._heartbeats.reset_liveness()
        requests = self._sender.requests
        requests.extend_deadlines(seconds, now)
        self._timers.set(Timer.REQUEST, requests.next_timer())

    def _on_timer(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.HEARTBEAT:
                self._on_heartbeat_timer(now)
            case Timer.SEND:
                self._flush(now)
            case Timer.COMMAND_DELAY:
                self._events.append(self._sender.report_delay(now))
            case Timer.REQUEST:
                self._events += self._sender.requests.expire(now)
                self._flush(now)
            case Timer.IDENTIFY:
                self._request_identify_slot(now)
            case Timer.CLOSE:
                self._end(self._peer_closed(None, ""), now)
            case Timer.HANDSHAKE if refusal := self._unfinished_refusal():
                self._handle_http(refusal, now)
            case Timer.READY if self._awaits_resume_answer:
                self._outcome.resume_unanswered = True
                self._fail(RESUMABLE_CLOSE_CODE, "waited too long for an answer to Resume", now)
            case _:
                self._fail(RESUMABLE_CLOSE_CODE, f"waited too long for {AWAITED[timer]}", now)

    # ----- the end -----

    def _unfinished_refusal(self) -> UpgradeRejected | None:
        # The handshake of an external WebSocket is over before the connection is made.
        return cast("ClientFrames", self._frames).unfinished_refusal()

    def _adjust_next_action(self, action: NextAction) -> NextAction:
        without_session = action is NextAction.RESUME and self._session is None
        return NextAction.IDENTIFY if without_session else action

    def _lost(
        self, reason: str, *, error: str | None = None, retry_after: float | None = None
    ) -> Closed:
        """Return an end by this client that keeps the session, if there is one."""
        return Closed(
            code=RESUMABLE_CLOSE_CODE,
            initiator=Initiator.SELF,
            next_action=self._adjust_next_action(NextAction.RESUME),
            reason=reason,
            error=error,
            retry_after=retry_after,
        )

    def _peer_closed(self, code: int | None, reason: str) -> Closed:
        policy = close_policy(self._config, code)
        action = policy.next_action
        if self._state is State.RESUMING and policy.action_if_resuming is not None:
            action = policy.action_if_resuming
        return Closed(
            code=code,
            reason=reason,
            initiator=Initiator.PEER,
            next_action=self._adjust_next_action(action),
            retry_after=policy.min_delay or None,
            last_sent=self._sender.last_sent if policy.caused_by_command else (),
        )

    def _handle_http(self, item: UpgradeRejected | HttpRequest, now: float) -> None:
        # Imported on use: most upgrades are accepted.
        from gateway_proto.client.lookup import closed_by_refusal

        assert isinstance(item, UpgradeRejected)
        offset = self._config.unix_offset
        unix = None if offset is None else now + offset
        closed = closed_by_refusal(
            item,
            self._path,
            token=self._config.token,
            unix=unix,
            next_action=self._adjust_next_action(NextAction.RESUME),
        )
        self._end(closed, now)

    def _finish(self, closed: Closed, now: float) -> None:
        sender, unsent = self._sender, self._sender.unsent
        if sender.queue.commands or sender.queue.presence is not None:
            unsent, failed = sender.collect_unsent()
            self._events += failed
        closed = msgspec.structs.replace(
            closed,
            reason=self._redacted(closed.reason),
            error=None if closed.error is None else self._redacted(closed.error),
            unsent=unsent,
        )
        match closed.next_action:
            case NextAction.RESUME:
                self._session = self.session
            case NextAction.IDENTIFY:
                self._session = None
            case _:
                self._session = session_after(self.session, closed)
        if sender.requests.pending and (self._session is None or self._is_standalone):
            self._events += sender.requests.fail("the session is lost")
        super()._finish(closed, now)

    def _redacted(self, text: str) -> str:
        token = self._config.token
        is_plain = token not in text and "%" not in text and "\\u" not in text  # as most texts
        return text if is_plain else without_token(text, token)

    def _notify_finished(self, closed: Closed, now: float) -> None:
        self._sequence = None if self._session is None else self._session.sequence
        self._outcome.session = self.session
        if self._on_finished is not None:
            self._on_finished(self._outcome, closed, now)


def close_policy(config: Config, code: int | None) -> CloseCodePolicy:
    """Return what the client does after the peer closed with `code`; None: without a code."""
    if code is None:
        return config.version.close_policy(None)
    policy = config.close_policies.get(code) or config.version.close_policies.get(code)
    return policy or config.version.close_policy(code)
