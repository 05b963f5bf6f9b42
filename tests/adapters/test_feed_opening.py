"""Feeds that are opened: which fleet they find or wait for, and arguments that are rejected."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, open_feed
from gateway_proto import LocalProtocolError
from tests.adapters.engine_stores import (  # noqa: F401
    collected,
    nats_engine,
    redis_engine,
    unclosed_streams,
)
from tests.adapters.feed_workers import (  # noqa: F401
    BOT,
    COUNT,
    FAST,
    Bench,
    Log,
    Worker,
    new_store,
    run,
    until,
)
from tests.adapters.support import KITS, Kit

pytestmark = [pytest.mark.parametrize("kit", KITS, ids=str), unclosed_streams]

OTHER_BOT = "fedcba9876543210"


def test_feed_waits_for_the_fleet_to_begin(kit: Kit, new_store: Any) -> None:
    async def main() -> None:
        async with kit.limit(30), new_store() as store, anyio.create_task_group() as tasks:
            bench = Bench(Log(store), new_store, tasks)
            workers: list[Worker] = []

            async def start() -> None:
                workers.append(await bench.start(from_start=True))

            tasks.start_soon(start)
            await anyio.sleep(0.3)
            assert workers == []
            await bench.log.begin()
            await bench.log.append(0)
            await until(lambda: bool(workers) and workers[0].numbers(0) == [1])
            tasks.cancel_scope.cancel()

    kit.run(main)


def test_feed_of_several_bots_needs_the_name_of_one(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.log.begin(bot=OTHER_BOT)
        with pytest.raises(
            LocalProtocolError, match=f"several bots: expected bot=, one of {BOT}, {OTHER_BOT}"
        ):
            async with open_feed(new_store(), group="g", **FAST):
                pass

        async with open_feed(new_store(), group="g", bot=OTHER_BOT, **FAST) as feed:
            assert feed.count == COUNT

    run(kit, new_store, body)


def test_feed_says_that_it_waits_for_a_fleet(kit: Kit, caplog: Any) -> None:
    async def main() -> None:
        async with kit.limit(30), anyio.create_task_group() as tasks:

            async def consume() -> None:
                async with open_feed(MemoryStore(), group="g", bot=OTHER_BOT):
                    pass

            tasks.start_soon(consume)
            await until(lambda: bool(caplog.records))
            tasks.cancel_scope.cancel()

    kit.run(main)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the store has no fleet of the bot {OTHER_BOT} yet: waiting until one begins"
    )


@pytest.mark.parametrize("bot", ["", "token.of.a.bot", 5, OTHER_BOT.upper()])
def test_invalid_bot_is_rejected_and_not_shown(kit: Kit, bot: Any) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError) as raised:
            async with open_feed(MemoryStore(), group="g", bot=bot):
                pass
        assert str(raised.value) == "invalid bot: expected token_fingerprint(token), or None"

    kit.run(main)


@pytest.mark.parametrize("group", ["", "a b", "x" * 65, None, "a:b"])
def test_invalid_group_is_rejected(kit: Kit, group: Any) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="invalid group"):
            async with open_feed(MemoryStore(), group=group):
                pass

    kit.run(main)


def test_store_that_cannot_be_followed_is_rejected(kit: Kit) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="invalid store"):
            async with open_feed(object(), group="g"):  # type: ignore[arg-type]
                pass

    kit.run(main)
