"""Invariants of rates: payloads, presences, Identifies and dials."""

from __future__ import annotations

from collections import deque
from typing import Any

from gateway_proto.client.client import Dial
from gateway_proto.encoding.raw_value import decode_raw
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.invariants.base import Invariant
from gateway_proto.timing.rate_limit import SECONDS_PER_DAY
from gateway_proto.versions import Opcode
from gateway_proto.wire.payload import Payload

__all__ = ["DialLimit", "IdentifyBudgetKept", "IdentifyLimit", "PresenceLimit", "SendLimit"]

_ROUNDING = 1e-6
_DIALS = (40, 60.0)
"""Lookups and immediate reconnects included. The backoff starts at one second."""


class _Windows:
    """Times within the last `seconds`, by key."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds - _ROUNDING
        self._times: dict[int, deque[float]] = {}

    def count(self, key: int, now: float) -> int:
        """Count one more. Return the number in the window."""
        times = self._times.setdefault(key, deque())
        times.append(now)
        while times[0] <= now - self._seconds:
            times.popleft()
        return len(times)

    def clear(self, key: int) -> None:
        """Forget all times of a key."""
        self._times.pop(key, None)


class _Limit(Invariant):
    """A limit for the number of things in a window of time."""

    windows: _Windows
    what: str

    def count_sent(self, bot: ClientProcess) -> None:
        """Count a sent payload, unless it was written at an earlier time."""
        if bot.end is not None and bot.end.waited:
            self.windows.clear(bot.number)
        else:
            self.count(bot, bot.number)

    def count(self, bot: ClientProcess, key: int) -> None:
        """Count one more, and check the limit."""
        count, limit = self.windows.count(key, bot.scheduler.now), self.windows.limit
        self.check(count <= limit, f"{count} {self.what}, but the limit is {limit}", bot)


class SendLimit(_Limit):
    """The payloads of a connection never exceed the version's limit, in any window."""

    what = "payloads"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(*self._version.send_limit)

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Start again for a new connection."""
        self.windows.clear(bot.number)

    def sent(self, bot: ClientProcess, payload: Payload) -> None:
        """Count a payload."""
        self.count_sent(bot)


class PresenceLimit(_Limit):
    """The presences of a connection never exceed the version's limit, in any window."""

    what = "presences"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(*self._version.presence_limit)

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Start again for a new connection."""
        self.windows.clear(bot.number)

    def sent(self, bot: ClientProcess, payload: Payload) -> None:
        """Count a presence, also one in Identify."""
        op = payload.opcode
        if op == Opcode.PRESENCE_UPDATE or (op == Opcode.IDENTIFY and _has_presence(payload)):
            self.count_sent(bot)


def _has_presence(payload: Payload) -> bool:
    return decode_raw(payload.raw, dict[str, Any]).get("presence") is not None


class IdentifyLimit(_Limit):
    """Two Identifies of one key are at least the version's number of seconds apart."""

    what = "Identifies of one key"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(1, self._version.identify_seconds)

    def sent(self, bot: ClientProcess, payload: Payload) -> None:
        """Count an Identify of its key."""
        if payload.opcode == Opcode.IDENTIFY:
            sharded, keys = self._config.sharded, self._config.max_concurrency
            self.count(bot, bot.number % keys if sharded else bot.number)


class IdentifyBudgetKept(_Limit):
    """The Identifies of a run never exceed the budget, in any 24 hours."""

    what = "Identifies in 24 hours"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(self._config.identify_budget, SECONDS_PER_DAY)

    def began(self, bot: ClientProcess) -> None:
        """Start again for a new process."""
        self.windows.clear(bot.number)

    def sent(self, bot: ClientProcess, payload: Payload) -> None:
        """Count an Identify."""
        if payload.opcode == Opcode.IDENTIFY:
            self.count(bot, bot.number)


class DialLimit(_Limit):
    """The dials of a run never exceed the number that its backoff allows, in any minute."""

    what = "dials in a minute"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(*_DIALS)

    def began(self, bot: ClientProcess) -> None:
        """Start again for a new process."""
        self.windows.clear(bot.number)

    def dialled(self, bot: ClientProcess, dial: Dial) -> None:
        """Count a dial."""
        self.count(bot, bot.number)
