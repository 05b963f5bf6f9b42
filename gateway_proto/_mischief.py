"""faults, now → what one connection of a server does wrong."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from gateway_proto._wire import Wire
from gateway_proto.events import (
    Dispatch,
    ReconnectRequested,
    ServerMessage,
    SessionInvalidated,
)
from gateway_proto.faults import Fault

__all__ = ["Mischief", "Victim"]


class Victim(Protocol):
    """What a fault needs of the connection that it happens on."""

    wire: Wire

    def write(self, message: ServerMessage, *, now: float) -> None:
        """Send a message."""
        ...

    def close_as_real_servers_do(self, code: int, reason: str, *, now: float) -> None:
        """Close with any code that a close frame may carry."""
        ...

    def cut_after(self, size: int, *, now: float) -> None:
        """Drop the transport after so many more bytes."""
        ...

    def send_bomb(self, size: int, *, now: float) -> None:
        """Send a message that inflates to so many bytes."""
        ...

    def send_garbage(self, *, now: float) -> None:
        """Send bytes that are no frame."""
        ...

    def fall_silent(self) -> None:
        """Send nothing any more."""
        ...

    def merge(self, messages: int) -> None:
        """Keep the next messages back, and send them at once."""
        ...

    def skip_sequences(self, count: int) -> None:
        """Leave out sequences."""
        ...

    def last_dispatch(self) -> Dispatch | None:
        """The dispatch that was sent last."""
        ...


class Mischief:
    """Counts what happens on a connection, and lets the faults happen that belong to it."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._seen: Counter[str] = Counter()
        self._planned: list[tuple[float, Fault]] = []
        self.no_acks: bool = False
        """Whether no heartbeat is acknowledged any more."""
        self.held_until: float | None = None
        """Until when what is sent waits."""
        self.frame: Fault | None = None
        """What happens to the next message."""
        self.resume_url: str | None = None
        """What READY names."""

    def refusal(self) -> Fault | None:
        """How the upgrade is answered, if not well."""
        self._seen["upgrade"] += 1
        return next((f for f in self._faults if f.what == "refuse" and f.on == "upgrade"), None)

    def reach(self, trigger: str, victim: Victim, now: float) -> None:
        """Something happened: let what belongs to it happen, now or later."""
        if not self._faults:
            return
        self._seen[trigger] += 1
        for fault in self._faults:
            if fault.on == trigger and fault.nth == self._seen[trigger]:
                self._planned.append((now + fault.after, fault))
        self.handle_timer(victim, now)

    def next_timer(self) -> float | None:
        """When the next fault is due, or what is held is let go."""
        times = [at for at, _ in self._planned]
        if self.held_until is not None:
            times.append(self.held_until)
        return min(times, default=None)

    def handle_timer(self, victim: Victim, now: float) -> None:
        """Let happen what is due."""
        if self.held_until is not None and self.held_until <= now:
            self.held_until = None
        due = [fault for at, fault in self._planned if at <= now]
        self._planned = [(at, fault) for at, fault in self._planned if at > now]
        for fault in due:
            self._happen(fault, victim, now)

    def _happen(self, fault: Fault, victim: Victim, now: float) -> None:
        match fault.what:
            case "drop":
                victim.cut_after(fault.size, now=now)
            case "close":
                victim.close_as_real_servers_do(fault.code, fault.reason, now=now)
            case "reconnect":
                victim.write(ReconnectRequested(fault.url), now=now)
            case "invalidate":
                victim.write(SessionInvalidated(fault.resumable), now=now)
            case "silence":
                victim.fall_silent()
            case "merge":
                victim.merge(fault.size)
            case "trickle":
                victim.wire.trickle(fault.size, fault.seconds, now=now)
            case "no_acks":
                self.no_acks = True
            case "hold":
                self.held_until = now + fault.seconds
            case "corrupt" | "corrupt_data" | "fragment":
                self.frame = fault
            case "garbage":
                victim.send_garbage(now=now)
            case "bomb":
                victim.send_bomb(fault.size, now=now)
            case "skip":
                victim.skip_sequences(fault.size)
            case "repeat":
                dispatch = victim.last_dispatch()
                if dispatch is not None:
                    victim.write(dispatch, now=now)
            case _:  # resume_url
                self.resume_url = fault.url
