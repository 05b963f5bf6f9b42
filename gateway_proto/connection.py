"""Connections of both roles: bytes become frames, messages and payloads, and timers run.

Received bytes go through the frames (WebSocket), the decompressor and the decoder of payloads. The
roles handle payloads, timers and the end in the methods that `BaseConnection` leaves abstract.
Only `_transition` assigns the state. Messages that arrive while too many events are queued stay in
a backlog, still compressed, until events are taken.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway_proto._checks import MAX_NOW, as_bytes, as_message, as_now, rejected
from gateway_proto._redaction import EXCERPT, excerpt_of
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import EVENT_SIZE, Closed, Initiator, MalformedPayload
from gateway_proto.state import Input, State, TransitionTable
from gateway_proto.timing.timers import Timer, Timers
from gateway_proto.versions import NextAction
from gateway_proto.wire.close_codes import NO_CLOSE_FRAME, check_close, reply_to, reported_code
from gateway_proto.wire.compression import DecompressionError, Decompressor
from gateway_proto.wire.fast_frames import MessageBatch, ProtocolViolation
from gateway_proto.wire.frame_events import (
    CloseReceived,
    ExternalWebSocket,
    FrameEvent,
    HttpRequest,
    Upgraded,
    UpgradeRejected,
)
from gateway_proto.wire.payload import PayloadError

if TYPE_CHECKING:
    from gateway_proto.wire.frames import Frames

__all__ = ["Connection"]

Sent = TypeVar("Sent")
Received = TypeVar("Received")
PayloadT = TypeVar("PayloadT")

RESUMABLE_CLOSE_CODE = 4000
"""Close code that keeps the session; only 1000 and 1001 end it.
<https://docs.discord.com/developers/events/gateway#initiating-a-disconnect>"""
_INVALID_TEXT_CODE = 1007
"""Close code after a text message that is not UTF-8 (RFC 6455, 7.4.1)."""


class Connection(abc.ABC, Generic[Sent, Received]):
    """Interface of a connection of either role, as adapters use it.

    A call that takes `now` changes the state. After each: send the bytes, take the events, read
    the timer. `now` is monotonic time in seconds. A value lower than the previous one is treated as
    the previous one.
    """

    # Slots save memory with many thousand idle connections. `__dict__` lets a recorder patch
    # methods of one connection; Python creates the dict only then.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_events",
        "_events_size",
        "_now",
        "_state",
        "_table",
        "_timers",
        "on_wake",
        "taken_size",
    )

    def __init__(self, *, now: float, table: TransitionTable) -> None:
        self.on_wake: Callable[[], None] | None = None
        """Callback for output that no call of the adapter produced, as by a server's dispatch."""
        self._now = as_now(now)
        self._table = table
        self._state = State.CONNECTING
        self._timers = Timers()
        self._events: list[Received | Closed | MalformedPayload] = []
        self._events_size = 0  # bytes of the messages that they came in
        self.taken_size: int = 0
        """Number of bytes of the messages whose events the last call of `events` returned."""

    # ----- the contract -----

    @abc.abstractmethod
    def receive_data(self, data: bytes, *, now: float) -> None:
        """Process bytes of the transport; then run the timers that are due."""

    @abc.abstractmethod
    def receive_eof(self, *, now: float) -> None:
        """Report that the transport closed (EOF, reset or failed write). Idempotent."""

    @abc.abstractmethod
    def data_to_send(self) -> bytes:
        """Return the bytes to send, in order; each once."""

    @abc.abstractmethod
    def send(self, message: Sent, *, now: float) -> None:
        """Send a message; raises `LocalProtocolError` if it cannot be sent now."""

    @abc.abstractmethod
    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """Start the closing handshake; `Closed` follows it, or its timeout."""

    @abc.abstractmethod
    def _on_timer(self, timer: Timer, now: float) -> None:
        """Handle `timer`, which is due."""

    def handle_timer(self, *, now: float) -> None:
        """Run the timers that are due at `now`; safe if called early, late or twice."""
        now = self._advance_clock(now)
        timers = self._timers
        # Compared here, without a call: this runs after every received message.
        while timers.earliest <= now and self._state is not State.CLOSED:
            timer = timers.pop_due(now)
            assert timer is not None
            self._on_timer(timer, now)

    def pause(self, *, now: float) -> None:
        """Report that the adapter stops reading: timers that wait for the peer are paused."""
        self._timers.pause(self._advance_clock(now))

    def unpause(self, *, now: float) -> None:
        """Report that the adapter reads again."""
        self._timers.unpause(self._advance_clock(now))

    def check_clock(self, unix: float, *, now: float) -> None:
        """Compare unix time with `now`, both in seconds, to detect that the clock stopped.

        Some monotonic clocks stop during system suspend, which nothing else shows.
        """
        self._advance_clock(now)

    def events(self) -> list[Received | Closed | MalformedPayload]:
        """Return the queued events in order; each once."""
        events = self._events
        self._events = []
        self.taken_size, self._events_size = self._events_size, 0
        return events

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`, in seconds of the caller's clock, or None."""
        return None if self._state is State.CLOSED else self._timers.next_timer()

    @property
    def state(self) -> State:
        """State of the connection."""
        return self._state

    # ----- for the roles -----

    def _advance_clock(self, now: float) -> float:
        if type(now) is not float or now != now:
            now = as_now(now)
        if now > self._now:
            self._now = min(now, MAX_NOW)
        return self._now

    def _transition(self, input_: Input) -> bool:
        """Apply the transition for `input_`; return False if the table has none."""
        after = self._table.get((self._state, input_))
        if after is None:
            return False
        self._state = after
        return True

    def _finish(self, closed: Closed, now: float) -> None:
        """Append the last event; the state has just become CLOSED."""
        self._events.append(closed)
        self._notify_finished(closed, now)

    def _notify_finished(self, closed: Closed, now: float) -> None:
        """Notify the owner that the connection ended."""

    def _redacted(self, text: str) -> str:
        """Return a text of the peer without the token. The server role has no token to redact."""
        return text

    def _wake(self) -> None:
        if self.on_wake is not None:
            self.on_wake()


class BaseConnection(Connection[Sent, Received], Generic[Sent, Received, PayloadT]):
    """Base of a connection of either role: payloads in WebSocket messages."""

    __slots__ = (
        "_backlog",
        "_close_timeout",
        "_decompressor",
        "_events_limit",
        "_frames",
        "_is_reading",
        "_output_limit",
        "_pending_close",
    )

    def __init__(
        self,
        *,
        now: float,
        close_timeout: float,
        events_limit: int,
        output_limit: int,
        frames: Frames | ExternalWebSocket,
        decompressor: Decompressor,
        table: TransitionTable,
    ) -> None:
        super().__init__(now=now, table=table)
        self._close_timeout = close_timeout
        self._frames = frames
        self._decompressor = decompressor
        self._events_limit = events_limit
        self._output_limit = output_limit
        self._backlog: list[FrameEvent] = []
        """Received items that wait until events are taken, in reverse order."""
        self._is_reading = True  # the adapter reads; it is not paused
        self._pending_close: Closed | None = None
        """The last event after our own close; set while the closing handshake runs."""

    # ----- bytes and messages -----

    def receive_data(self, data: bytes, *, now: float) -> None:
        """Process bytes of the transport; then run the timers that are due."""
        frames = self._require_frames()
        if type(data) is not bytes:
            data = as_bytes(data)
        now = self._advance_clock(now)
        if self._state is State.CLOSED:
            return
        if data:  # an empty read is not EOF; see receive_eof()
            self._process(frames.receive(data), now)
        self.handle_timer(now=now)
        self._check_output(now)

    def receive_message(self, message: str | bytes, *, now: float) -> None:
        """Process a WebSocket message (`framing=False`); then run the timers that are due."""
        self._require_messages()
        if type(message) is not bytes and type(message) is not str:
            message = as_message(message)
        now = self._advance_clock(now)
        self._process([MessageBatch([message], isinstance(message, str))], now)
        self.handle_timer(now=now)
        self._check_output(now)

    def receive_close(self, code: int | None, reason: str | None = "", *, now: float) -> None:
        """Process the peer's close as a WebSocket library reports it (`framing=False`).

        None and 1005 mean a close frame without a code; 1006 means no close frame, as
        `receive_eof` (RFC 6455, 7.1.5). Raises `LocalProtocolError` for another code.
        """
        self._require_messages()
        if reason is not None and not isinstance(reason, str):
            raise rejected("close reason", reason, "a str or None")
        code = reported_code(code)
        if code == NO_CLOSE_FRAME:
            self.receive_eof(now=now)
        else:
            self._process([CloseReceived(code, reason or "")], self._advance_clock(now))

    def receive_eof(self, *, now: float) -> None:
        """Report that the transport closed (EOF, reset or failed write). Idempotent."""
        now = self._advance_clock(now)
        frames = self._frames
        if self._state is State.CONNECTING and not isinstance(frames, ExternalWebSocket):
            self._process(frames.receive_eof(), now)
        # Drop the backlog: its sequence numbers are not recorded, so a resume replays it. A close
        # or a violation by the peer in it still decides how the connection ends.
        backlog, self._backlog = self._backlog, []
        for item in reversed(backlog):
            if isinstance(item, CloseReceived | ProtocolViolation):
                self._process_item(item, now)
                return
        action = self._adjust_next_action(NextAction.RESUME)
        error = "the transport ended without a close frame"
        closed = Closed(code=None, initiator=Initiator.TRANSPORT, next_action=action, error=error)
        self._end(closed, now)

    def data_to_send(self) -> bytes:
        """Return the bytes to send, in order; each once."""
        return self._require_frames().data_to_send()

    def messages_to_send(self) -> list[str | bytes]:
        """Return the WebSocket messages to send in order, each once (`framing=False`)."""
        return self._require_messages().messages_to_send()

    def close_to_send(self) -> tuple[int, str] | None:
        """Return code and reason of the close to send last, once (`framing=False`)."""
        return self._require_messages().close_to_send()

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """Start the closing handshake; `Closed` follows it, or its timeout.

        Raises `LocalProtocolError` for a code or a reason that a close frame cannot carry: a
        reason has at most 123 bytes of UTF-8.
        """
        check_close(code, reason)
        now = self._advance_clock(now)
        self._close(
            Closed(code=code, reason=reason, initiator=Initiator.SELF, next_action=NextAction.STOP),
            now,
        )

    def handle_timer(self, *, now: float) -> None:
        """Process the backlog and run the due timers; safe if called early, late or twice."""
        if self._backlog:
            self._process_backlog(self._advance_clock(now))
        super().handle_timer(now=now)

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`, in seconds of the caller's clock, or None."""
        # At once, if there is a backlog and the events before it were taken.
        return self._now if self._can_process_backlog() else super().next_timer()

    def pause(self, *, now: float) -> None:
        """Report that the adapter stops reading: timers that wait for the peer are paused."""
        super().pause(now=now)
        self._is_reading = False

    def unpause(self, *, now: float) -> None:
        """Report that the adapter reads again."""
        now = self._advance_clock(now)
        self._is_reading = True
        if not self._backlog:
            super().unpause(now=now)

    # ----- what a role does -----

    @abc.abstractmethod
    def _handle_open(self, now: float) -> None:
        """Handle the opened WebSocket."""

    @staticmethod
    @abc.abstractmethod
    def _decode(text: str | bytes) -> PayloadT:
        """Decode a message; raises `PayloadError`."""

    @abc.abstractmethod
    def _handle_payload(self, payload: PayloadT, now: float) -> None:
        """Handle a payload."""

    @abc.abstractmethod
    def _handle_malformed(self, error: str, now: float) -> None:
        """Handle a message that is not a payload."""

    @abc.abstractmethod
    def _adjust_next_action(self, action: NextAction) -> NextAction:
        """Adjust the planned next action to the current session."""

    @abc.abstractmethod
    def _peer_closed(self, code: int | None, reason: str) -> Closed:
        """Return the last event after the peer's close frame."""

    @abc.abstractmethod
    def _handle_http(self, item: UpgradeRejected | HttpRequest, now: float) -> None:
        """Handle a rejected upgrade (client role) or a request (server role)."""

    # ----- what both roles share -----

    def _process(self, incoming: Iterable[FrameEvent], now: float) -> None:
        following: list[FrameEvent] = []
        for item in incoming:
            if self._state is State.CLOSED:
                return
            if self._backlog:
                following.append(item)
            else:
                self._process_item(item, now)
        if following:
            self._backlog = following[::-1] + self._backlog

    def _process_item(self, item: FrameEvent, now: float) -> None:
        match item:
            case MessageBatch(messages, is_text):
                if self._is_full() and self._hold_back(messages, now, is_text=is_text):
                    return
                if is_text:  # counted at once: the read bounds its size
                    size = sum(map(len, messages)) + EVENT_SIZE * len(messages)
                    self._events_size += size
                self._process_messages(messages, now, is_text=is_text)
            case Upgraded():
                self._handle_open(now)
            case CloseReceived(code, reason):
                # RFC 6455, 5.5.1 and 7.4.2: echo the code; those from 3000 need no check.
                reply = code if code is not None and code >= 3000 else reply_to(code)
                self._frames.close(reply, "")
                self._end(self._peer_closed(code, reason), now)
            case ProtocolViolation(code, error):
                self._fail(code, error, now)
            case _:
                self._handle_http(item, now)

    def _process_messages(self, messages: list[str | bytes], now: float, *, is_text: bool) -> None:
        # Uncompressed messages are no larger than the read: the caller has checked the limit. The
        # client role checks it before each compressed message.
        for message in messages:
            self._process_message(message, now, is_text=is_text)

    def _is_full(self) -> bool:
        return self._events_size >= self._events_limit

    def _hold_back(self, messages: list[str | bytes], now: float, *, is_text: bool = False) -> bool:
        """Keep messages in the backlog, still compressed; return False if they may be ignored.

        They wait until events are taken, because a few kilobytes can decompress to gigabytes.
        Timers that wait for the peer are paused meanwhile: its answer may be in the backlog.
        """
        if self._state in (State.CLOSING, State.CLOSED):
            return False  # the messages will be ignored
        self._backlog.append(MessageBatch(messages, is_text))
        self._timers.pause(now)
        return True

    def _can_process_backlog(self) -> bool:
        return bool(self._backlog) and self._is_reading and not self._is_full()

    def _finish(self, closed: Closed, now: float) -> None:
        self._backlog.clear()
        super()._finish(closed, now)

    def _process_backlog(self, now: float) -> None:
        """Process the backlog, up to the limit."""
        while self._can_process_backlog():
            self._process_item(self._backlog.pop(), now)
        if not self._backlog and self._is_reading:
            self.unpause(now=now)

    def _check_output(self, now: float) -> None:
        """Drop the connection if the peer does not read what it causes to be sent."""
        waiting = self._frames.buffered_bytes
        if waiting > self._output_limit and self._state is not State.CLOSED:
            error = f"{waiting} bytes wait for a peer that does not read them"
            self._fail(RESUMABLE_CLOSE_CODE, error, now)

    def _process_message(self, message: str | bytes, now: float, *, is_text: bool) -> None:
        # Ignore messages after we sent a close frame. Their sequence numbers are not recorded, so a
        # resume replays them.
        if self._state is State.CLOSING or self._state is State.CLOSED:
            return
        if is_text:  # never compressed, and counted with its read
            self._process_payload_text(message, now, is_text=True)
            return
        try:
            text = self._decompressor.receive(message)
        except DecompressionError as error:
            self._fail(RESUMABLE_CLOSE_CODE, str(error), now)
            return
        if text is not None:
            self._events_size += len(text) + EVENT_SIZE
            self._process_payload_text(text, now, decompressed=text is not message)

    def _process_payload_text(
        self, text: str | bytes, now: float, *, is_text: bool = False, decompressed: bool = False
    ) -> None:
        try:
            payload = self._decode(text)
        except PayloadError as error:
            # A part of a payload may end as a whole one does.
            if decompressed and error.truncated and self._decompressor.push_back(text):
                return
            if is_text and isinstance(text, bytes):
                try:
                    text = text.decode()
                except UnicodeDecodeError as invalid:
                    # RFC 6455, 8.1: fail the connection if a text message is not UTF-8. A payload
                    # whose `d` alone is not UTF-8 is valid: reading its data raises.
                    self._fail(_INVALID_TEXT_CODE, f"broken WebSocket frame: {invalid}", now)
                    return
            excerpt = self._redacted(excerpt_of(text))[:EXCERPT]
            self._events.append(MalformedPayload(self._redacted(str(error)), excerpt))
            self._handle_malformed(str(error), now)
            return
        self._handle_payload(payload, now)

    def _close(self, closed: Closed, now: float) -> None:
        """Send a close frame and wait for the answer; then end with `closed`."""
        if not self._transition(Input.CLOSE):
            return
        if self._state is State.CLOSED:  # the WebSocket was not open yet
            self._finish(closed, now)
            return
        self._pending_close = closed
        self._frames.close(closed.code or RESUMABLE_CLOSE_CODE, closed.reason)
        self._timers.clear_all()
        self._timers.set(Timer.CLOSE, now + self._close_timeout)

    def _close_without_waiting(self, closed: Closed, now: float, input_: Input = Input.END) -> None:
        """Send a close frame and end without waiting for an answer, which may never come."""
        self._transition(input_)
        self._frames.close(closed.code or RESUMABLE_CLOSE_CODE, closed.reason)
        self._finish(closed, now)

    def _fail(self, code: int, error: str, now: float) -> None:
        """Close because of a protocol error by the peer. The session stays resumable."""
        # Before the upgrade no close frame can be sent.
        sent = None if self._state is State.CONNECTING else code
        closed = Closed(
            code=sent,
            initiator=Initiator.SELF,
            next_action=self._adjust_next_action(NextAction.RESUME),
            error=error,
        )
        self._close_without_waiting(self._pending_close or closed, now)

    def _end(self, closed: Closed, now: float) -> None:
        if self._transition(Input.END):
            self._finish(self._pending_close or closed, now)

    def _require_frames(self) -> Frames:
        if isinstance(self._frames, ExternalWebSocket):
            raise LocalProtocolError(
                "this connection was made with framing=False: use receive_message, "
                "messages_to_send and close_to_send"
            )
        return self._frames

    def _require_messages(self) -> ExternalWebSocket:
        if not isinstance(self._frames, ExternalWebSocket):
            raise LocalProtocolError(
                "this connection frames its messages itself: use receive_data and data_to_send, or "
                "make it with framing=False"
            )
        return self._frames
