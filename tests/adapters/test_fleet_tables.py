"""Tables of a fleet's members and shards."""

from __future__ import annotations

import io
from collections.abc import Collection

import pytest
from rich.cells import cell_len
from rich.console import Console

from gateway_cli.fleet_tables import fleet_tables
from gateway_cli.fleet_view import FleetView
from gateway_proto.fleet import Generation, MemberRecord, ShardStatus


def table(**records: MemberRecord) -> dict[str, bytes]:
    return {name: record.to_bytes() for name, record in records.items()}


def shown(view: FleetView, width: int = 80, height: int | None = None) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(fleet_tables(view, width=width, height=height))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def fleet(
    count: int, members: int = 2, *, absent: Collection[int] = (), resuming: Collection[int] = ()
) -> FleetView:
    """Return a fleet whose shards are READY, but for some."""
    view = FleetView("0123456789abcdef", Generation("g", count), 4.0)
    for n in (1, 2):
        records = {}
        for member in range(members):
            owned = [shard for shard in range(member, count, members) if shard not in absent]
            records[f"m{member}"] = MemberRecord(
                n,
                version="1",
                owns=dict.fromkeys(owned, 1),
                shards={
                    shard: ShardStatus(
                        state="resuming" if shard in resuming else "ready",
                        sequence=12345678,
                        pending=3,
                        latency=0.010 + shard / 10_000,
                        session_age=7200,
                        owned_for=60,
                        reason="taken over from a-long-host-name-1234567-01234567",
                    )
                    for shard in owned
                },
            )
        view.observe(table(**records), now=float(n))
    return view


def shards_in(lines: list[str]) -> list[int]:
    """Return the shards that have a row."""
    rows = lines[[line.startswith("shard ") for line in lines].index(True) + 1 :]
    return [int(row.split()[0]) for row in rows if "more shards" not in row]


def test_member_that_has_left_is_not_waited_for_nor_counted() -> None:
    view = FleetView("b", Generation("g", 1), 4.0)
    left = MemberRecord(9, draining=True, version="1")
    dead = MemberRecord(9, owns={0: 1}, draining=True, version="1")

    view.observe(table(left=left, one=MemberRecord(1)), now=0.0)
    assert not view.has_seen_all
    view.observe(table(left=left, one=MemberRecord(2)), now=1.0)
    assert view.has_seen_all
    view.observe(table(left=left, dead=dead, one=MemberRecord(3)), now=2.0)
    view.observe(table(left=left, dead=dead, one=MemberRecord(4)), now=7.0)

    lines = shown(view)
    assert lines[0] == "bot b: 0 of 1 shards owned, 1 of 2 members alive"
    assert "left        0 1       yes      left" in lines
    assert "dead        1 1       yes      5s ago" in lines


def test_member_that_is_draining_is_alive() -> None:
    view = FleetView("b", Generation("g", 1), 4.0)
    for n in (1, 2):
        view.observe(table(one=MemberRecord(n, draining=True, version="1")), now=float(n))

    assert [row.has_left for row in view.members()] == [False]
    assert "one         0 1       yes      0s ago" in shown(view)


def test_tables_fit_80_columns() -> None:
    view = FleetView("0123456789abcdef", Generation("g", 12), 4.0)
    status = ShardStatus(
        state="resuming",
        sequence=123456789,
        pending=999_999,
        latency=9.999,
        session_age=86400.0 * 300,
        owned_for=86400.0 * 300,
        reason="taken over from a-long-host-name-1234567-01234567",
    )
    name = "a-long-host-name-1234567-01234567"
    view.observe({name: MemberRecord(1, owns={11: 1}, shards={11: status}).to_bytes()}, now=0.0)

    assert max(map(len, shown(view))) <= 80
    assert len(shown(view)) == 3 + 2 + 2 + 1 + 12, "no row is wrapped"
    assert any(line.startswith("   11 a-l..-01234567 ") for line in shown(view))


def test_summary_counts_states_pings_and_pending_bytes() -> None:
    view = fleet(1000, absent=[5], resuming=[7, 900])

    assert shown(view, height=25)[:3] == [
        "bot 0123456789abcdef: 999 of 1000 shards owned, 2 of 2 members alive",
        "shards: 1 not owned, 2 resuming, 997 ready",
        "worst ping 110ms (shard 999), 3kB pending",
    ]


def test_fleet_without_owners_has_a_summary() -> None:
    view = FleetView("b", Generation("g", 3), 4.0)

    assert shown(view)[1:3] == ["shards: 3 not owned", "0B pending"]


def test_shards_that_fit_the_screen_are_all_shown() -> None:
    lines = shown(fleet(15), height=25)

    assert shards_in(lines) == [*range(15)]
    assert len(lines) == 24
    assert "--all" not in "".join(lines)


def test_shards_that_are_not_ready_are_shown_if_not_all_fit() -> None:
    view = fleet(1000, absent=[5], resuming=[7, 900])

    lines = shown(view, height=25)

    assert shards_in(lines) == [5, 7, 900]
    assert lines[-1] == "997 more shards: --all shows them"
    assert shards_in(shown(fleet(100, resuming=[7]))) == [*range(100)]


def test_many_shards_that_are_not_ready_fit_the_screen() -> None:
    lines = shown(fleet(1000, resuming=range(500)), height=25)

    assert shards_in(lines) == [*range(13)]
    assert lines[-1] == "987 more shards: --all shows them"
    assert len(lines) == 23


def test_many_members_are_counted_and_the_dead_are_shown() -> None:
    view = fleet(1000, members=60, resuming=[7])
    dead = MemberRecord(9, owns={7: 9}, version="1")
    records = {name: record.to_bytes() for name, record in view._records.items()}
    view.observe({**records, "dead": dead.to_bytes()}, now=9.0)
    records = {
        name: MemberRecord(9, owns=record.owns, version="1", shards=record.shards).to_bytes()
        for name, record in view._records.items()
        if name != "dead"
    }
    view.observe({**records, "dead": dead.to_bytes()}, now=14.0)

    lines = shown(view, height=25)

    assert lines[5] == "dead        1 1       no       5s ago"
    assert lines[6] == "60 more members with 16 to 17 shards each: --all shows them"
    assert shards_in(lines) == [7]
    assert "no heartbeat" in lines[9]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (200, "shard owner state session sequence pending ping last move"),
        (80, "shard owner state session sequence pending ping last move"),
        (58, "shard owner state session pending ping last move"),
        (50, "shard owner state pending ping last move"),
        (40, "shard owner state ping last move"),
        (30, "shard owner state ping"),
    ],
)
def test_narrow_terminal_has_fewer_columns_and_no_wrapped_row(width: int, columns: str) -> None:
    lines = shown(fleet(4), width)

    heading = [" ".join(line.split()) for line in lines].index(columns)
    assert [line.split()[0] for line in lines[heading + 1 :]] == ["0", "1", "2", "3"]
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [1, 5, 10, 20])
def test_terminal_that_is_too_narrow_is_no_error(width: int) -> None:
    assert max(map(len, shown(fleet(4), width))) <= width


def test_long_name_of_a_member_replaces_its_version() -> None:
    name = f"{'a' * 37}-01234567"
    view = FleetView("b", Generation("g", 1), 4.0)
    view.observe({name: MemberRecord(1, version="1.2.3").to_bytes()}, now=0.0)

    lines = shown(view)

    assert lines[4].split() == ["member", "shards", "draining", "last", "heartbeat"]
    assert lines[5].split() == [name, "0", "no", "none", "seen"]


def test_wide_characters_of_a_name_are_measured() -> None:
    name = "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 60
    view = FleetView("b", Generation("g", 1), 4.0)
    view.observe({name: MemberRecord(1, owns={0: 1}).to_bytes()}, now=0.0)

    lines = shown(view)

    assert max(map(cell_len, lines)) <= 80
    assert len(lines) == 9
