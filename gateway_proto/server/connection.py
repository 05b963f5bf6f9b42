"""One connection of a server to a client: commands → close codes, answers and dispatches.

`ServerConnection` owns its units: the session (`ServerSession`), fault injection (`FaultInjector`)
and compression. What it shares with the other connections is in `ServerContext`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_proto._checks import shown
from gateway_proto.commands import Command, Heartbeat, Identify, RawCommand, Resume
from gateway_proto.connection import RESUMABLE_CLOSE_CODE, BaseConnection
from gateway_proto.encoding import ETF_VERSION
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    Closed,
    Dispatch,
    HeartbeatAcked,
    Hello,
    HttpRequested,
    Initiator,
    Opened,
    ServerEvent,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.server.answers import answers
from gateway_proto.server.context import ServerContext
from gateway_proto.server.control_routes import Wait
from gateway_proto.server.dispatches import EncodedDispatch, Numbered
from gateway_proto.server.fault_injector import FaultInjector
from gateway_proto.server.faults import Fault
from gateway_proto.server.http_routes import HttpResponse
from gateway_proto.server.limits import CommandLimits
from gateway_proto.server.messages import check_message, encode_message
from gateway_proto.server.negotiation import negotiate
from gateway_proto.server.ready import ready_dispatches, resumed_data
from gateway_proto.server.session import ServerSession, invalidates_session, keeps_session
from gateway_proto.state import Input, State, server_table
from gateway_proto.timing.timers import AWAITED, Timer
from gateway_proto.versions import VERSIONS, Compression, Encoding, NextAction, ProtocolVersion
from gateway_proto.wire.close_codes import check_close
from gateway_proto.wire.command_decoding import decode_command
from gateway_proto.wire.compression import NoDecompressor
from gateway_proto.wire.compressors import make_compressor
from gateway_proto.wire.frame_events import ExternalWebSocket, HttpRequest, UpgradeRejected
from gateway_proto.wire.payload import Payload, decode_payload
from gateway_proto.wire.server_frames import ServerFrames

__all__ = ["ServerConnection"]

_LARGE = 1024
"""Bytes from which a text is worth compressing by itself."""


class ServerConnection(BaseConnection[ServerMessage, ServerEvent, Payload]):
    """One connection of a server to a client; made by `Server.accept`."""

    def __init__(self, context: ServerContext, *, now: float, framing: bool) -> None:
        config = context.config
        frames = ServerFrames(limit=config.message_limit) if framing else ExternalWebSocket()
        super().__init__(
            now=now,
            close_timeout=config.close_timeout,
            events_limit=config.events_limit,
            output_limit=config.output_limit,
            table=server_table(),
            frames=frames,
            decompressor=NoDecompressor(),
        )
        self._messages: ServerFrames | ExternalWebSocket = frames
        self._context = context
        self._config = config
        self._target = "/"
        self._host = "localhost"
        self._version = VERSIONS[config.versions[-1]]
        self._encoding = Encoding.JSON
        self._detect_encoding = False
        self._is_version_unsupported = False
        self._compress(Compression.NONE)
        self._faults = FaultInjector(framing=framing)
        self._size = 0  # of the payload being handled, in bytes
        self._limits = CommandLimits(self._version)
        self._timers.set(Timer.HANDSHAKE, now + config.handshake_timeout)
        self.number: int | None = None
        """Number of the connection, counted from 1; None before it asks for a WebSocket."""
        self.session: ServerSession | None = None
        """Session of the client; None before Identify or Resume."""

    def __repr__(self) -> str:
        """Return the repr, without secrets and payloads."""
        return (
            f"{type(self).__name__}(number={self.number}, state={self._state.value}, "
            f"version={self._version.number}, encoding={self._encoding.value}, "
            f"compression={self._compression.value}, buffered_bytes={self.buffered_bytes}, "
            f"session={self.session!r})"
        )

    # ----- the public contract -----

    @property
    def version(self) -> ProtocolVersion:
        """Protocol version that the client asked for."""
        return self._version

    @property
    def encoding(self) -> Encoding:
        """Encoding that the client asked for."""
        return self._encoding

    @property
    def compression(self) -> Compression:
        """Compression that the client asked for."""
        return self._compression

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait to be sent."""
        framed = self._frames.buffered_bytes
        return self._faults.buffered_bytes(framed) if self._faults.is_active else framed

    @property
    def _framed_bytes(self) -> int:
        """Bytes that are framed and wait to be taken."""
        return self._frames.buffered_bytes

    @property
    def _acknowledges(self) -> bool:
        """Whether heartbeats are acknowledged."""
        return self._faults.acknowledges

    def send(self, message: ServerMessage, *, now: float) -> None:
        """Send a message. A dispatch without a sequence gets the next one of the session.

        Raises `LocalProtocolError` if the WebSocket is not open, or if a dispatch has no session.
        """
        check_message(message, self._encoding)
        if not self._is_open():
            raise LocalProtocolError(f"cannot send: the connection is {self._state.value}")
        if isinstance(message, Dispatch) and message.sequence is None:
            if self.session is None:
                raise LocalProtocolError("a dispatch needs a session: wait for Identify or Resume")
            dispatch = EncodedDispatch(message.name, message.raw)
            self._send_numbered(self.session.add_dispatch(dispatch), now)
            return
        self._send_unchecked(message, now=now)

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """Begin the closing handshake; `Closed` follows after it, or after its timeout.

        Raises `LocalProtocolError` for a code or a reason that a close frame cannot carry.
        """
        check_close(code, reason, as_server=True)
        self._close_unchecked(code, reason, now=now)

    def _close_unchecked(self, code: int, reason: str, *, now: float) -> None:
        """Close with any code that a close frame may carry, such as 1012 or 4009."""
        closed = _closed(code, reason)
        if self._is_open() and self.session and invalidates_session(closed, self._version):
            # A client may resume elsewhere before it answers the close frame.
            self._context.registry.forget(self.session)
        self._close(closed, self._advance_clock(now))
        self._wake()

    def drop(self, *, now: float) -> None:
        """End the connection without a close frame, as a lost transport does; keep the session."""
        self._end(_closed(None, "dropped"), self._advance_clock(now))
        self._wake()

    def inject(self, fault: Fault, *, now: float) -> None:
        """Apply a fault after `fault.after` seconds, whatever its connection and trigger."""
        if not isinstance(fault, Fault):
            raise LocalProtocolError(f"invalid fault {shown(fault)}: expected a Fault")
        self._faults.inject(fault, self, self._advance_clock(now))
        self._schedule_fault_timer()

    def data_to_send(self) -> bytes:
        """Return the bytes that wait, in order; each once."""
        data = super().data_to_send()
        if not self._faults.is_active:
            return data
        return self._faults.shape(data, at_end=self._state is State.CLOSED)

    def close_to_send(self) -> tuple[int, str] | None:
        """`framing=False`: return code and reason of the close after the messages, once."""
        return None if self._faults.is_muted else super().close_to_send()

    # ----- what is sent -----

    def _send_unchecked(self, message: ServerMessage, *, now: float) -> None:
        """Send a message without checks; drop it if the WebSocket is not open."""
        now = self._advance_clock(now)
        if not self._is_open():
            return
        if self._faults.withholds(message):
            self._check_output(now)
            return
        text = encode_message(message, self._version, self._encoding)
        large = len(text) >= _LARGE or (isinstance(message, Dispatch) and message.name == "READY")
        self._send_text(text, now=now, large=large)
        if isinstance(message, Dispatch):
            self._faults.dispatched(message, self, now)
            self._schedule_fault_timer()
        elif isinstance(message, SessionInvalidated):
            self._invalidate(message, now)

    def _send_numbered(self, numbered: Numbered, now: float) -> None:
        """Send a dispatch of the session; drop it if the WebSocket is not open.

        The fast path of a connection without faults. It does what `_send_unchecked` does, but
        creates no event and looks for no fault. With the data encoded once, and frames without
        wsproto, a dispatch to 1,000 sessions takes 5.8 µs for each, where it took 21.7 µs.
        """
        faults = self._faults
        sequence, dispatch = numbered
        if faults.is_active:
            self._send_unchecked(dispatch.event(sequence), now=now)
            return
        now = self._advance_clock(now)
        if not self._is_open():
            return
        faults.last_dispatch = numbered
        text = dispatch.text(sequence, self._encoding)
        frames = self._messages
        if self._compression is Compression.NONE and self._encoding is Encoding.JSON:
            frames.send_text(text)
        else:
            large = len(text) >= _LARGE or dispatch.name == "READY"
            frames.send(self._compressor.send(text, large=large))
        if frames.buffered_bytes > self._output_limit:
            self.drop(now=now)
        elif self.on_wake is not None:
            self.on_wake()

    def _send_text(self, text: bytes, *, now: float, large: bool = True) -> None:
        """Compress and send the text of a payload, if the WebSocket is open."""
        if not self._is_open():
            return
        message = self._compressor.send(text, large=large)
        start = self._frames.buffered_bytes
        self._frames.send(message)
        self._faults.message_framed(message, start, self, now)
        self._check_output(now)
        self._wake()

    def _dispatch(self, name: str, d: Any, now: float, *, replay: bool = True) -> None:
        if self.session is not None:  # a fault on the dispatch before may have invalidated it
            dispatch = EncodedDispatch(name, msgspec.json.encode(d))
            self._send_numbered(self.session.add_dispatch(dispatch, replay=replay), now)

    def _check_output(self, now: float) -> None:
        """Drop the connection if more waits for the client than `output_limit` allows."""
        if self.buffered_bytes > self._output_limit:
            self.drop(now=now)

    def _is_open(self) -> bool:
        return self._state in (State.IDENTIFYING, State.READY)

    def _trigger_faults(self, trigger: str, now: float) -> bool:
        """Apply the faults of a trigger; return whether the connection is still open."""
        self._faults.trigger(trigger, self, now)
        self._schedule_fault_timer()
        return self._is_open()

    def _schedule_fault_timer(self) -> None:
        at = self._faults.next_timer()
        if at is not None and self._state not in (State.CLOSING, State.CLOSED):
            self._timers.set(Timer.FAULT, at)

    # ----- HTTP requests -----

    def _handle_http(self, item: UpgradeRejected | HttpRequest, now: float) -> None:
        assert isinstance(item, HttpRequest)
        if item.upgrade:
            self._upgrade(item, now)
            return
        self._target = item.target
        url = self._url(item.headers.get("host", self._host))
        answer, requested = self._context.answer_request(item, url, now=now)
        if isinstance(answer, Wait):
            self._timers.clear(Timer.HANDSHAKE)
            self._timers.set(Timer.REQUEST, now + answer.seconds)
            self._context.wait(self, answer)
            return
        assert requested is not None
        self._events.append(requested)
        if answer is not None:  # without one the request waits for the timeout
            self._respond(answer)

    def _end_wait(self, answer: HttpResponse) -> None:
        """Answer a request that waited for an entry."""
        path, _, query = self._target.partition("?")
        self._events.append(HttpRequested("GET", path, answer.status, query))
        self._respond(answer)
        self._wake()

    def _respond(self, answer: HttpResponse, content_type: bytes = b"application/json") -> None:
        assert isinstance(self._frames, ServerFrames)
        self._frames.respond(answer.status, content_type, answer.body, more=answer.headers)
        self._end(_closed(answer.status), self._now)

    def _upgrade(self, item: HttpRequest, now: float) -> None:
        assert isinstance(self._frames, ServerFrames)
        self._begin_upgrade()
        refusal = self._faults.refusal()
        error = self._negotiate(item.target, item.headers.get("host", self._host))
        if refusal is None and error is None:
            self._process(self._frames.accept(), now)
            return
        answer = refusal or HttpResponse(400, f"{error}\n".encode())
        self._events.append(self._context.note_refusal(item, answer.status, self.number))
        self._respond(answer, b"text/plain")

    # ----- the WebSocket opens -----

    def _accept_upgraded(self, target: str, host: str, *, now: float) -> None:
        """Start after the WebSocket was accepted elsewhere, for this target and host."""
        error = self._negotiate(target, host)
        if error is not None:
            self.drop(now=now)
            raise error
        self._begin_upgrade()
        self._handle_open(now)

    def _begin_upgrade(self) -> None:
        self.number, faults = self._context.next_upgrade()
        if faults:
            self._faults = FaultInjector(faults, framing=isinstance(self._frames, ServerFrames))

    def _negotiate(self, target: str, host: str) -> LocalProtocolError | None:
        """Apply what the query asks for, or return the error if it is not supported."""
        self._target, self._host = target, host
        try:
            chosen = negotiate(target, self._config.versions)
        except LocalProtocolError as error:
            return error
        self._version, self._encoding = chosen.version, chosen.encoding
        self._is_version_unsupported = chosen.is_version_unsupported
        self._compress(chosen.compression)
        return None

    def _compress(self, compression: Compression) -> None:
        self._compression = compression
        self._compressor = make_compressor(compression)

    def _url(self, host: str) -> str:
        return self._config.url or f"ws{'s' if self._config.tls else ''}://{host}"

    def _handle_open(self, now: float) -> None:
        self._transition(Input.OPENED)
        self._detect_encoding = not self._version.negotiates_in_url
        self._timers.clear(Timer.HANDSHAKE)
        self._timers.set(Timer.READY, now + self._config.identify_timeout)
        self._events.append(Opened(self._target))
        self._context.log_received("Opened", self.number, path=self._target)
        self._limits = CommandLimits(self._version)
        if not self._trigger_faults("open", now):
            return
        if self._is_version_unsupported:
            self._close_unchecked(4012, "Invalid API version", now=now)
        elif self._version.sends_hello:
            self._send_unchecked(Hello(self._config.heartbeat_interval), now=now)
            self._await_heartbeat(now)

    def _await_heartbeat(self, now: float) -> None:
        seconds = self._config.heartbeat_interval / 1000 * self._config.heartbeat_tolerance
        self._timers.set(Timer.LIVENESS, now + seconds)

    # ----- commands -----

    _decode = staticmethod(decode_payload)

    def _process_payload_text(
        self, text: str | bytes, now: float, *, is_text: bool = False, decompressed: bool = False
    ) -> None:
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        self._size = len(data)
        super()._process_payload_text(text, now, is_text=is_text, decompressed=decompressed)

    def _handle_payload(self, payload: Payload, now: float) -> None:
        if self._detect_encoding:
            # Version 3, whose URL has no encoding: the form of the first payload decides.
            # <https://github.com/DiscordAPI/docs/blob/b8c8a7ca43b39a4d1d2871a6d3901ee378bbbae5/docs/reference/websockets/general.rst>
            self._detect_encoding = False
            is_etf = payload.raw.startswith(ETF_VERSION)
            self._encoding = Encoding.ETF if is_etf else Encoding.JSON
        error = self._limits.error(payload, self._size, now=now)
        if error is not None:
            self._close_unchecked(*error, now=now)
            return
        assert payload.opcode is not None  # `CommandLimits` rejects it
        try:
            command = decode_command(payload.opcode, payload.raw, self._version)
        except (msgspec.DecodeError, RecursionError, ValueError) as problem:
            self._handle_malformed(str(problem), now)
            return
        self._events.append(command)
        self._context.log_payload(type(command).__name__, self.number, payload)
        self._handle_command(command, now)

    def _handle_command(self, command: Command, now: float) -> None:
        # <https://docs.discord.com/developers/topics/opcodes-and-status-codes>
        match command:
            case Heartbeat():
                self._handle_heartbeat(now)
            case Identify() if self._state is State.IDENTIFYING:
                self._identify(command, now)
            case Resume() if self._state is State.IDENTIFYING:
                self._resume(command, now)
            case Identify() | Resume():
                self._close_unchecked(4005, "Already authenticated", now=now)
            case RawCommand(op) if op not in self._version.commands:
                self._close_unchecked(4001, "Unknown opcode", now=now)
            case _ if not self._transition(Input.COMMAND):
                self._close_unchecked(4003, "Not authenticated", now=now)
            case _:
                assert self.session is not None
                for name, d in answers(command, self.session, self._context, now=now):
                    self._dispatch(name, d, now)

    def _handle_heartbeat(self, now: float) -> None:
        self._transition(Input.HEARTBEAT)
        if self._state is State.IDENTIFYING:  # the client may wait for an identify slot
            self._timers.set(Timer.READY, now + self._config.identify_timeout)
        self._await_heartbeat(now)
        is_open = self._trigger_faults("heartbeat", now)
        if is_open and self._version.acks_heartbeats and self._faults.acknowledges:
            self._send_unchecked(HeartbeatAcked(), now=now)

    def _identify(self, identify: Identify, now: float) -> None:
        if not self._trigger_faults("identify", now) or self._faults.invalidation is not None:
            return  # INVALID_SESSION answers it
        error = self._context.identify_error(identify, self._version, now=now)
        if error is not None:
            self._close_unchecked(*error, now=now)
            return
        session = self._context.open_session(identify, self._version, now=now)
        if session is None:
            self._send_unchecked(SessionInvalidated(resumable=False), now=now)
            return
        self._transition(Input.IDENTIFY)
        self._attach_session(session, now)
        url = self._faults.resume_url or self._url(self._host)
        for name, d in ready_dispatches(self._context.world, session, url, self._config):
            self._dispatch(name, d, now)
        self._context.log_received("Ready", self.number, session=session.id)
        self._trigger_faults("ready", now)

    def _attach_session(self, session: ServerSession, now: float) -> None:
        self.session = session
        session.encoding = self._encoding
        self._context.registry.attach(session, self)
        self._timers.clear(Timer.READY)
        is_plain = (self._encoding, self._compression) == (Encoding.JSON, Compression.NONE)
        if session.compress and is_plain:
            self._compress(Compression.PAYLOAD)
        if not self._version.sends_hello:
            self._await_heartbeat(now)

    def _resume(self, resume: Resume, now: float) -> None:
        if not self._trigger_faults("resume", now):
            return
        session = self._context.registry.find(resume, self._version, now=now)
        if (invalidation := self._faults.invalidation) is not None:  # INVALID_SESSION answers it
            if session is not None and not keeps_session(invalidation, self._version):
                self._context.registry.end(session, now=now)
            return
        if session is not None and resume.seq > session.sequence:
            self._close_unchecked(4007, "Invalid seq", now=now)
            return
        missed = None if session is None else session.dispatches_after(resume.seq, self._encoding)
        if session is None or missed is None:
            code = self._version.failed_resume_close
            if code is None:
                self._send_unchecked(SessionInvalidated(resumable=False), now=now)
            else:
                self._close_unchecked(code, "Invalid session", now=now)
            return
        self._transition(Input.RESUME)
        self._context.registry.drop_connection(session, now=now)
        self._attach_session(session, now)
        for numbered in missed:
            self._send_numbered(numbered, now)
        d = resumed_data(self._version, self._config)
        self._dispatch("RESUMED", d, now, replay=False)
        self._context.log_received("Resumed", self.number, session=session.id)
        self._trigger_faults("resumed", now)

    def _invalidate(self, message: SessionInvalidated, now: float) -> None:
        """Take the session from the connection, which may identify or resume again."""
        session = self.session
        if session is None or not self._transition(Input.INVALID_SESSION):
            return
        self.session = None
        forget = not keeps_session(message, self._version)
        self._context.registry.detach(session, now=now, forget=forget)
        self._timers.set(Timer.READY, now + self._config.identify_timeout)

    # ----- timers and the end -----

    def _handle_malformed(self, error: str, now: float) -> None:
        self._context.log_received("MalformedPayload", self.number, error=error)
        self._close_unchecked(4002, "Error while decoding payload", now=now)

    def _on_timer(self, timer: Timer, now: float) -> None:
        match timer:
            case Timer.LIVENESS | Timer.READY:
                self._close_unchecked(4009, "Session timed out", now=now)
            case Timer.CLOSE:
                self._end(self._peer_closed(None, ""), now)
            case Timer.REQUEST:
                self._end_wait(self._context.unmet_wait(self))
            case Timer.FAULT:
                self._faults.handle_timer(self, now)
                self._schedule_fault_timer()
            case _:
                self._fail(RESUMABLE_CLOSE_CODE, f"waited too long for {AWAITED[timer]}", now)

    def _adjust_next_action(self, action: NextAction) -> NextAction:
        return NextAction.STOP

    def _peer_closed(self, code: int | None, reason: str) -> Closed:
        return _closed(code, reason, Initiator.PEER)

    def _notify_finished(self, closed: Closed, now: float) -> None:
        if self.number is not None:
            self._context.log_received(
                "Closed",
                self.number,
                code=closed.code,
                reason=closed.reason,
                initiator=closed.initiator.value,
            )
        forget = invalidates_session(closed, self._version)
        self._context.connection_closed(self, now=now, forget=forget)


def _closed(code: int | None, reason: str = "", initiator: Initiator = Initiator.SELF) -> Closed:
    return Closed(code=code, reason=reason, initiator=initiator, next_action=NextAction.STOP)
