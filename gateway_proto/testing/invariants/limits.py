"""what is sent and dialled → was it ever more than a limit in any window."""

from __future__ import annotations

from collections import deque
from typing import Any

from gateway_proto._layers.payloads import Payload
from gateway_proto._layers.raw import from_raw
from gateway_proto.client import Dial
from gateway_proto.dialects import Opcode
from gateway_proto.testing.bot import Bot
from gateway_proto.testing.invariants.invariant import Invariant

__all__ = ["DialLimit", "IdentifyBudgetKept", "IdentifyLimit", "PresenceLimit", "SendLimit"]

_DAY = 86400.0
_ROUNDING = 1e-6
_DIALS = (40, 60.0)
"""With lookups, and with op 7 that is obeyed at once, beside a backoff that begins at a second."""


class _Windows:
    """For each key: when something happened, within the last so many seconds."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds - _ROUNDING
        self._times: dict[int, deque[float]] = {}

    def count(self, key: int, now: float) -> int:
        """Once more; how often in the window."""
        times = self._times.setdefault(key, deque())
        times.append(now)
        while times[0] <= now - self._seconds:
            times.popleft()
        return len(times)

    def clear(self, key: int) -> None:
        """Begin anew."""
        self._times.pop(key, None)


class _Limit(Invariant):
    """What counts, for whom, and how often it may be."""

    windows: _Windows
    what: str

    def count_sent(self, bot: Bot) -> None:
        """Count a payload that was sent, unless it was written at an earlier time."""
        if bot.end is not None and bot.end.waited:
            self.windows.clear(bot.number)
        else:
            self.count(bot, bot.number)

    def count(self, bot: Bot, key: int) -> None:
        """It happened once more."""
        count, limit = self.windows.count(key, bot.agenda.now), self.windows.limit
        self.check(count <= limit, f"{count} {self.what}, and the limit is {limit}", bot)


class SendLimit(_Limit):
    """Never more payloads on a connection than the version's limit, in any window."""

    what = "payloads"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(*self._dialect.send_limit)

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """The limit is each connection's."""
        self.windows.clear(bot.number)

    def sent(self, bot: Bot, payload: Payload) -> None:
        """Count a payload."""
        self.count_sent(bot)


class PresenceLimit(_Limit):
    """Never more presences on a connection than the version's limit, in any window."""

    what = "presences"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(*self._dialect.presence_limit)

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """The limit is each connection's."""
        self.windows.clear(bot.number)

    def sent(self, bot: Bot, payload: Payload) -> None:
        """One more, be it inside of Identify."""
        op = payload.opcode
        if op == Opcode.PRESENCE_UPDATE or (op == Opcode.IDENTIFY and _has_presence(payload)):
            self.count_sent(bot)


def _has_presence(payload: Payload) -> bool:
    return from_raw(payload.raw, dict[str, Any]).get("presence") is not None


class IdentifyLimit(_Limit):
    """Never two Identifies of one key within the version's seconds."""

    what = "Identifies of one key"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(1, self._dialect.identify_seconds)

    def sent(self, bot: Bot, payload: Payload) -> None:
        """One more of its key."""
        if payload.opcode == Opcode.IDENTIFY:
            sharded, keys = self._setting.sharded, self._setting.max_concurrency
            self.count(bot, bot.number % keys if sharded else bot.number)


class IdentifyBudgetKept(_Limit):
    """Never more Identifies of one life than its budget, in any 24 hours."""

    what = "Identifies in 24 hours"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(self._setting.identify_budget, _DAY)

    def began(self, bot: Bot) -> None:
        """A process remembers nothing of the one before it."""
        self.windows.clear(bot.number)

    def sent(self, bot: Bot, payload: Payload) -> None:
        """One more."""
        if payload.opcode == Opcode.IDENTIFY:
            self.count(bot, bot.number)


class DialLimit(_Limit):
    """Never more dials of one life in any minute than its backoff lets through."""

    what = "dials in a minute"

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self.windows: _Windows = _Windows(*_DIALS)

    def began(self, bot: Bot) -> None:
        """A process remembers nothing of the one before it."""
        self.windows.clear(bot.number)

    def dialled(self, bot: Bot, dial: Dial) -> None:
        """One more."""
        self.count(bot, bot.number)
