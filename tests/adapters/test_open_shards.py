"""Shards of one process: lookup, identify slots, events and errors, with both adapters."""

from __future__ import annotations

import time

import pytest

from gateway_proto import (
    Dispatch,
    GaveUp,
    GaveUpError,
    Identify,
    Ready,
    Resumed,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server, ServerConfig
from tests.adapters.support import (
    KITS,
    Kit,
    adapter_config,
)

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def test_shards_are_looked_up_identify_and_deliver_their_events(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=3, max_concurrency=3))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_shards(adapter_config(serving)) as shards,
        ):
            ready = set()
            async for shard_id, event in shards:
                if isinstance(event, Ready):
                    assert event.shard == (shard_id, 3)
                    ready.add(shard_id)
                if len(ready) == 3:
                    break
            assert shards.plan.count == 3
            assert len(shards.sessions) == 2, "all except the event being handled"
            gateway = shards.of_guild(1 << 22)
            assert gateway is shards.gateways[1]
            await gateway.send(UpdatePresence())
            serving.dispatch("HERE", 1, to=lambda session: session.shard == (2, 3))
            async for shard_id, event in shards:
                if isinstance(event, Dispatch) and event.name == "HERE":
                    assert shard_id == 2
                    break
            await shards.stop()
            async for _ in shards:
                pass
        # The last event counts as handled once the next is requested.
        assert {n: session.sequence for n, session in shards.sessions.items()} == {0: 1, 1: 1, 2: 2}

        # Another process resumes after the last handled event.
        received = []
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server, on_event=lambda _, e: received.append(e)) as serving,
            kit.adapter.open_shards(adapter_config(serving), sessions=shards.sessions) as again,
        ):
            resumed = set()
            async for shard_id, event in again:
                if isinstance(event, Resumed):
                    resumed.add(shard_id)
                if len(resumed) == 3:
                    break
        assert not any(isinstance(event, Identify) for event in received)

    kit.run(main)


@pytest.mark.slow
def test_identify_slot_is_granted_automatically(kit: Kit) -> None:
    async def main() -> None:
        identified = []
        began = time.monotonic()
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(
                Server(), on_event=lambda _, e: identified.append(e)
            ) as serving,
            kit.adapter.open_shards(adapter_config(serving), count=2) as shards,
        ):
            ready = []
            async for shard_id, event in shards:
                if isinstance(event, Ready):
                    ready.append((shard_id, time.monotonic() - began))
                if len(ready) == 2:
                    break
        assert {shard_id for shard_id, _ in ready} == {0, 1}
        assert ready[1][1] >= 5.0
        assert sum(isinstance(event, Identify) for event in identified) == 2

    kit.run(main)


def test_end_of_one_shard_does_not_end_another(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(shards=2, max_concurrency=2))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_shards(adapter_config(serving)) as shards,
        ):
            ready = 0
            async for shard_id, event in shards:
                ready += isinstance(event, Ready)
                if ready == 2 and isinstance(event, Ready):
                    first = next(c for c in server.connections if c.session.shard == (0, 2))
                    first.close(4004, now=serving.now())
                    first.on_wake()
                if isinstance(event, GaveUp):
                    assert shard_id == 0
                    break
            assert shards.gateways[0].gave_up
            assert shards.gateways[1].state is State.READY

    kit.run(main)


def test_shards_raise_the_reason_of_a_failed_lookup(kit: Kit) -> None:
    async def main() -> None:
        server = Server(ServerConfig(tokens=frozenset({"other"})))
        async with kit.limit(), kit.adapter.serve_gateway(server) as serving:
            with pytest.raises(GaveUpError, match="is the token right"):
                async with kit.adapter.open_shards(adapter_config(serving)) as shards:
                    async for shard_id, _ in shards:
                        assert shard_id is None

    kit.run(main)


def test_exception_in_the_body_of_shards_is_raised_unchanged(kit: Kit) -> None:
    async def main() -> None:
        async with kit.limit(), kit.adapter.serve_gateway(Server()) as serving:
            with pytest.raises(ZeroDivisionError):
                async with kit.adapter.open_shards(adapter_config(serving)):
                    raise ZeroDivisionError

    kit.run(main)
