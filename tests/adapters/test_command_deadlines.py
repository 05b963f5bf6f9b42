"""Time limits of commands to a store that never answers, and commands after the end of a block."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import CommandError, MemoryStore, open_commands, open_feed
from gateway_fleet._bots import register_bot
from gateway_fleet._generation import agree
from gateway_proto import (
    LocalProtocolError,
    RequestSoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.fleet import GatewaySettings, MemberRecord
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)

BOT = "0123456789abcdef"
VOICE = UpdateVoiceState("1", None)
SOUNDS = RequestSoundboardSounds(["1"])


class StuckStore:
    """A store in memory in which calls of one verb never return, once they are `stuck`."""

    def __init__(self, store: Any, stuck: set[str]) -> None:
        self._store = store
        self.stuck = stuck

    async def __aenter__(self) -> StuckStore:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def scoped(self, prefix: str) -> StuckStore:
        return StuckStore(self._store.scoped(prefix), self.stuck)

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)

        async def call(*arguments: Any) -> Any:
            if name in self.stuck:
                await anyio.sleep_forever()
            return await verb(*arguments)

        return verb if name == "records" else call


async def fleet_store() -> StuckStore:
    """Return a store with a fleet whose member owns shard 0, and takes no command."""
    store = MemoryStore()
    await register_bot(store, BOT)
    bot = store.scoped(BOT)
    generation = (await agree(bot, 1, ttl=1.0)).present
    settings = GatewaySettings(10, 0, publishes=True)
    record = MemberRecord(1, owns={0: 1}, gateway=settings)
    await bot.scoped(generation.id).heartbeat("m", record.to_bytes())
    return StuckStore(store, set())


@pytest.mark.parametrize(
    ("stuck", "command"),
    [
        pytest.param("heartbeat", SOUNDS, marks=pytest.mark.slow),
        ("compare_and_set", SOUNDS),
        ("head", SOUNDS),
        ("compare_and_set", UpdatePresence([])),
        pytest.param("post", VOICE, marks=pytest.mark.slow),
        pytest.param("unpost", VOICE, marks=pytest.mark.slow),
        pytest.param("take", VOICE, marks=pytest.mark.slow),
    ],
)
def test_command_ends_in_time_if_the_store_never_answers(
    kit: Kit, stuck: str, command: Any
) -> None:
    async def main() -> None:
        store = await fleet_store()
        async with kit.limit(), open_commands(store) as commands:  # type: ignore[arg-type]
            store.stuck.add(stuck)
            call: Any = commands.request if command is SOUNDS else commands.send
            begin = anyio.current_time()
            with pytest.raises(CommandError) as raised:
                await call(0, command, timeout=0.6)
            assert anyio.current_time() - begin < 1.1
        text = str(raised.value)
        assert text.endswith(("did not answer", "took no command"))
        assert raised.value.may_be_sent is (stuck in ("post", "unpost"))

    kit.run(main)


@pytest.mark.parametrize("kind", ["feed", "commands"])
def test_command_after_the_block_has_ended_raises(kit: Kit, kind: str) -> None:
    async def main() -> None:
        store: Any = await fleet_store()
        block = open_feed(store, group="g") if kind == "feed" else open_commands(store)
        async with kit.limit(), block as commands:
            await anyio.sleep(0.01)
        with pytest.raises(LocalProtocolError, match="cannot send: the block of open_feed or"):
            await commands.send(0, VOICE)
        with pytest.raises(LocalProtocolError, match="cannot send: the block of open_feed or"):
            await commands.request(0, SOUNDS)

    kit.run(main)


def test_iteration_ends_after_the_block_of_a_feed(kit: Kit) -> None:
    async def main() -> None:
        store: Any = await fleet_store()
        async with kit.limit():
            async with open_feed(store, group="g") as feed:
                pass
            with pytest.raises(StopAsyncIteration):
                await anext(aiter(feed))

    kit.run(main)
