"""Tables of a fleet's members and shards, which fit a terminal, under a summary."""

from __future__ import annotations

from collections import Counter

from rich.table import Table
from rich.text import Text

from gateway_cli.escaping import escape
from gateway_cli.fitted_table import (
    Column,
    fitted_table,
    shortened_at_the_end,
    shortened_in_the_middle,
)
from gateway_cli.fleet_view import FleetView, MemberRow, ShardRow

__all__ = ["fleet_tables"]

_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))
_SIZES = ((10**6, "M"), (10**3, "k"))
_READY, _NOT_OWNED, _SILENT = "ready", "not owned", "no heartbeat"
_RANKS = {_NOT_OWNED: 0, _SILENT: 0, _READY: 2}
_MIN_ROWS = 3
"""Rows of each table that are shown on the smallest screen."""
_MEMBER_COLUMNS = (
    Column("member", shorten=shortened_in_the_middle, least=48),
    Column("shards", right=True),
    Column("version", shorten=shortened_at_the_end, least=16, dropped=1),
    Column("draining", dropped=2),
    Column("last heartbeat"),
)
_SHARD_COLUMNS = (
    Column("shard", right=True),
    Column("owner", shorten=shortened_in_the_middle, least=14),
    Column("state", shorten=shortened_at_the_end, least=12),
    Column("session", right=True, dropped=2),
    Column("sequence", right=True, dropped=1),
    Column("pending", right=True, dropped=3),
    Column("ping", right=True, dropped=5),
    Column("last move", shorten=shortened_at_the_end, least=12, dropped=4),
)


def fleet_tables(
    view: FleetView, *, width: int = 80, height: int | None = None, note: str = ""
) -> Table:
    """Return the tables of members and shards below one another, under a summary.

    If they have more than `height` lines, healthy members and shards are left out, and those that
    do not fit. None: all are shown.
    """
    members, shards = view.members(), view.shards()
    silent = {row.member for row in members if not row.alive}
    whole = Table.grid()
    summary = _summary(view, members, shards, silent)
    if view.change is not None:
        summary.append(Text(escape(view.change.text), style="yellow"))
    if note:
        summary.append(Text(escape(note), style="bold red"))
    for line in summary:
        whole.add_row(line)
    hidden_members = hidden_shards = ""
    # Two empty lines, two headings, and the line of the prompt.
    room = None if height is None else height - len(summary) - 5
    if room is not None and len(members) + len(shards) > room:
        # Two lines say what is left out.
        room = max(room - 2, 2 * _MIN_ROWS)
        all_members, count = members, len(shards)
        shards = [row for row in shards if _state(row, silent) != _READY]
        if len(members) > max(room - len(shards), room // 2):
            members = [row for row in members if row.draining or not row.alive]
            members = members[: max(room - len(shards), room // 2)]
        shards = shards[: room - len(members)]
        hidden_members = _hidden_members([row for row in all_members if row not in members])
        hidden_shards = _hidden(count - len(shards), "shards")
    whole.add_row(Text())
    whole.add_row(fitted_table(_MEMBER_COLUMNS, map(_of_member, members), width))
    if hidden_members:
        whole.add_row(Text(hidden_members, style="dim"))
    whole.add_row(Text())
    if shards or not hidden_shards:
        rows = (_of_shard(row, silent) for row in shards)
        whole.add_row(fitted_table(_SHARD_COLUMNS, rows, width))
    if hidden_shards:
        whole.add_row(Text(hidden_shards, style="dim"))
    return whole


def _summary(
    view: FleetView, members: list[MemberRow], shards: list[ShardRow], silent: set[str]
) -> list[Text]:
    states = Counter(_state(row, silent) for row in shards)
    owned = len(shards) - states[_NOT_OWNED] - states[_SILENT]
    alive = len(members) - len(silent)
    present = sum(not row.has_left for row in members)
    of_states = [
        Text(f"{count} {state}", style=_style(state))
        # Those that need an operator come first.
        for state, count in sorted(states.items(), key=lambda item: (_RANKS.get(item[0], 1), item))
    ]
    pending = sum(row.status.pending for row in shards)
    worst = max(shards, key=lambda row: row.status.latency or 0.0)
    ping = ""
    if worst.status.latency is not None:
        ping = f"worst ping {_ping(worst.status.latency)} (shard {worst.shard}), "
    return [
        Text(
            f"bot {escape(view.bot)}: {owned} of {view.generation.count} shards owned, "
            f"{alive} of {present} members alive"
        ),
        Text("shards: ") + Text(", ").join(of_states),
        Text(f"{ping}{_size(pending)}B pending"),
    ]


def _hidden(count: int, what: str) -> str:
    return f"{count} more {what}: --all shows them" if count else ""


def _hidden_members(rows: list[MemberRow]) -> str:
    if not rows:
        return ""
    numbers = sorted(len(row.shards) for row in rows)
    return _hidden(len(rows), f"members with {numbers[0]} to {numbers[-1]} shards each")


def _state(row: ShardRow, silent: set[str]) -> str:
    if row.owner is None:
        return _NOT_OWNED
    if row.owner in silent:
        return _SILENT
    return escape(row.status.state) or "-"


def _style(state: str) -> str:
    if state in (_NOT_OWNED, _SILENT):
        return "bold red"
    return "green" if state == _READY else ""


def _of_member(row: MemberRow) -> list[Text]:
    age = row.heartbeat_age
    seen = "none seen" if age is None else f"{_span(age)} ago"
    return [
        Text(escape(row.member)),
        Text(str(len(row.shards))),
        Text(escape(row.version)),
        Text("yes", style="yellow") if row.draining else Text("no"),
        Text("left") if row.has_left else Text(seen, style="" if row.alive else "red"),
    ]


def _of_shard(row: ShardRow, silent: set[str]) -> list[Text]:
    status, state = row.status, _state(row, silent)
    cells = [str(row.shard), "-", "", "-", "-", "-", "-", "-"]
    if row.owner is not None:
        moved = f"{_span(status.owned_for)}, {escape(status.reason)}"
        cells[1] = escape(row.owner)
        cells[3:] = [
            _span(status.session_age),
            str(status.sequence),
            _size(status.pending),
            "-" if status.latency is None else _ping(status.latency),
            "-" if status.owned_for is None else moved,
        ]
    texts = [*map(Text, cells)]
    texts[2] = Text(state, style=_style(state))
    return texts


def _ping(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"


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
