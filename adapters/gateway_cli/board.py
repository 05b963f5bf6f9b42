"""a server → a table: who is connected, how, and how much is going on."""

from __future__ import annotations

import weakref

from rich.table import Table

from gateway_proto import Server, ServerConnection

__all__ = ["Board"]

_ROWS = 15


class _Traffic:
    """What went over a connection, and how fast."""

    def __init__(self) -> None:
        self.received = 0
        self.rates = (0.0, 0.0)
        self._before = (0, 0)

    def measure(self, sent: int, seconds: float) -> None:
        """Rates since the last time."""
        received_before, sent_before = self._before
        # A connection that resumes begins in the middle of its session.
        sent_since = sent - sent_before if sent_before else 0
        self.rates = ((self.received - received_before) / seconds, sent_since / seconds)
        self._before = (self.received, sent)


class Board:
    """Counts what comes, and draws it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._traffic: weakref.WeakKeyDictionary[ServerConnection, _Traffic] = (
            weakref.WeakKeyDictionary()
        )
        self._measured_at = 0.0

    def count(self, connection: ServerConnection) -> None:
        """Something came on a connection."""
        self._of(connection).received += 1

    def measure(self, now: float) -> None:
        """Reckon the rates since the last time; `now` is seconds."""
        seconds = max(now - self._measured_at, 0.001)
        self._measured_at = now
        for connection in self._server.open_connections:
            session = connection.session
            sequence = 0 if session is None else session.sequence
            self._of(connection).measure(sequence, seconds)

    def table(self) -> Table:
        """A row for each connection, the latest of them."""
        connections = self._server.open_connections
        table = Table(
            title=f"{len(connections)} connected, {len(self._server.sessions)} sessions",
            title_justify="left",
        )
        for name in ("#", "state", "speaks", "shard", "session"):
            table.add_column(name)
        for name in ("sequence", "in/s", "out/s", "waiting"):
            table.add_column(name, justify="right")
        for connection in connections[-_ROWS:]:
            session = connection.session
            incoming, outgoing = self._of(connection).rates
            table.add_row(
                str(connection.number),
                connection.state.value,
                f"v{connection.dialect.version} {connection.encoding.value} "
                f"{connection.compression.value}",
                ""
                if session is None or session.shard is None
                else "/".join(map(str, session.shard)),
                "" if session is None else f"{session.id[:8]}...",
                "" if session is None else str(session.sequence),
                f"{incoming:.1f}",
                f"{outgoing:.1f}",
                f"{connection.waiting} B",
            )
        return table

    def _of(self, connection: ServerConnection) -> _Traffic:
        return self._traffic.setdefault(connection, _Traffic())
