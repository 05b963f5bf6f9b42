"""Requests of a process that is stopped for a while: they come when something else is valid."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway_fleet import (
    CommandError,
    MemoryStore,
    cancel_reshard,
    open_commands,
    open_fleet,
    reshard,
)
from gateway_fleet._bots import register_bot
from gateway_fleet._drains import ask_to_drain
from gateway_fleet._generation import agree, read_generations, write_generations
from gateway_proto import Activity, LocalProtocolError, UpdatePresence
from gateway_proto.fleet import Generation, Generations, IdentifySlots
from gateway_proto.session import token_fingerprint
from tests.adapters import fleet_senders
from tests.adapters.fleet_members import FAST, Bench, run, until
from tests.adapters.fleet_senders import numbered
from tests.adapters.gated_store import GatedStore, is_write
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)

BOT = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _frequent_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    def slots(**options: Any) -> IdentifySlots:
        return IdentifySlots(**{**options, "seconds": 0.1, "margin": 0.0, "stale_after": 0.5})

    monkeypatch.setattr("gateway_fleet._slots.IdentifySlots", slots)


# ----- the number of shards -----


def is_heartbeat(name: str, _: tuple[Any, ...]) -> bool:
    return name == "heartbeat"


def test_member_that_starts_keeps_its_generation(kit: Kit) -> None:
    """A process with another count found nobody alive, and is stopped before it writes."""

    async def body(bench: Bench) -> None:
        bot = bench.store.scoped(token_fingerprint(bench.config.token))
        known, _ = await write_generations(bot, Generations.begun("old", 2), 0)
        late = GatedStore(bot)
        late.hold(before=is_write)
        raised = []

        async def begin() -> None:
            with pytest.raises(LocalProtocolError, match="members of the fleet run 2") as caught:
                await agree(late, 3, ttl=0.4)
            raised.append(caught)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin)
            await until(lambda: bool(late.held))
            member = await bench.start()
            await bench.until_owned((member, 2))
            late.let_go()
            await until(lambda: bool(raised))

        assert (await read_generations(bot))[0] == known
        assert not member.is_over

    run(kit, 2, body)


def test_member_that_starts_is_alive_before_its_heartbeat(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        late = GatedStore(bench.store)
        late.hold(before=is_heartbeat)
        member = await bench.start(late)
        await until(lambda: bool(late.held))

        async def go_on() -> None:
            await anyio.sleep(0.3)
            late.let_go()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            bot = bench.store.scoped(token_fingerprint(bench.config.token))
            with pytest.raises(LocalProtocolError, match="members of the fleet run 2 shards"):
                await agree(bot, 3, ttl=1.0)

        await bench.until_owned((member, 2))

    run(kit, 2, body)


def test_member_without_a_count_follows_a_change(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet has another number of shards since it was read."""

    async def read_early(bot: Any) -> tuple[Generation | None, int]:
        return Generation("old", 2), 1

    async def body(bench: Bench) -> None:
        first = await bench.start(count=3)
        await bench.until_owned((first, 3))
        monkeypatch.setattr("gateway_fleet.fleet.read_generation", read_early)

        async with open_fleet(bench.config, bench.store, **FAST) as fleet:
            assert fleet.count == 3

    run(kit, 3, body)


def test_late_cancellation_spares_the_next_change(kit: Kit) -> None:
    """It was meant for a change that another operator has cancelled meanwhile."""

    async def body(bench: Bench) -> None:
        await register_bot(bench.store, BOT)
        bot = bench.store.scoped(BOT)
        await write_generations(bot, Generations.begun("old", 2), 0)
        await reshard(bench.store, 3)
        late = GatedStore(bench.store)
        late.hold(before=is_write)
        raised = []

        async def cancel() -> None:
            with pytest.raises(LocalProtocolError, match="another change") as caught:
                await cancel_reshard(late)
            raised.append(caught)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await until(lambda: bool(late.held))
            await cancel_reshard(bench.store)
            await reshard(bench.store, 4)
            late.let_go()

        known, _ = await read_generations(bot)
        assert raised and known is not None and known.next is not None
        assert known.next.count == 4

    run(kit, 2, body)


@pytest.mark.slow
def test_change_ends_if_one_process_cannot_open_its_shards(kit: Kit) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("too many open files")

    async def body(bench: Bench) -> None:
        raised = []

        async def other() -> None:
            with pytest.raises(LocalProtocolError, match="other processes run 3 shards") as caught:
                async with open_fleet(bench.config, bench.store, publish=True, **FAST) as fleet:
                    fleet._keeper._open = fail  # type: ignore[assignment]
                    async for _ in fleet:
                        pass
            raised.append(caught)

        member = await bench.start(publish=True)
        await bench.until_owned((member, 2))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            await bench.until_owned((member, 1))
            await reshard(bench.store, 3)

        assert raised
        await bench.until_owned((member, 3))

    run(kit, 2, body)


# ----- requests to drain -----


def is_drains(name: str, arguments: tuple[Any, ...]) -> bool:
    return name == "compare_and_set" and arguments[0] == "drains"


def test_member_looks_for_requests_to_drain_before_it_joins(kit: Kit) -> None:
    async def body(bench: Bench) -> None:
        late = GatedStore(bench.store)
        late.hold(before=is_drains)
        member = await bench.start(late, member="one")
        await until(lambda: bool(late.held))
        table = await member.fleet.store.heartbeat("-", b"")
        assert table == {}, "nobody asks a member that is not in the table"

        late.let_go()
        await bench.until_owned((member, 2))
        await ask_to_drain(member.fleet.store, "one")

        await until(lambda: member.is_over)

    run(kit, 2, body)


@pytest.mark.slow
def test_request_to_drain_at_the_end_of_a_change_counts(kit: Kit) -> None:
    """The member has not looked before the generation is over in which it was asked."""

    async def body(bench: Bench) -> None:
        late = GatedStore(bench.store)
        member = await bench.start(late, member="one")
        await bench.until_owned((member, 2))
        present = member.fleet.store
        late.hold(before=lambda *request: is_drains(*request) and not late.held)
        await until(lambda: bool(late.held))
        await ask_to_drain(present._store, "one")

        await reshard(bench.store, 3)

        await until(lambda: member.is_over)
        known, _ = await read_generations(bench.store.scoped(token_fingerprint(bench.config.token)))
        assert known is not None and known.present.count == 3

    run(kit, 2, body)


# ----- shards -----


def is_claim(name: str, arguments: tuple[Any, ...]) -> bool:
    return name == "append" and arguments[2].claim


@pytest.mark.slow
def test_late_answer_to_a_claim_takes_no_session_back(kit: Kit) -> None:
    """The process is stopped after its claim, and another one has resumed the session since."""

    async def body(bench: Bench) -> None:
        first = await bench.start()
        await bench.until_owned((first, 1))
        await first.fleet.drain()
        claims = GatedStore(bench.store)
        heartbeats = GatedStore(claims)
        claims.hold(after=is_claim)
        late = await bench.start(heartbeats, member="a")
        await until(lambda: bool(claims.held))
        heartbeats.hold(before=is_heartbeat)
        other = await bench.start(member="b")  # which gets it once "a" is dead
        await bench.until_owned((other, 1))
        await anyio.sleep(FAST["interval"])
        resumes = bench.received["Resume"]

        claims.let_go()
        await anyio.sleep(0.3)
        assert 0 in late.fleet.owned
        heartbeats.let_go()
        await until(lambda: 0 not in late.fleet.owned)

        assert bench.received["Resume"] == resumes
        assert bench.received["Identify"] == 1

    run(kit, 1, body)


# ----- commands -----


def is_presence_write(name: str, arguments: tuple[Any, ...]) -> bool:
    return is_write(name, arguments) and arguments[0].startswith("presence")


def is_command(name: str, arguments: tuple[Any, ...]) -> bool:
    return name == "post" and arguments[0].startswith("member:")


@pytest.mark.slow
@pytest.mark.parametrize("is_presence", [True, False])
def test_command_is_not_for_a_shard_of_the_next_count(kit: Kit, is_presence: bool) -> None:
    """The sender is stopped while the fleet gets another number of shards."""

    async def body(bench: fleet_senders.Bench) -> None:
        member = await bench.start()
        await bench.until_owned(member)
        late = GatedStore(bench.new_store())
        command = UpdatePresence([Activity("chess")]) if is_presence else numbered(1)
        raised = []
        async with open_commands(late) as commands:
            late.hold(before=None if is_presence else is_command, after=is_presence_write)

            async def send() -> None:
                with pytest.raises(CommandError, match="has 6 shards now") as caught:
                    await commands.send(1, command, timeout=30.0)
                raised.append(caught.value)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                await until(lambda: bool(late.held))
                await reshard(bench.new_store(), 6)
                await until(lambda: member.fleet.count == 6)
                await anyio.sleep(1.1)  # the generation that was read is used for a second
                late.let_go()

        assert not raised[0].may_be_sent
        assert bench.received == []

    store = MemoryStore()
    fleet_senders.run(kit, lambda: store, body)
