"""Shards added, removed and restarted while others run, with both adapters."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway_proto import (
    Dispatch,
    Identify,
    IdentifySlotNeeded,
    LocalProtocolError,
    Ready,
    Resumed,
    State,
)
from gateway_proto.server import Server, ServerConfig
from gateway_proto.shards import IdentifyQueue
from tests.adapters.support import (
    KITS,
    Kit,
    events_of_shards,
    lookup_config,
    running_shards,
    shards_config,
)

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def test_removed_shard_is_added_again_with_its_session(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 3) as (serving, shards):
            await events_of_shards(shards, Ready, 0, 1, 2)
            shards.gateways[1].handled()
            serving.dispatch("NUMBER", 7, to=lambda session: session.shard == (1, 3))
            while shards.gateways[1]._client.session.sequence < 2:
                await kit.sleep(0.01)

            session = await shards.remove(1)

            assert session.sequence == 2
            assert set(shards.gateways) == {0, 2}
            assert shards.plan.ids == (0, 2)
            assert shards.sessions[1].sequence == 1, "as of the handled events"
            with pytest.raises(LocalProtocolError, match="which is elsewhere"):
                shards.of_guild(1 << 22)
            async for shard_id, event in shards:  # queued events are still delivered
                if isinstance(event, Dispatch) and event.name == "NUMBER":
                    assert (shard_id, event.data) == (1, 7)
                    break
            await shards.add(1, session=session)
            await events_of_shards(shards, Resumed, 1)
            assert shards.sessions[1] == session
            assert shards.of_guild(1 << 22) is shards.gateways[1]

    kit.run(main)


@pytest.mark.slow
def test_shard_removed_without_its_session_leaves_no_session(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (_, shards):
            await events_of_shards(shards, Ready, 0, 1)
            assert await shards.remove(1, keep_session=False) is None
            assert set(shards.sessions) <= {0}
            await shards.add(1)
            await events_of_shards(shards, Ready, 1)

    kit.run(main)


def test_shard_added_with_a_session_keeps_the_order_of_handled(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (serving, shards):
            await events_of_shards(shards, Ready, 0, 1)
            old = await shards.remove(1)
            serving.dispatch("NUMBER", 1)  # kept for the resume
            await shards.add(1, session=old)
            await events_of_shards(shards, Resumed, 1)
            newer = await shards.remove(1)
            assert newer.sequence > old.sequence
            await shards.add(1, session=attrs_like(old))
            await events_of_shards(shards, Resumed, 1)
            assert shards.sessions[1].id == old.id

    def attrs_like(session: Any) -> Any:
        return type(session).from_json(session.to_json())

    kit.run(main)


def test_more_shards_of_the_plan_are_added_and_all_removed(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 4, ids=[0]) as (_, shards):
            await events_of_shards(shards, Ready, 0)
            await shards.add(3)
            await shards.add(2)
            assert shards.plan.ids == (0, 2, 3)
            ready = await events_of_shards(shards, Ready, 2, 3)
            assert ready[3].shard == (3, 4)
            for shard_id in (0, 2, 3):
                await shards.remove(shard_id)
            async for _ in shards:
                pass
            assert set(shards.sessions) == {0, 2, 3}
            await shards.add(1)
            await events_of_shards(shards, Ready, 1)

    kit.run(main)


def test_shards_can_be_stopped_while_one_is_removed(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (_, shards):
            await events_of_shards(shards, Ready, 0, 1)

            async def remove() -> None:
                await shards.remove(1)

            async with kit.together(remove):
                while shards.gateways[1].state is State.READY:
                    await kit.sleep(0)
                await shards.stop()
            async for _ in shards:
                pass
            assert set(shards.gateways) == {0}
            assert shards.gateways[0]._is_finished
            assert set(shards.sessions) == {0, 1}

    kit.run(main)


@pytest.mark.slow
def test_shards_that_wait_for_an_identify_slot_can_be_removed(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_shards(shards_config(serving), count=3) as shards,
        ):
            asking, ready = set(), set()
            async for shard_id, event in shards:
                if isinstance(event, IdentifySlotNeeded):
                    asking.add(shard_id)
                if isinstance(event, Ready):
                    ready.add(shard_id)
                if len(asking) == 3 and ready:
                    break
            # The first to arrive identifies at once, whichever it is; the others follow by id.
            waiting, last = sorted(asking - ready)

            assert await shards.remove(last) is None

            await events_of_shards(shards, Ready, waiting)
            assert len(serving.server.sessions) == 2

    kit.run(main)


def test_invalid_changes_raise_and_have_no_effect(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (_, shards):
            await events_of_shards(shards, Ready, 0, 1)
            for wrong in (
                shards.add(0),
                shards.add(2),
                shards.add(-1),
                shards.add("1"),
                shards.add(True),
                shards.restart(2),
                shards.restart(None),
                shards.remove(2),
                shards.remove([]),
            ):
                with pytest.raises(LocalProtocolError, match="shard_id"):
                    await wrong
            await shards.remove(1)
            for wrong in (shards.restart(1), shards.remove(1)):
                with pytest.raises(LocalProtocolError, match="invalid shard_id 1: it is not here"):
                    await wrong
            with pytest.raises(LocalProtocolError, match="invalid session"):
                await shards.add(1, session="text")
            assert set(shards.gateways) == {0}
            assert shards.gateways[0].state is State.READY
        for wrong in (shards.restart(0), shards.add(1), shards.remove(0)):
            with pytest.raises(LocalProtocolError, match="open_shards was left"):
                await wrong

    kit.run(main)


def test_leaving_during_a_restart_starts_no_shard(kit: Kit) -> None:
    async def main() -> None:
        refused = []

        async def restart() -> None:
            while not ready:
                await kit.sleep(0.001)
            try:
                await ready[0].restart(0)
            except LocalProtocolError as error:
                refused.append(str(error))

        ready: list[Any] = []
        server = Server(ServerConfig(shards=1))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.together(restart),
        ):
            async with kit.adapter.open_shards(lookup_config(serving)) as shards:
                await events_of_shards(shards, Ready, 0)
                ready.append(shards)
                while shards.gateways[0].state is State.READY:
                    await kit.sleep(0)
            await kit.sleep(0.3)
            assert all(gateway._is_finished for gateway in shards.gateways.values())
        assert refused in ([], ["the shards are closed: open_shards was left"])

    kit.run(main)


def test_stopped_shards_can_be_started_one_by_one(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (_, shards):
            await events_of_shards(shards, Ready, 0, 1)
            await shards.stop()
            async for _ in shards:
                pass
            await shards.restart(1)
            await events_of_shards(shards, Resumed, 1)
            assert shards.gateways[1].state is State.READY
            assert shards.gateways[0].state is None

    kit.run(main)


def test_shards_without_ids_wait_for_add_until_stop(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2, ids=()) as (_, shards):
            assert (await shards.planned()).ids == ()
            ready = []

            async def iterate() -> None:
                async for shard_id, event in shards:
                    if isinstance(event, Ready):
                        ready.append(shard_id)

            async with kit.together(iterate):
                await shards.add(1)
                while not ready:
                    await kit.sleep(0.01)
                session = await shards.remove(1)
                await shards.add(0)
                while len(ready) < 2:
                    await kit.sleep(0.01)
                await shards.remove(0)
                await kit.sleep(0.05)
                await shards.stop()
            assert ready == [1, 0]
            assert session.shard == (1, 2)

    kit.run(main)


def test_dial_follows_the_return_of_before_dial(kit: Kit) -> None:
    async def main() -> None:
        asked, is_allowed = [], False

        async def before_dial(shard_id: int | None, dial: Any) -> None:
            asked.append((shard_id, dial.purpose.value))
            while shard_id == 1 and not is_allowed:
                await kit.sleep(0.01)

        async with running_shards(kit, 2, before_dial=before_dial) as (serving, shards):
            await events_of_shards(shards, Ready, 0)
            await kit.sleep(0.1)
            assert len(serving.server.sessions) == 1
            assert shards.gateways[1].state is None
            is_allowed = True
            await events_of_shards(shards, Ready, 1)
            is_allowed = False
            serving.drop()
            await events_of_shards(shards, Resumed, 0)
            await shards.stop()
            assert shards.gateways[1].state is None, "stop ended the wait"
        assert asked[0] == (None, "lookup")
        assert sorted(asked[1:]) == [(n, how) for n in (0, 1) for how in ("identify", "resume")]

    kit.run(main)


def test_exception_of_before_dial_ends_the_gateway(kit: Kit) -> None:
    async def main() -> None:
        async def before_dial(dial: Any) -> None:
            raise OSError("no lease")

        config = shards_config(_Nowhere())
        with pytest.raises(OSError, match="no lease"):
            async with kit.adapter.open_gateway(config, before_dial=before_dial) as gateway:
                async for _ in gateway:
                    pass
        with pytest.raises(LocalProtocolError, match="invalid before_dial 5: expected an async f"):
            async with kit.adapter.open_gateway(config, before_dial=5):
                pass

    kit.run(main)


class _Nowhere:
    url = "ws://127.0.0.1:1"


def test_two_managers_share_the_slots_of_one_queue(kit: Kit) -> None:
    async def main() -> None:
        times = []

        def on_event(_: Any, event: Any) -> None:
            if isinstance(event, Identify):
                times.append(time.monotonic())

        server = Server(ServerConfig(shards=2))
        queue = IdentifyQueue(seconds=1.0, margin=0.0)
        async with (
            kit.limit(20),
            kit.adapter.serve_gateway(server, on_event=on_event) as serving,
            kit.adapter.open_shards(lookup_config(serving), ids=[0], identify_queue=queue) as first,
            kit.adapter.open_shards(
                lookup_config(serving), ids=[1], identify_queue=queue
            ) as second,
        ):
            await events_of_shards(first, Ready, 0)
            await events_of_shards(second, Ready, 1)
        assert times[1] - times[0] > 0.5  # the first may have arrived late

    kit.run(main)


def test_queued_events_are_taken_without_waiting(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 2) as (serving, shards):
            await events_of_shards(shards, Ready, 0, 1)
            serving.dispatch("NUMBER", 7)
            await kit.sleep(0.3)

            numbers = []
            while (item := shards.next_nowait()) is not None:
                shard_id, event = item
                if isinstance(event, Dispatch) and event.name == "NUMBER":
                    numbers.append(shard_id)

            assert sorted(numbers) == [0, 1]
            assert shards.sessions[0].sequence == 2, "the last event was handled"

    kit.run(main)


def test_queued_events_are_taken_at_once(kit: Kit) -> None:
    async def main() -> None:
        async with running_shards(kit, 1) as (serving, shards):
            await events_of_shards(shards, Ready, 0)
            for number in range(5):
                serving.dispatch("NUMBER", number)
            await kit.sleep(0.3)

            numbers = []
            while (item := shards.next_events_nowait(2)) is not None:
                shard_id, events = item
                assert shard_id == 0
                assert len(events) <= 2
                numbers += [
                    event.data
                    for event in events
                    if isinstance(event, Dispatch) and event.name == "NUMBER"
                ]

            assert numbers == [0, 1, 2, 3, 4]
            with pytest.raises(LocalProtocolError, match="invalid most 0: expected an int"):
                shards.next_events_nowait(0)

    kit.run(main)
