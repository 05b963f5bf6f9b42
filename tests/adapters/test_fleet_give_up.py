"""A shard of a fleet that gives up, and what the next owner of a shard knows about its session."""

from __future__ import annotations

from types import SimpleNamespace

import anyio
import pytest
import trio.testing

from gateway_fleet import MemoryStore, find_fleet, open_fleet
from gateway_fleet._owner import ShardOwner
from gateway_fleet._shard_report import ShardReport
from gateway_fleet._store_failures import StoreFailures
from gateway_proto import Closed, GaveUp, GaveUpError, State
from gateway_proto.fleet import FleetMetrics, LogHead, MemberRecord
from tests.adapters.fleet_members import FAST, Bench, run, until
from tests.adapters.support import KITS, Kit

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("kit", KITS, ids=str)]


def _close(bench: Bench, code: int) -> None:
    """Close the connection of shard 0."""
    for connection in bench.server.connections:
        if connection.session is not None and connection.session.shard == (0, 2):
            connection.close(code, now=bench.serving.now())
            connection.on_wake()


@pytest.mark.parametrize("publish", [True, False])
def test_member_ends_once_one_of_its_shards_gives_up(kit: Kit, publish: bool) -> None:
    async def body(bench: Bench) -> None:
        events = []

        async def close_one() -> None:
            await until(lambda: bench.received["Identify"] == 2)
            await anyio.sleep(0.2)
            _close(bench, 4004)

        async with anyio.create_task_group() as group:
            group.start_soon(close_one)
            with pytest.raises(GaveUpError, match=r"^shard 0: .*4004"):
                async with open_fleet(bench.config, bench.store, publish=publish, **FAST) as fleet:
                    async for shard_id, event in fleet:
                        if isinstance(event, GaveUp | Closed):
                            events.append((type(event), shard_id))

        assert sum(type_ is GaveUp for type_, _ in events) == 1
        assert {shard_id for type_, shard_id in events if type_ is Closed} >= {0, 1}
        other = await bench.start()
        await bench.until_owned((other, 2))

    run(kit, 2, body)


def test_iteration_ends_silently_if_asked_when_a_shard_gives_up(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(raise_on_give_up=False)
        await bench.until_owned((one, 2))

        _close(bench, 4014)

        await until(lambda: one.is_over)

    run(kit, 2, body)


@pytest.mark.parametrize(
    ("state", "seconds"),
    [(State.READY, 0.0), (State.IDENTIFYING, 40.0), (State.RESUMING, 10.0)],
)
def test_release_waits_for_ready_and_ten_seconds_for_resumed(
    kit: Kit, state: State, seconds: float
) -> None:
    async def main() -> float:
        report = ShardReport(0, FleetMetrics(), StoreFailures(), reason="", ready_at=None)
        claim = LogHead(1, "claim", "me")
        owner = ShardOwner(0, "me", claim, MemoryStore(), report, keep_events=True)
        owner.gateway = SimpleNamespace(state=state)

        async def answer() -> None:
            await anyio.sleep(39.99)
            owner.gateway.state = State.READY

        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(answer)
            await owner.until_settled()
            group.cancel_scope.cancel()
        return anyio.current_time() - began

    clock = trio.testing.MockClock(autojump_threshold=0)  # on any loop it is the same code

    waited = anyio.run(main, backend="trio", backend_options={"clock": clock})

    assert waited == pytest.approx(seconds, abs=0.03)


def test_session_age_is_known_to_the_next_owner(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        one = await bench.start(member="one")
        await bench.until_owned((one, 2))
        await anyio.sleep(0.5)  # until a heartbeat has reported the sessions
        two = await bench.start(member="two")
        await bench.until_owned((one, 1), (two, 1))
        await anyio.sleep(0.5)
        found = await find_fleet(bench.store, bench.config.token)
        assert found is not None

        table = await found[0].heartbeat("reader", b"x")

        (moved,) = MemberRecord.from_bytes(table["two"]).shards.values()
        assert moved.reason == "moved from one"
        assert moved.owned_for is not None
        assert moved.session_age is not None
        assert moved.session_age > moved.owned_for + 0.1

    run(kit, 2, body)
