"""Commands from any process to any shard of a fleet, on both loops."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import pytest

from gateway_fleet import (
    CommandError,
    MemoryStore,
    open_commands,
    open_feed,
)
from gateway_proto import (
    Heartbeat,
    LocalProtocolError,
    RawCommand,
    RequestGuildMembers,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.fleet import LoggedDispatch
from tests.adapters.engine_stores import (  # noqa: F401
    collected,
    nats_engine,
    new_store,
    redis_engine,
    unclosed_streams,
)
from tests.adapters.fleet_senders import (
    COUNT,
    FAST,
    Bench,
    CountingStore,
    CutStore,
    chunks,
    numbered,
    run,
    until,
)
from tests.adapters.support import KITS, Kit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("kit", KITS, ids=str),
    unclosed_streams,
]


# ----- commands -----


def test_command_is_sent_by_the_owner_of_its_shard(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        members = [await bench.start(), await bench.start()]
        await bench.until_owned(*members)

        async with open_commands(bench.new_store()) as commands:
            assert commands.count == COUNT
            for shard_id in range(COUNT):
                await commands.send(shard_id, UpdateVoiceState(str(shard_id + 1), "5"))

        await until(lambda: len(bench.received) == COUNT)
        expected = [(n, UpdateVoiceState(str(n + 1), "5")) for n in range(COUNT)]
        assert bench.received == expected, "each once, in order"

    run(kit, new_store, body)


def test_consumer_sends_a_command_while_it_handles(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.start()
        async with open_feed(bench.new_store(), group="g", from_start=True, **FAST) as feed:
            async for shard_id, event in feed:
                if isinstance(event, LoggedDispatch) and event.name == "READY":
                    await feed.send(shard_id, numbered(shard_id))
                    if len(bench.received) == COUNT:
                        break

        assert sorted(bench.received, key=lambda item: item[0]) == [
            (n, numbered(n)) for n in range(COUNT)
        ]

    run(kit, new_store, body)


def test_command_follows_a_shard_that_moves(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned(first)
        async with open_commands(bench.new_store()) as commands:
            await commands.send(0, numbered(0))
            second = await bench.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(first.fleet.drain)
                for number in range(1, 20):
                    await commands.send(number % COUNT, numbered(number), timeout=10.0)
            await bench.until_owned(second)

        await until(lambda: len(bench.received) >= 20)
        assert bench.numbers == list(range(20))

    run(kit, new_store, body)


def test_command_to_a_dead_owner_waits_for_the_next(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.new_store())
        first = await bench.start(store=store)
        await bench.until_owned(first)
        store.state["cut"] = True  # as if it was killed: it does not leave the members table
        first.scope.cancel()
        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(CommandError) as raised:
                await commands.send(1, numbered(1), timeout=2.0)
            second = await bench.start()
            await commands.send(1, numbered(2), timeout=20.0)

        assert not raised.value.may_be_sent
        assert (raised.value.name, raised.value.shard, raised.value.seconds) == (
            "UpdateVoiceState",
            1,
            2.0,
        )
        assert "UpdateVoiceState for shard 1 was not sent within 2 s: " in str(raised.value)
        assert bench.numbers == [2]
        assert 1 in second.fleet.owned

    run(kit, new_store, body)


def test_shard_without_an_owner_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        member = await bench.start()
        await bench.until_owned(member)
        await member.fleet.drain()

        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(CommandError, match="3 s: no member owns the shard") as raised:
                await commands.send(2, numbered(9), timeout=3.0)

        assert not raised.value.may_be_sent
        assert bench.received == []

    run(kit, new_store, body)


@pytest.mark.parametrize(
    ("shard_id", "command", "text"),
    [
        (COUNT, numbered(9), "invalid shard_id 4: expected an int from 0 to 3"),
        (True, numbered(9), "invalid shard_id True"),
        (0, Heartbeat(None), "invalid command Heartbeat: the connection sends it by itself"),
        (0, "{}", "invalid command '{}': expected a command of gateway_proto"),
        (0, UpdateVoiceState(None, "1"), "UpdateVoiceState.guild_id is None"),
        (0, RawCommand(9, "x" * 5000), "RawCommand has 5015 bytes, more than the 4096"),
        (0, RequestGuildMembers("1"), "intent"),
    ],
)
def test_invalid_command_raises_before_it_is_posted(
    kit: Kit, shard_id: Any, command: Any, text: str
) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        store = CountingStore(bench.new_store())
        async with open_commands(store) as commands:
            with pytest.raises(LocalProtocolError) as raised:
                await commands.send(shard_id, command)
            with pytest.raises(LocalProtocolError, match="invalid timeout 0"):
                await commands.send(0, numbered(9), timeout=0)

        assert text in str(raised.value)
        assert not {"post", "unpost"} & set(store.calls)

    store = MemoryStore()
    run(kit, lambda: store, body)


def test_rate_limit_of_the_owner_is_kept(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        failed: list[CommandError] = []

        async def send(commands: Any, number: int) -> None:
            try:
                await commands.send(0, numbered(number), timeout=6.0)
            except CommandError as error:
                failed.append(error)

        async with open_commands(bench.new_store()) as commands, anyio.create_task_group() as tasks:
            for number in range(140):
                tasks.start_soon(send, commands, number)

        # https://docs.discord.com/developers/events/gateway#rate-limiting: 120 in 60 seconds.
        sent = bench.numbers
        assert 110 <= len(sent) <= 118
        assert len(sent) == len(set(sent)), "none twice"
        assert len(sent) + len(failed) == 140
        assert not any(error.may_be_sent for error in failed)
        assert "the rate limits of the gateway do not allow it yet" in str(failed[0])
        await anyio.sleep(0.3)
        assert len(bench.received) == len(sent), "an expired command is not sent later"

    store = MemoryStore()
    run(kit, lambda: store, body)


def test_command_arrives_without_any_notification(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start(store=CountingStore(bench.new_store())))

        async with open_commands(CountingStore(bench.new_store())) as commands:
            await commands.send(0, numbered(1))
            await commands.request(0, RequestGuildMembers("1", user_ids=["2"]))

        assert len(bench.received) == 2

    run(kit, new_store, body)


def test_post_without_an_answer_is_not_repeated(kit: Kit, new_store: Any) -> None:
    """The message may have arrived: then it is removed again, or it was taken."""

    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        store = CutStore(bench.new_store())
        store.state["unanswered"] = ("post",)

        async with open_commands(store) as commands:
            for number in range(10):
                with contextlib.suppress(CommandError):
                    await commands.send(0, numbered(number), timeout=0.5)

        numbers = bench.numbers
        assert len(numbers) == len(set(numbers))

    run(kit, new_store, body)


def test_owner_that_dies_between_taking_and_sending(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.new_store())
        first = await bench.start(store=store)
        await bench.until_owned(first)
        async with open_commands(bench.new_store()) as commands:
            # It takes the command, and its answer does not arrive anywhere.
            store.state["unanswered"] = ("take",)
            with pytest.raises(CommandError) as raised:
                await commands.send(0, numbered(1), timeout=1.0)
            await bench.start()
            store.state["cut"] = True
            first.scope.cancel()
            await commands.send(0, numbered(2), timeout=20.0)

        assert raised.value.may_be_sent
        assert "may have been sent, or not, within 1 s" in str(raised.value)
        assert bench.numbers == [2], "and not sent by another"

    run(kit, new_store, body)


def test_store_that_is_away_for_the_sender_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        store = CutStore(bench.new_store())
        async with open_commands(store) as commands:
            store.state["cut"] = True
            with pytest.raises(CommandError, match="the store did not answer"):
                await commands.send(0, numbered(1), timeout=0.3)
            with pytest.raises(CommandError, match="the store did not answer"):
                await commands.send(0, UpdatePresence(), timeout=0.3)
            with pytest.raises(CommandError, match="the store did not answer"):
                await commands.request(0, RequestGuildMembers("1", user_ids=["2"]), timeout=0.3)
            store.state["cut"] = False
            await commands.send(0, numbered(2))

        assert bench.numbers == [2]

    run(kit, new_store, body)


def test_cancelled_command_is_withdrawn(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        store = CutStore(bench.new_store())
        await bench.until_owned(await bench.start(store=store))
        store.state["cut"] = True
        async with open_commands(bench.new_store()) as commands:
            with anyio.move_on_after(0.2):
                await commands.send(0, numbered(1), timeout=30.0)
            store.state["cut"] = False
            await commands.send(0, numbered(2), timeout=10.0)

        assert bench.numbers == [2]

    run(kit, new_store, body)


# ----- opening -----


def test_store_without_mailboxes_is_rejected(kit: Kit) -> None:
    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="expected a FeedStore"):
            async with open_commands(object()):  # type: ignore[arg-type]
                pass
        with pytest.raises(LocalProtocolError, match="invalid bot"):
            async with open_commands(MemoryStore(), bot="token"):
                pass

    kit.run(main)


def test_exception_of_the_block_is_not_wrapped(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.start()
        with pytest.raises(ZeroDivisionError):
            async with open_commands(bench.new_store()):
                raise ZeroDivisionError

    run(kit, new_store, body)
