"""Table of a server's connections: state, protocol, session and rates."""

from __future__ import annotations

import weakref

from rich.table import Table

from gateway_cli.escaping import escape
from gateway_cli.rate import Rate
from gateway_proto.server import Server, ServerConnection

__all__ = ["ServerTable"]

_ROWS = 15


class _Traffic:
    """Counters and rates of a connection."""

    def __init__(self) -> None:
        self.received = 0
        self.incoming = Rate()
        self.outgoing = Rate()


class ServerTable:
    """Table of connections, with counters of received events."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._traffic: weakref.WeakKeyDictionary[ServerConnection, _Traffic] = (
            weakref.WeakKeyDictionary()
        )

    def count(self, connection: ServerConnection) -> None:
        """Count an event of a connection."""
        self._of(connection).received += 1

    def measure(self, now: float) -> None:
        """Calculate the rates of the last ten seconds; `now` is seconds."""
        for connection in self._server.open_connections:
            traffic, session = self._of(connection), connection.session
            traffic.incoming.measure(traffic.received, now)
            if session is not None:
                traffic.outgoing.measure(session.sequence, now)

    def table(self) -> Table:
        """Return a row for each of the latest connections."""
        connections = self._server.open_connections
        table = Table(
            title=f"{len(connections)} connected, {len(self._server.sessions)} sessions",
            title_justify="left",
        )
        for name in ("#", "state", "protocol", "shard", "session"):
            table.add_column(name)
        for name in ("sequence", "in/s", "out/s", "waiting"):
            table.add_column(name, justify="right")
        for connection in connections[-_ROWS:]:
            session = connection.session
            traffic = self._of(connection)
            table.add_row(
                str(connection.number),
                connection.state.value,
                f"v{connection.version.number} {connection.encoding.value} "
                f"{connection.compression.value}",
                ""
                if session is None or session.shard is None
                else "/".join(map(str, session.shard)),
                "" if session is None else escape(f"{session.id[:8]}..."),
                "" if session is None else str(session.sequence),
                f"{traffic.incoming.value:.1f}",
                f"{traffic.outgoing.value:.1f}",
                f"{connection.buffered_bytes} B",
            )
        return table

    def _of(self, connection: ServerConnection) -> _Traffic:
        return self._traffic.setdefault(connection, _Traffic())
