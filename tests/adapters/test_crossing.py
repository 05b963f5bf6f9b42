"""Part of one generation's shards in the change to another number of shards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from gateway_fleet._crossing import Crossing
from gateway_proto import Ready, State
from gateway_proto.fleet import GenerationRole
from gateway_proto.server import Server, ServerConfig
from tests.adapters.support import KITS, Kit, adapter_config

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def test_lost_shard_is_emptied_while_an_iteration_has_not_ended(kit: Kit) -> None:
    none: Any = None

    async def main() -> None:
        server = Server(ServerConfig(shards=1))
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(server) as serving,
            kit.adapter.open_shards(adapter_config(serving)) as shards,
            anyio.create_task_group() as group,
        ):

            async def iterate() -> None:
                async for _, event in shards:
                    if isinstance(event, Ready):
                        await anyio.sleep_forever()

            group.start_soon(iterate)
            while not shards.gateways or shards.gateways[0].state is not State.READY:
                await kit.sleep(0.01)
            gateway = shards.gateways[0]
            serving.dispatch("NUMBER", 7)
            while not gateway.unhandled_events:
                await kit.sleep(0.01)
            await shards.remove(0)
            crossing = Crossing(GenerationRole.ENTERING, {}, none, none, publish=True)
            crossing.untaken = [(0, none), (1, none)]

            crossing.discard(SimpleNamespace(shard_id=0, gateway=gateway))  # type: ignore[arg-type]

            assert gateway.unhandled_events == 0
            assert crossing.untaken == [(1, none)]
            group.cancel_scope.cancel()

    kit.run(main)
