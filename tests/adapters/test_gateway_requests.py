"""Requests and queued commands of a gateway, with both adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from gateway_proto import (
    Dial,
    DialPurpose,
    Dispatch,
    GuildMembers,
    LocalProtocolError,
    Ready,
    RequestError,
    RequestGuildMembers,
    UpdateVoiceState,
)
from gateway_proto.server import Server, ServerConnection, ServerEvent
from tests.adapters.support import (
    KITS,
    PATIENCE,
    Kit,
    adapter_config,
    wait_for_event,
)

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def _answering(serving_box: list[Any]) -> Callable[[ServerConnection, ServerEvent], None]:
    """Return a callback that answers members requests in two chunks."""

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        if not isinstance(event, RequestGuildMembers) or event.guild_id == "404":
            return
        for index in range(2):
            d = {
                "guild_id": event.guild_id,
                "nonce": event.nonce,
                "members": [index],
                "chunk_index": index,
                "chunk_count": 2,
            }
            connection.send(Dispatch.of("GUILD_MEMBERS_CHUNK", d), now=serving_box[0].now())

    return on_event


def test_request_is_awaited_with_its_complete_answer(kit: Kit) -> None:
    box: list[Any] = []

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server(), on_event=_answering(box)) as serving,
            kit.adapter.open_gateway(adapter_config(serving), queue_limit=1) as gateway,
        ):
            box.append(serving)
            # No events are taken meanwhile, and the queue of one event is full.
            answer = await gateway.request(RequestGuildMembers("1", user_ids=["5"]))
            assert answer == GuildMembers("1", (0, 1))
            with pytest.raises(RequestError, match=r"no answer for 0\.05 s"):
                await gateway.request(RequestGuildMembers("404", user_ids=["5"]), timeout=0.05)
            with pytest.raises(LocalProtocolError, match="expected a snowflake"):
                await gateway.request(RequestGuildMembers("x"))

    kit.run(main)


def test_request_fails_if_the_gateway_is_stopped(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            await wait_for_event(gateway, Ready)

            async def stop() -> None:
                await kit.sleep(0.05)
                await gateway.stop()

            async with kit.together(stop):
                with pytest.raises(RequestError, match="the client was stopped"):
                    await gateway.request(RequestGuildMembers("1", user_ids=["5"]))
            with pytest.raises(LocalProtocolError, match="closed for good: it was stopped"):
                await gateway.request(RequestGuildMembers("1", user_ids=["5"]))

    kit.run(main)


def test_timeout_of_a_request_continues_while_no_dial_is_allowed(kit: Kit) -> None:
    box: list[Any] = []

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        if isinstance(event, RequestGuildMembers):
            connection.drop(now=box[0].now())

    async def before_dial(dial: Dial) -> None:
        if dial.purpose is DialPurpose.RESUME:
            await kit.sleep(2 * PATIENCE)

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server(), on_event=on_event) as serving,
            kit.adapter.open_gateway(adapter_config(serving), before_dial=before_dial) as gateway,
        ):
            box.append(serving)
            with pytest.raises(RequestError, match=r"no answer for 0\.05 s"):
                await gateway.request(RequestGuildMembers("1", user_ids=["5"]), timeout=0.05)

    kit.run(main)


def test_cancelled_request_leaves_no_state(kit: Kit) -> None:
    box: list[Any] = []

    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server(), on_event=_answering(box)) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            box.append(serving)
            with pytest.raises(TimeoutError if kit.name == "asyncio" else trio.TooSlowError):
                async with kit.limit(0.05):
                    await gateway.request(RequestGuildMembers("404", user_ids=["5"]), timeout=0.2)
            await kit.sleep(0.3)
            assert await gateway.request(RequestGuildMembers("1", user_ids=["5"]))

    kit.run(main)


def test_queued_commands_are_visible_in_waiting(kit: Kit) -> None:
    async def main() -> None:
        async with (
            kit.limit(),
            kit.adapter.serve_gateway(Server()) as serving,
            kit.adapter.open_gateway(adapter_config(serving)) as gateway,
        ):
            assert gateway.queued_commands == ()
            for _ in range(120):
                await gateway.send(UpdateVoiceState("1", None))
            assert gateway.queued_commands
            assert set(gateway.queued_commands) == {UpdateVoiceState("1", None)}

    kit.run(main)
