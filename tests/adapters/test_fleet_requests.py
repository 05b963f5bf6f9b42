"""Presences and requests from any process to any shard of a fleet, on both loops."""

# The parameters of tests repeat the names of the fixtures.
# ruff: noqa: F811

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import (
    CommandError,
    open_commands,
    open_feed,
)
from gateway_proto import (
    Activity,
    GuildMembers,
    LocalProtocolError,
    RawCommand,
    RequestError,
    RequestGuildMembers,
    UpdatePresence,
)
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
    CutStore,
    chunks,
    is_ready,
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


# ----- presences -----


def test_presence_is_sent_by_each_next_owner(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        default, chess, go = (UpdatePresence([Activity(name)]) for name in ("-", "chess", "go"))
        first = await bench.start(presence=default)
        await bench.until_owned(first)
        async with open_commands(bench.new_store()) as commands:
            for presence in (chess, go):
                await commands.send(1, presence)
        await until(lambda: bench.received == [(1, chess), (1, go)])

        second = await bench.start(presence=default)
        await first.fleet.drain()

        await bench.until_owned(second)
        await until(lambda: bench.received[-1] == (1, go) and len(bench.received) > 2)
        moved = [item for item in bench.received[2:] if item[0] == 1]
        assert moved == [(1, default), (1, go)], "the client's own, and then the stored one"

    run(kit, new_store, body)


def test_presence_without_an_owner_is_sent_later(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned(first)
        await first.fleet.drain()
        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(CommandError, match="no member owns the shard"):
                await commands.send(3, UpdatePresence([Activity("chess")]), timeout=3.0)

        await bench.start()

        await until(lambda: bool(bench.received))
        assert bench.received == [(3, UpdatePresence([Activity("chess")]))]

    run(kit, new_store, body)


# ----- requests -----


def test_request_returns_its_whole_answer(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        members = [await bench.start(), await bench.start()]
        await bench.until_owned(*members)

        async with open_commands(bench.new_store()) as commands:
            for shard_id in range(COUNT):
                answer = await commands.request(
                    shard_id, RequestGuildMembers("7", query=str(shard_id), limit=5)
                )
                assert answer == GuildMembers(
                    "7", tuple([str(shard_id), index] for index in range(3))
                )

    run(kit, new_store, body)


def test_equal_nonces_of_two_workers_get_their_own_answers(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start())
        answers: dict[str, Any] = {}

        async def ask(query: str) -> None:
            request = RequestGuildMembers("7", query=query, limit=5, nonce="same")
            async with open_commands(bench.new_store()) as commands:
                answers[query] = await commands.request(0, request)

        async with anyio.create_task_group() as tasks:
            for query in ("one", "two", "three"):
                tasks.start_soon(ask, query)

        for query, answer in answers.items():
            assert answer.members == tuple([query, index] for index in range(3))
        assert len({command.nonce for _, command in bench.received}) == 3

    run(kit, new_store, body)


def test_many_requests_of_one_worker_are_told_apart(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start())
        answers: dict[str, Any] = {}

        async with (
            open_feed(bench.new_store(), group="g", **FAST) as feed,
            anyio.create_task_group() as tasks,
        ):

            async def ask(number: int) -> None:
                request = RequestGuildMembers("7", query=str(number), limit=5)
                answers[str(number)] = await feed.request(number % COUNT, request)

            for number in range(40):
                tasks.start_soon(ask, number)

        assert len(answers) == 40
        for query, answer in answers.items():
            assert answer.members == tuple([query, index] for index in range(3))

    run(kit, new_store, body)


def test_answer_continues_after_the_owner_has_died(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = lambda command: chunks(command)[:2]
        store = CutStore(bench.new_store())
        first = await bench.start(store=store)
        await bench.until_owned(first)
        answers: list[Any] = []

        async with (
            open_commands(bench.new_store()) as commands,
            anyio.create_task_group() as tasks,
        ):

            async def ask() -> None:
                request = RequestGuildMembers("7", query="q", limit=5)
                answers.append(await commands.request(0, request))

            tasks.start_soon(ask)
            await until(lambda: bool(bench.received))
            second = await bench.start()
            store.state["cut"] = True
            first.scope.cancel()
            await until(lambda: 0 in second.fleet.owned and is_ready(second, 0))
            bench.serving.dispatch(
                "GUILD_MEMBERS_CHUNK",
                chunks(bench.received[0][1])[2].data,
                to=lambda session: session.shard[0] == 0,
            )

        assert answers == [GuildMembers("7", tuple(["q", index] for index in range(3)))]

    run(kit, new_store, body)


def test_request_without_an_answer_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start())
        async with open_commands(bench.new_store()) as commands:
            with pytest.raises(RequestError, match=r"no answer for 2 s"):
                await commands.request(0, RequestGuildMembers("1", user_ids=["2"]), timeout=2.0)
            with pytest.raises(LocalProtocolError, match="is not a request with an answer"):
                await commands.request(0, RawCommand(8), timeout=0.5)  # type: ignore[call-overload]

    run(kit, new_store, body)


def test_request_to_members_without_logs_raises(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        await bench.until_owned(await bench.start(publish=False))
        async with open_commands(bench.new_store()) as commands:
            await commands.send(0, numbered(1))
            with pytest.raises(LocalProtocolError, match=r"logs no events, which open_fleet"):
                await commands.request(0, RequestGuildMembers("1", user_ids=["2"]))

        assert bench.received == [(0, numbered(1))]

    run(kit, new_store, body)


def test_cancelled_request_leaves_nothing_behind(kit: Kit, new_store: Any) -> None:
    async def body(bench: Bench) -> None:
        bench.answers = chunks
        await bench.until_owned(await bench.start())
        async with open_commands(bench.new_store()) as commands:
            with anyio.move_on_after(0.2):
                await commands.request(0, RequestGuildMembers("404", user_ids=["2"]))
            await until(lambda: commands._sender.is_idle)
            answer = await commands.request(0, RequestGuildMembers("7", query="q", limit=5))

        assert len(answer.members) == 3

    run(kit, new_store, body)
