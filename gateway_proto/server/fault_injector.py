"""Fault injection on one server connection: the time and the effect of each fault.

A `FaultInjector` sits between the bytes that a connection frames and the transport. It sees the
connection as a `FaultTarget`; framing and the connection contain no effect of a fault.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import wsproto.events as ws
from wsproto.connection import Connection, ConnectionType

from gateway_proto.events import (
    EVENT_SIZE,
    Dispatch,
    ReconnectRequested,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.server.dispatches import Numbered
from gateway_proto.server.faults import Fault
from gateway_proto.server.http_routes import HttpResponse
from gateway_proto.server.session import ServerSession
from gateway_proto.state import State

__all__ = ["FaultInjector", "FaultTarget", "OutputShaper"]

_GARBAGE = b"\xff\xff\xffgarbage"
"""Bytes that are not a frame: RFC 6455, 5.2, defines neither opcode 15 nor the reserved bits."""
_RESERVED_BITS = 0x70
"""RFC 6455, 5.2: they must be 0 if no extension defines them."""
_MIN_SECONDS = 0.001
"""Between two pieces of a slow output: each timer must be later than the one before."""


class FaultTarget(Protocol):
    """Interface of a connection for the faults that are applied to it."""

    on_wake: Callable[[], None] | None
    session: ServerSession | None

    @property
    def state(self) -> State:
        """State of the connection."""
        ...

    @property
    def _framed_bytes(self) -> int:
        """Bytes that are framed and wait to be taken."""
        ...

    def _send_unchecked(self, message: ServerMessage, *, now: float) -> None:
        """Send a message without checks."""
        ...

    def _send_text(self, text: bytes, *, now: float) -> None:
        """Compress and send the text of a payload."""
        ...

    def _close_unchecked(self, code: int, reason: str, *, now: float) -> None:
        """Close with any code that a close frame may carry."""
        ...

    def drop(self, *, now: float) -> None:
        """End the connection without a close frame."""
        ...


class OutputShaper:
    """Alteration, delay and loss of the bytes that a connection sends."""

    def __init__(self) -> None:
        # Parts of the framed bytes that wait, by start and end, and what replaces them.
        self._alterations: list[tuple[int, int, Callable[[bytes], bytes]]] = []
        self._left: int | None = None  # framed bytes that still pass; None means all
        self._kept = bytearray()
        self._merging = 0  # messages
        self._before = 0  # bytes that precede the first of them
        self._piece = 0  # bytes
        self._seconds = 0.0
        self._allowed = 0  # bytes of the current piece
        self.next_at: float | None = None
        """Time of the next piece."""

    def buffered(self, framed: int) -> int:
        """Return the bytes that wait, if `framed` bytes wait to be shaped."""
        return len(self._kept) + (framed if self._left is None else min(framed, self._left))

    def alter(self, start: int, end: int, change: Callable[[bytes], bytes]) -> None:
        """Replace the framed bytes from offset `start` to `end` among those that wait."""
        self._alterations.append((start, end, change))

    def stop_after(self, size: int) -> None:
        """Pass on `size` more framed bytes, and nothing after them."""
        self._left = size if self._left is None else min(size, self._left)

    def merge(self, messages: int, framed: int) -> None:
        """Keep the output from here on back until `messages` messages were framed."""
        self._merging, self._before = messages, framed + len(self._kept)

    def trickle(self, size: int, seconds: float, *, now: float) -> None:
        """Pass on `size` bytes at a time, with `seconds` between them."""
        self._piece, self._seconds = max(1, size), max(_MIN_SECONDS, seconds)
        self.next_at = now

    def count_message(self) -> None:
        """Count a framed message."""
        self._merging -= self._merging > 0

    def handle_timer(self, now: float) -> None:
        """Allow the next piece if it is due."""
        if self.next_at is not None and self.next_at <= now:
            self._allowed = self._piece
            self.next_at = now + self._seconds

    def shape(self, data: bytes, *, at_end: bool) -> bytes:
        """Return the bytes to send of those kept and `data`; all of them at the end."""
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        if self._alterations:
            data = self._altered(data)
        if not self._kept and not self._merging and self.next_at is None:
            return data
        self._kept += data
        size = len(self._kept)
        if self._merging:
            size = min(size, self._before)
            self._before -= size
        elif self.next_at is not None:
            size = self._allowed
            self._allowed = 0
        if at_end:
            size = len(self._kept)
        data = bytes(self._kept[:size])
        del self._kept[:size]
        return data

    def _altered(self, data: bytes) -> bytes:
        alterations, self._alterations = self._alterations, []
        # From the last to the first, so that the offsets before a change stay valid.
        for start, end, change in reversed(alterations):
            if start == end <= len(data) or data[start:end]:
                data = data[:start] + change(data[start:end]) + data[end:]
        return data


class FaultInjector:
    """The faults of one connection: counts their triggers and applies them."""

    def __init__(self, faults: tuple[Fault, ...] = (), *, framing: bool = True) -> None:
        self._faults = faults
        self._framing = framing
        self._seen: Counter[str] = Counter()
        self._scheduled: list[tuple[float, Fault]] = []
        self._shaper = OutputShaper()
        self._next_message_fault: Fault | None = None
        self._bytes_until_drop: int | None = None
        self._output_held_until: float | None = None
        self._held: list[ServerMessage] = []
        self._held_size = 0  # bytes
        self._suppress_acks = False
        self.last_dispatch: Dispatch | Numbered | None = None
        """The last dispatch that was sent."""
        self.is_active: bool = bool(faults)
        """Whether there is, or was, a fault on this connection."""
        self.is_muted: bool = False
        """Whether nothing more is sent, not even a close frame."""
        self.resume_url: str | None = None
        """The URL in READY; None means the server's own."""
        self.invalidation: SessionInvalidated | None = None
        """INVALID_SESSION that the last trigger caused."""

    @property
    def acknowledges(self) -> bool:
        """Whether heartbeats are acknowledged."""
        return not self._suppress_acks and not self.is_muted

    def buffered_bytes(self, framed: int) -> int:
        """Return the bytes that wait to be sent, if `framed` bytes are framed."""
        return self._shaper.buffered(framed) + self._held_size

    def refusal(self) -> HttpResponse | None:
        """Return the response that rejects the upgrade; None if it is accepted."""
        self._seen["upgrade"] += 1
        for fault in self._faults:
            if fault.what == "refuse" and fault.on == "upgrade":
                after = fault.retry_after
                headers = () if after is None else ((b"Retry-After", f"{after:g}".encode()),)
                return HttpResponse(fault.status, f"{fault.reason}\n".encode(), headers)
        return None

    # ----- time -----

    def trigger(self, name: str, target: FaultTarget, now: float) -> None:
        """Count a trigger, and apply the faults of this occurrence that are due."""
        self.invalidation = None
        if not self._faults:
            return
        self._seen[name] += 1
        for fault in self._faults:
            if fault.on == name and fault.nth == self._seen[name]:
                self._schedule(fault, now)
        self.handle_timer(target, now)

    def inject(self, fault: Fault, target: FaultTarget, now: float) -> None:
        """Apply a fault `fault.after` seconds from `now`, whatever its trigger."""
        self.is_active = True
        self._schedule(fault, now)
        self.handle_timer(target, now)

    def next_timer(self) -> float | None:
        """Return the time of the next call of `handle_timer`, or None."""
        times = [at for at, _ in self._scheduled]
        times += [at for at in (self._output_held_until, self._shaper.next_at) if at is not None]
        return min(times, default=None)

    def handle_timer(self, target: FaultTarget, now: float) -> None:
        """Apply what is due."""
        if self._output_held_until is not None and self._output_held_until <= now:
            self._output_held_until = None
        due = [fault for at, fault in self._scheduled if at <= now]
        self._scheduled = [(at, fault) for at, fault in self._scheduled if at > now]
        for fault in due:
            self._apply(fault, target, now)
        self._shaper.handle_timer(now)
        if self._held and self._output_held_until is None:
            self._release(target, now)

    def _schedule(self, fault: Fault, now: float) -> None:
        self._scheduled.append((now + fault.after, fault))

    # ----- effects on what is sent -----

    def withholds(self, message: ServerMessage) -> bool:
        """Whether a message is not sent now: it is dropped, or held until a later time."""
        if self.is_muted:
            return True
        if self._output_held_until is None:
            return False
        self._held.append(message)
        self._held_size += EVENT_SIZE + (len(message.raw) if isinstance(message, Dispatch) else 0)
        return True

    def message_framed(
        self, message: str | bytes, start: int, target: FaultTarget, now: float
    ) -> None:
        """Apply the faults of a message, framed at offset `start` of the bytes that wait."""
        end = target._framed_bytes
        fault, self._next_message_fault = self._next_message_fault, None
        if fault is not None and self._framing and end > start:
            self._shaper.alter(start, end, functools.partial(_damaged, fault, message))
        if self._bytes_until_drop is not None:
            self._bytes_until_drop -= end - start
            if self._bytes_until_drop <= 0:
                self._shaper.stop_after(end + self._bytes_until_drop)
                target.drop(now=now)
        self._shaper.count_message()

    def dispatched(self, dispatch: Dispatch, target: FaultTarget, now: float) -> None:
        """Count a dispatch that was sent, as `trigger` does."""
        self.last_dispatch = dispatch
        self.trigger("dispatch", target, now)

    def shape(self, data: bytes, *, at_end: bool) -> bytes:
        """Return the bytes to send now of those kept back and `data`; all of them at the end."""
        return self._shaper.shape(data, at_end=at_end)

    def _release(self, target: FaultTarget, now: float) -> None:
        held, self._held, self._held_size = self._held, [], 0
        for message in held:
            target._send_unchecked(message, now=now)

    def _apply(self, fault: Fault, target: FaultTarget, now: float) -> None:
        match fault.what:
            case "drop":
                self._bytes_until_drop = fault.size
                if fault.size <= 0:
                    target.drop(now=now)
            case "close":
                target._close_unchecked(fault.code, fault.reason, now=now)
            case "reconnect":
                target._send_unchecked(ReconnectRequested(fault.url), now=now)
            case "invalidate":
                self.invalidation = SessionInvalidated(fault.resumable)
                target._send_unchecked(self.invalidation, now=now)
            case "silence":
                self.is_muted = True
                self._shaper.stop_after(target._framed_bytes)
            case "merge":
                self._shaper.merge(fault.size, target._framed_bytes)
            case "trickle":
                self._shaper.trickle(fault.size, fault.seconds, now=now)
            case "no_acks":
                self._suppress_acks = True
            case "hold":
                self._output_held_until = now + fault.seconds
            case "corrupt" | "corrupt_data" | "fragment":
                self._next_message_fault = fault
            case "garbage":
                self._send_garbage(target)
            case "bomb":
                text = b'{"op":0,"t":"BOMB","d":"' + b" " * fault.size + b'"}'
                target._send_text(text, now=now)
            case "skip" if target.session is not None:
                target.session.sequence += fault.size
            case "repeat" if (last := self.last_dispatch) is not None:
                again = last if isinstance(last, Dispatch) else last[1].event(last[0])
                target._send_unchecked(again, now=now)
            case "resume_url":
                self.resume_url = fault.url
            case _:  # a refusal, which only an upgrade can have, or nothing to skip or repeat
                pass

    def _send_garbage(self, target: FaultTarget) -> None:
        if self._framing and target.state in (State.IDENTIFYING, State.READY):
            at = target._framed_bytes
            self._shaper.alter(at, at, lambda _: _GARBAGE)
            if target.on_wake is not None:
                target.on_wake()


def _damaged(fault: Fault, message: str | bytes, frame: bytes) -> bytes:
    """Return the frame of a message as a fault changes it."""
    if fault.what == "fragment":
        return _fragments(message, max(1, fault.size))
    damaged = bytearray(frame)
    if fault.what == "corrupt":
        damaged[:1] = [frame[0] | _RESERVED_BITS]
    else:
        damaged[-1] ^= 0xFF
        damaged[len(damaged) // 2] ^= 0xFF
    return bytes(damaged)


def _fragments(message: str | bytes, size: int) -> bytes:
    """Return the frames of a message in parts of `size` bytes, or characters of text."""
    websocket = Connection(ConnectionType.SERVER)
    frames = bytearray()
    for at in range(0, len(message), size):
        part = message[at : at + size]
        is_last = at + size >= len(message)
        # Its type is generic in `str` or `bytes`, and has no form for a union of them.
        frames += websocket.send(ws.Message(part, message_finished=is_last))  # type: ignore[type-var]
    return bytes(frames)
