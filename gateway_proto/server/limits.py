"""Limits of a server: Identifies of all connections, and commands of one connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway_proto.events import SessionStartLimit
from gateway_proto.server.config import ServerConfig
from gateway_proto.timing.identify_budget import identify_key
from gateway_proto.timing.rate_limit import SECONDS_PER_DAY, SlidingWindow
from gateway_proto.versions import ProtocolVersion
from gateway_proto.wire.payload import Payload

__all__ = ["CommandLimits", "IdentifyLimits"]


class CommandLimits:
    """Limits of the commands of one connection: their rate and their size."""

    def __init__(self, version: ProtocolVersion) -> None:
        self._window = SlidingWindow(*version.send_limit)
        self._payload_limit = version.payload_limit

    def error(self, payload: Payload, size: int, *, now: float) -> tuple[int, str] | None:
        """Count a payload of `size` bytes; return a close code and reason, or None.

        <https://docs.discord.com/developers/topics/opcodes-and-status-codes>
        """
        # <https://docs.discord.com/developers/events/gateway#rate-limiting>: 120 in 60 seconds.
        if self._window.next_slot_at(now) > now:
            return 4008, "Rate limited"
        self._window.record(now)
        # <https://docs.discord.com/developers/events/gateway#sending-events>: 4096 bytes.
        if size > self._payload_limit:
            return 4002, "Payload too large"
        return (4001, "Unknown opcode") if payload.opcode is None else None


class IdentifyLimits:
    """Limits of Identify: sessions in a day, and the seconds between two of one key.

    <https://docs.discord.com/developers/events/gateway#rate-limiting>
    """

    def __init__(self, config: Callable[[], ServerConfig]) -> None:
        self._config = config
        self._times: deque[float] = deque()  # of the sessions in the last 24 hours
        self._free_at: dict[int, float] = {}

    def session_start_limit(self, *, now: float) -> SessionStartLimit:
        """Return the state of the limits as `/gateway/bot` reports it."""
        config, used = self._config(), self._used(now)
        reset_after = int((self._times[0] + SECONDS_PER_DAY - now) * 1000) if used else 0
        total = config.identifies_per_day
        return SessionStartLimit(total, total - used, reset_after, config.max_concurrency)

    def has_sessions_left(self, *, now: float) -> bool:
        """Whether a session can be started today."""
        return self._used(now) < self._config().identifies_per_day

    def take(self, shard: tuple[int, int] | None, *, now: float) -> bool:
        """Count an Identify of a shard, and return True; return False if it is too early."""
        config = self._config()
        key = identify_key(0 if shard is None else shard[0], config.max_concurrency)
        if now < self._free_at.get(key, now):
            return False
        self._free_at[key] = now + config.identify_seconds
        self._times.append(now)
        return True

    def clear(self) -> None:
        """Forget every Identify."""
        self._times.clear()
        self._free_at.clear()

    def _used(self, now: float) -> int:
        while self._times and self._times[0] + SECONDS_PER_DAY <= now:
            self._times.popleft()
        return len(self._times)
