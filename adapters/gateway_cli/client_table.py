"""Table of gateways: state, latency, rates and connections of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from gateway_cli.rate import Rate
from gateway_proto import Dispatch, Opened, Resumed, State
from gateway_proto.driver import BaseGateway

__all__ = ["ClientTable"]

_ROWS = 20
_NUMBERS = ("latency", "per s", "total", "sequence", "queued", "opened", "resumed")
_COLOURS = {State.READY: "green", None: "red", State.CLOSED: "red"}


class _Row:
    """Counters of one gateway."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rate = Rate()
        self.sequence: int | None = None

    def add(self, event: Any) -> None:
        """Count an event."""
        match event:
            case Dispatch():
                self.counts["dispatches"] += 1
                self.sequence = event.sequence if event.sequence is not None else self.sequence
                self.counts["resumes"] += isinstance(event, Resumed)
            case Opened():
                self.counts["connections"] += 1
            case _:
                pass


class ClientTable:
    """Table of gateways, with counters; `gateways` are by shard id, or one by None."""

    def __init__(self, gateways: Mapping[int | None, BaseGateway], *, now: float) -> None:
        self._gateways = gateways
        self._rows = {shard_id: _Row() for shard_id in gateways}
        self.measure(now)

    def count(self, shard_id: int | None, event: Any) -> None:
        """Count an event of a gateway."""
        self._rows[shard_id].add(event)

    def measure(self, now: float) -> None:
        """Calculate the rates of the last ten seconds; `now` is seconds."""
        for row in self._rows.values():
            row.rate.measure(row.counts["dispatches"], now)

    def table(self) -> Table:
        """Return a row for each gateway. If there are very many, those not in READY come first."""
        ready = sum(gateway.state is State.READY for gateway in self._gateways.values())
        rate = sum(row.rate.value for row in self._rows.values())
        title = f"{rate:.1f} dispatches/s"
        if None not in self._gateways:
            title = f"{ready} of {len(self._gateways)} shards ready, {title}"
        table = Table(title=title, title_justify="left")
        table.add_column("shard")
        table.add_column("state", min_width=11)
        for name in _NUMBERS:
            table.add_column(name, justify="right")
        by_need = sorted(self._gateways, key=lambda n: self._gateways[n].state is State.READY)
        for shard_id in by_need if len(by_need) > _ROWS else self._gateways:
            if table.row_count == _ROWS:
                table.caption = f"and {len(by_need) - _ROWS} more"
                break
            self._draw(table, shard_id)
        return table

    def _draw(self, table: Table, shard_id: int | None) -> None:
        gateway, row = self._gateways[shard_id], self._rows[shard_id]
        state, latency = gateway.state, gateway.latency
        colour = _COLOURS.get(state, "yellow")
        table.add_row(
            "-" if shard_id is None else str(shard_id),
            Text("none" if state is None else state.value, style=colour),
            "" if latency is None else f"{latency * 1000:.1f} ms",
            f"{row.rate.value:.1f}",
            str(row.counts["dispatches"]),
            "" if row.sequence is None else str(row.sequence),
            str(len(gateway.queued_commands)),
            str(row.counts["connections"]),
            str(row.counts["resumes"]),
        )
