"""Tables of a fleet's members and shards."""

from __future__ import annotations

import io

from rich.console import Console

from gateway_cli.fleet_tables import fleet_tables
from gateway_cli.fleet_view import FleetView
from gateway_proto.fleet import Generation, MemberRecord, ShardStatus


def table(**records: MemberRecord) -> dict[str, bytes]:
    return {name: record.to_bytes() for name, record in records.items()}


def shown(view: FleetView) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=80).print(fleet_tables(view))
    return [line.rstrip() for line in file.getvalue().splitlines()]


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
    assert any(line.startswith("   11 a-l..-01234567 ") for line in shown(view))
