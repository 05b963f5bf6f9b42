"""Lookup, identify slots and restarts of shards, with both adapters."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from gateway_proto import (
    Config,
    DialFailed,
    Dispatch,
    GatewayFound,
    GaveUp,
    GaveUpError,
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    LocalProtocolError,
    Ready,
    Resumed,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server, ServerConfig
from gateway_proto.shards import ShardManager
from tests.adapters.support import (
    KITS,
    Kit,
    events_of_shards,
    lookup_config,
    running_shards,
    shards_config,
)

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def _no_server() -> str:
    """Return the authority of a port without listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    return f"{host}:{port}"


# ----- the lookup -----


def test_events_of_a_failing_lookup_are_delivered(kit: Kit) -> None:
    async def main() -> None:
        config = Config(
            token="t", intents=0, api_url=f"http://{_no_server()}", backoff_initial=0.01
        )
        failed = 0
        async with kit.limit(), kit.adapter.open_shards(config) as shards:
            with pytest.raises(LocalProtocolError, match="no plan yet"):
                _ = shards.plan
            with pytest.raises(LocalProtocolError, match="no plan yet"):
                shards.of_guild(1)
            with pytest.raises(LocalProtocolError, match="no plan yet"):
                await shards.restart(0)
            async for shard_id, event in shards:
                assert shard_id is None
                failed += isinstance(event, DialFailed)
                if failed == 3:
                    break
            assert dict(shards.gateways) == {}

    kit.run(main)


def test_failed_lookup_raises_its_reason(kit: Kit) -> None:
    async def main() -> None:
        authority = _no_server()
        config = Config(token="t", intents=0, api_url=f"http://{authority}", dial_attempts=1)
        async with kit.limit(), kit.adapter.open_shards(config) as shards:
            with pytest.raises(GaveUpError, match="could not connect to"):
                await shards.planned()
            came = []
            with pytest.raises(GaveUpError, match="could not connect to"):
                async for item in shards:
                    came.append(item)
            assert [shard_id for shard_id, _ in came] == [None] * len(came)
            assert isinstance(came[-1][1], GaveUp)
            assert shards.gave_up
        async with (
            kit.limit(),
            kit.adapter.open_shards(config, raise_on_give_up=False) as shards,
        ):
            assert [type(event) async for _, event in shards][-1] is GaveUp

    kit.run(main)


def test_lookup_of_too_many_shards_raises_in_the_iteration(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=10**9))
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            with pytest.raises(LocalProtocolError, match="the lookup asks for 1000000000 shards"):
                async with kit.adapter.open_shards(lookup_config(serving)) as shards:
                    async for _ in shards:
                        pass
            with pytest.raises(LocalProtocolError, match="the lookup asks for 1000000000 shards"):
                async with kit.adapter.open_shards(lookup_config(serving)) as shards:
                    while shards._failure is None:
                        await kit.sleep(0.01)
            async with kit.adapter.open_shards(lookup_config(serving)) as shards:
                for _ in range(2):
                    with pytest.raises(LocalProtocolError, match="the lookup asks for"):
                        await shards.planned()

    kit.run(main)


def test_exception_in_identify_slots_is_raised_by_the_iteration(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(manager: ShardManager) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ShardManager, "next_timer", fail)

    async def main() -> None:
        async with running_shards(kit, 1) as (_, shards):
            with pytest.raises(ZeroDivisionError):
                await events_of_shards(shards, Ready, 1)

    kit.run(main)


def test_shards_stopped_during_the_lookup_end(kit: Kit) -> None:
    async def main() -> None:
        config = Config(
            token="t", intents=0, api_url=f"http://{_no_server()}", backoff_initial=60.0
        )
        async with kit.limit(), kit.adapter.open_shards(config) as shards:
            async for _, event in shards:
                if isinstance(event, DialFailed):
                    break
            await shards.stop()
            async for _, event in shards:
                assert not isinstance(event, GaveUp)
            with pytest.raises(LocalProtocolError, match="stopped before the lookup"):
                await shards.planned()

    kit.run(main)


def test_planned_waits_for_the_lookup_response(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 3) as (_, shards):
            plan = await shards.planned()
            assert (plan.count, plan.ids) == (3, (0, 1, 2))
            assert set(shards.gateways) == {0, 1, 2}
            async for shard_id, event in shards:
                if isinstance(event, GatewayFound):
                    assert shard_id is None
                    break

    kit.run(main)


# ----- identify slots -----


def test_gateway_identifies_when_its_slot_is_granted(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(
                shards_config(serving, wait_for_identify_slot=True, shard=(1, 4), hello_timeout=0.2)
            ) as gateway,
        ):
            assert gateway.grant_identify() is False
            async for event in gateway:
                if isinstance(event, IdentifySlotNeeded):
                    break
            await kit.sleep(0.5)
            assert gateway.state is State.AWAITING_HELLO, "waiting for a slot has no time limit"
            assert gateway.grant_identify() is True
            assert gateway.grant_identify() is False
            async for event in gateway:
                if isinstance(event, Ready):
                    break
            assert gateway.grant_identify() is False

    kit.run(main)


def test_identify_grant_without_ask_to_identify_raises(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 1) as (_, shards):
            await events_of_shards(shards, Ready, 0)
            with pytest.raises(
                LocalProtocolError, match=r"Config\.wait_for_identify_slot is False"
            ):
                shards.gateways[0].grant_identify()

    kit.run(main)


def test_shards_identify_in_the_order_of_granted_slots(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 3, wait_for_identify_slot=True) as (_, shards):
            await events_of_shards(shards, IdentifySlotNeeded, 0, 1, 2)
            for shard_id in (2, 0, 1):
                assert shards.gateways[shard_id].grant_identify() is True
                assert [*await events_of_shards(shards, Ready, shard_id)] == [shard_id]
                states = [gateway.state for gateway in shards.gateways.values()]
                assert states.count(State.READY) == {2: 1, 0: 2, 1: 3}[shard_id]

    kit.run(main)


@pytest.mark.parametrize("ask", [False, True])
def test_spent_identify_budget_is_reported_with_its_reset(kit: Kit, ask: bool) -> None:
    async def main() -> None:
        server = Server(ServerConfig(identifies_per_day=1, max_concurrency=16))
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            config = lookup_config(serving, wait_for_identify_slot=ask)
            async with kit.adapter.open_shards(config, count=2) as shards:
                if ask:
                    await events_of_shards(shards, IdentifySlotNeeded, 0, 1)
                    assert shards.gateways[0].grant_identify() is True
                    assert shards.gateways[1].grant_identify() is False
                async for _, spent in shards:
                    if isinstance(spent, IdentifyBudgetSpent):
                        break
            assert 86000 < spent.seconds <= 86400
            async with kit.adapter.open_gateway(
                lookup_config(serving, use_gateway_bot=True, wait_for_identify_slot=ask)
            ) as gateway:
                async for event in gateway:
                    if isinstance(event, IdentifyBudgetSpent):
                        break
                assert "0 of 1 sessions remain" in event.reason
                assert 86000 < event.seconds <= 86400
                assert gateway.gave_up is None

    kit.run(main)


# ----- restart -----


@pytest.mark.slow
@pytest.mark.parametrize(("keep_session", "type_"), [(True, Resumed), (False, Ready)])
def test_restarted_shard_resumes_or_identifies_as_requested(
    kit: Kit, keep_session: bool, type_: Any
) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (_, shards):
            first = await events_of_shards(shards, Ready, 0, 1)
            gateway, other = shards.gateways[1], shards.gateways[0]

            await shards.restart(1, keep_session=keep_session)
            back = await events_of_shards(shards, type_, 1)

            assert shards.gateways[1] is gateway
            await gateway.send(UpdatePresence())
            gateway.handled()
            is_same = shards.sessions[1].id == first[1].session_id
            assert is_same is keep_session
            assert back
            assert other.state is State.READY

    kit.run(main)


@pytest.mark.slow
def test_stopped_or_failed_shard_can_be_started_again(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (serving, shards):
            await events_of_shards(shards, Ready, 0, 1)
            await shards.gateways[0].stop()
            connection = next(c for c in serving.server.connections if c.session.shard == (1, 2))
            connection.close(4004, now=serving.now())
            connection.on_wake()
            await events_of_shards(shards, GaveUp, 1)
            assert shards.gateways[1].gave_up

            await shards.restart(0)
            await shards.restart(1)

            assert [*await events_of_shards(shards, Resumed, 0)] == [0]
            assert shards.gateways[1].gave_up is None
            await shards.gateways[1].send(UpdatePresence())
            assert shards.gateways[1].state is State.READY

    kit.run(main)


def test_events_before_a_restart_are_delivered_first(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 1) as (serving, shards):
            await events_of_shards(shards, Ready, 0)
            shards.gateways[0].handled()
            for number in range(5):
                serving.dispatch("NUMBER", number)
            while shards.gateways[0]._client.session.sequence < 6:
                await kit.sleep(0.01)
            await shards.restart(0)
            assert shards.sessions[0].sequence == 1, "as of the handled events"
            serving.dispatch("NUMBER", 5)
            numbers = []
            async for _, event in shards:
                if isinstance(event, Dispatch) and event.name == "NUMBER":
                    numbers.append(event.data)
                if numbers and numbers[-1] == 5:
                    break
            assert numbers == [0, 1, 2, 3, 4, 5]

    kit.run(main)


def test_concurrent_restarts_of_one_shard_are_sequential(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (serving, shards):
            await events_of_shards(shards, Ready, 0, 1)

            async def restart() -> None:
                await shards.restart(0)

            async with kit.together(restart), kit.together(restart), kit.together(restart):
                await shards.restart(1)
            while shards.gateways[0].state is not State.READY:
                await events_of_shards(shards, Resumed, 0)
            assert shards.gateways[0].state is State.READY
            shard_ids = [c.session.shard[0] for c in serving.server.connections if c.session]
            assert sorted(shard_ids).count(0) == 1

    kit.run(main)


def test_shard_can_be_restarted_while_dialing_or_waiting(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2, wait_for_identify_slot=True) as (_, shards):
            await shards.planned()
            await shards.restart(0)
            await shards.restart(0, keep_session=False)
            await events_of_shards(shards, IdentifySlotNeeded, 1)
            await shards.restart(1)
            while not shards.gateways[1].grant_identify():
                await events_of_shards(shards, IdentifySlotNeeded, 1)
            await events_of_shards(shards, Ready, 1)

    kit.run(main)


def test_iteration_continues_while_the_only_shard_restarts(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 1) as (_, shards):
            await events_of_shards(shards, Ready, 0)

            async def restart() -> None:
                await shards.restart(0)

            async with kit.together(restart):
                await events_of_shards(shards, Resumed, 0)

    kit.run(main)
