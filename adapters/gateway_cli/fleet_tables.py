"""Tables of a fleet's members and shards, which fit 80 columns."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from gateway_cli.escaping import escape
from gateway_cli.fleet_view import FleetView, MemberRow, ShardRow

__all__ = ["fleet_tables"]

_NAME_WIDTH = 14
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))
_SIZES = ((10**6, "M"), (10**3, "k"))


def fleet_tables(view: FleetView, *, note: str = "") -> Table:
    """Return the tables of members and shards below one another, under a summary."""
    members, shards = view.members(), view.shards()
    silent = {row.member for row in members if not row.alive}
    owned = sum(row.owner is not None and row.owner not in silent for row in shards)
    present = sum(not row.has_left for row in members)
    whole = Table.grid()
    whole.add_row(
        Text(
            f"bot {escape(view.bot)}: {owned} of {view.generation.count} shards owned, "
            f"{len(members) - len(silent)} of {present} members alive"
        )
    )
    if view.change is not None:
        whole.add_row(Text(escape(view.change.text), style="yellow"))
    if note:
        whole.add_row(Text(escape(note), style="bold red"))
    whole.add_row(Text())
    whole.add_row(_members(members))
    whole.add_row(Text())
    whole.add_row(_shards(shards, silent))
    return whole


def _members(rows: list[MemberRow]) -> Table:
    table = _table()
    table.add_column("member", overflow="fold")
    table.add_column("shards", justify="right")
    table.add_column("version", max_width=16, overflow="ellipsis", no_wrap=True)
    table.add_column("draining")
    table.add_column("last heartbeat")
    for row in rows:
        age = row.heartbeat_age
        seen = "none seen" if age is None else f"{_span(age)} ago"
        table.add_row(
            escape(row.member),
            str(len(row.shards)),
            escape(row.version),
            Text("yes", style="yellow") if row.draining else "no",
            "left" if row.has_left else Text(seen, style="" if row.alive else "red"),
        )
    return table


def _shards(rows: list[ShardRow], silent: set[str]) -> Table:
    table = _table()
    table.add_column("shard", justify="right", no_wrap=True)
    for name in ("owner", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("session", "sequence", "pending", "ping"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last move")  # on two lines rather than the others shortened
    for row in rows:
        status = row.status
        if row.owner is None:
            table.add_row(str(row.shard), "-", Text("not owned", style="red"))
            continue
        state = Text(escape(status.state) or "-")
        if row.owner in silent:
            state = Text("no heartbeat", style="red")
        elif status.state == "ready":
            state.stylize("green")
        table.add_row(
            str(row.shard),
            _short(escape(row.owner)),
            state,
            _span(status.session_age),
            str(status.sequence),
            _size(status.pending),
            "-" if status.latency is None else f"{status.latency * 1000:.0f}ms",
            f"{_span(status.owned_for)}, {escape(status.reason)}"
            if status.owned_for is not None
            else "-",
        )
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def _short(name: str) -> str:
    """Shorten a name in the middle: its end is what differs within a host."""
    if len(name) <= _NAME_WIDTH:
        return name
    return f"{name[: _NAME_WIDTH - 11]}..{name[-9:]}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def _size(number: int) -> str:
    for size, unit in _SIZES:
        if number >= size:
            return f"{number / size:.0f}{unit}"
    return str(number)
