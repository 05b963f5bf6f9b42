"""The numbers of the dispatches of a simulated fleet, over all of its sessions."""

from __future__ import annotations

from bisect import bisect_right

from gateway_proto.testing.simulation.server_process import ServerProcess

__all__ = ["Ticks"]


class Ticks:
    """The dispatches that the server sends to all sessions at once, numbered from 1.

    A tick stands for an event of each guild: a session gets those of the guilds of its shard. So
    the sessions of two generations get the same events.
    """

    def __init__(self) -> None:
        self.count: int = 0
        """The number of the last tick."""
        self._first: dict[str, int] = {}
        self._sequences: dict[str, list[int]] = {}

    def dispatch(self, server: ServerProcess) -> None:
        """Send the next tick to all sessions."""
        self.count += 1
        server.tick()
        for session in server.server.sessions.values():
            self._first.setdefault(session.id, self.count)
            self._sequences.setdefault(session.id, []).append(session.sequence)

    def number(self, session_id: str, sequence: int) -> int:
        """Return the number of ticks that a session has got up to a sequence."""
        return bisect_right(self._sequences.get(session_id, ()), sequence)

    def tick(self, session_id: str, number: int) -> int:
        """Return the tick that was the dispatch of that number in a session."""
        return self._first[session_id] + number - 1
