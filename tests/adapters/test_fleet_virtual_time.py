"""Owners, claims, commands and feeds of a fleet, in virtual time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore, StoreError
from gateway_fleet._command_service import CommandService
from gateway_fleet._coordinator import Coordinator
from gateway_fleet._lease import Lease
from gateway_fleet._store_failures import StoreFailures
from gateway_proto import (
    Dial,
    DialPurpose,
    Dispatch,
    Ready,
    Session,
    State,
    UpdateVoiceState,
)
from gateway_proto.fleet import (
    CommandAnswer,
    CommandInbox,
    CommandMessage,
    GatewaySettings,
    LoggedEvents,
    LogHead,
    LogRecord,
    MemberRecord,
    Membership,
    ShardLost,
    encode_command,
    mailbox_of,
)
from tests.adapters.virtual_time import feed_shard, owner_of, run


class FailingStore(MemoryStore):
    """A store of which some appends fail; it notes when each was requested."""

    def __init__(self, failing: set[int]) -> None:
        super().__init__()
        self.failing = failing
        self.times: list[float] = []

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        self.times.append(anyio.current_time())
        if len(self.times) - 1 in self.failing:
            raise StoreError("away")
        return await super().append(shard, after, record)


def test_delay_after_a_failed_append_begins_small_again() -> None:
    store = FailingStore({1, 2, 5})

    async def main() -> None:
        owner = await owner_of(store, keep_events=True)
        async with anyio.create_task_group() as group:
            group.start_soon(owner.run)
            for session_id in "ab":
                owner.add(Ready("READY", 1, session_id=session_id, version=10))
                owner.add(Dispatch.of("X", 1, 2))
                await owner.until_clear()
                await anyio.sleep(1.0)
            owner.add(Dispatch.of("X", 1, 3))
            await owner.until_clear()
            group.cancel_scope.cancel()

    run(main)
    delays = [after - at for at, after in zip(store.times[1:], store.times[2:], strict=False)]

    assert len(store.times) == 7
    assert delays[:2] == pytest.approx([0.05, 0.2])
    assert delays[-1] == pytest.approx(0.05)


def test_last_record_is_repeated_when_its_retention_is_over() -> None:
    store = FailingStore(set())
    store.keep_seconds = 12.0

    async def main() -> None:
        owner = await owner_of(store, keep_events=True)
        with anyio.move_on_after(30.0):
            owner.add(Ready("READY", 1, session_id="s", version=10))
            await owner.run()

    run(main)
    began = store.times[1]

    assert [at - began for at in store.times[1:]] == pytest.approx([0.0, 12.0, 24.0])


def test_cutover_does_not_wait_for_the_time_between_appends() -> None:
    store = FailingStore(set())

    async def main() -> None:
        owner = await owner_of(store, keep_events=False)
        async with anyio.create_task_group() as group:
            group.start_soon(owner.run)
            owner.add(Ready("READY", 1, session_id="s", version=10))
            await anyio.sleep(0.25)
            owner.cut_over()
            await anyio.sleep(0.5)
            owner.end()

    run(main)

    assert store.times[-1] - store.times[1] == pytest.approx(0.25)
    assert store._store.head(0).session is None


class RepeatingStore(MemoryStore):
    """A store that makes an append twice, so that the second one is refused."""

    async def append(self, shard: int, after: LogHead, record: LogRecord) -> int | None:
        await super().append(shard, after, record)
        return await super().append(shard, after, record)


def test_claim_that_was_made_twice_is_an_own_claim() -> None:
    heads: list[LogHead] = []

    async def main() -> None:
        store = RepeatingStore()
        membership = Membership("me", 1, ttl=3.0, interval=0.2, now=anyio.current_time())
        coordinator = Coordinator(membership, "me", store, lambda _: None, lambda: None)
        async with anyio.create_task_group() as group:
            group.start_soon(coordinator.run)
            await anyio.sleep(2.0)
            group.cancel_scope.cancel()
        heads.append(await store.head(0))
        assert membership.owned == {0: heads[0]}

    run(main)

    assert heads[0].position == 1


class SlowStore(MemoryStore):
    """A store that takes three seconds to hand out a mailbox."""

    async def take(self, mailbox: str) -> list[bytes]:
        messages = await super().take(mailbox)
        await anyio.sleep(3.0)
        return messages


@pytest.mark.parametrize(("seconds", "outcome"), [(2.0, "not sent"), (4.0, "sent")])
def test_deadline_of_a_command_begins_before_it_was_taken(seconds: float, outcome: str) -> None:
    sent: list[Any] = []

    async def send(command: Any) -> None:
        sent.append(command)

    async def main() -> list[bytes]:
        bot, store = MemoryStore(), SlowStore()
        gateway = SimpleNamespace(
            can_send=lambda _: True, send=send, session=None, state=State.READY
        )
        owner: Any = SimpleNamespace(gateway=gateway)
        presences: Any = None
        service = CommandService(
            *("me", bot, store, GatewaySettings(10), lambda _: owner),
            *(presences, lambda: None, StoreFailures()),
        )
        command = encode_command(UpdateVoiceState("1", None))
        message = CommandMessage("id", 1, "sender", 0, seconds, command)
        await store.post(mailbox_of("me"), message.to_bytes(), 60.0)
        with anyio.move_on_after(4.0):
            await service.run()
        return await bot.take("sender")

    answers = run(main)

    assert [CommandAnswer.from_bytes(each).outcome for each in answers] == [outcome]
    assert len(sent) == (outcome == "sent")


def test_commands_above_the_capacity_stay_in_the_mailbox() -> None:
    async def main() -> list[bytes]:
        store: Any = MemoryStore()
        owner: Any = SimpleNamespace(
            gateway=SimpleNamespace(can_send=lambda _: False, state=State.READY)
        )
        presences: Any = None
        settings = GatewaySettings(10)
        service = CommandService(
            *("me", store, store, settings, lambda _: owner),
            *(presences, lambda: None, StoreFailures()),
        )
        service._inbox = CommandInbox(max_pending=1)
        command = encode_command(UpdateVoiceState("1", None))
        async with anyio.create_task_group() as group:
            group.start_soon(service.run)
            for id_ in ("first", "second"):
                message = CommandMessage(id_, 1, "sender", 0, 60.0, command)
                await store.post(mailbox_of("me"), message.to_bytes(), 60.0)
                await anyio.sleep(2.0)
            left: list[bytes] = await store.take(mailbox_of("me"))
            group.cancel_scope.cancel()
        return left

    left = run(main)

    assert [CommandMessage.from_bytes(each).id for each in left] == ["second"]


class Allowing:
    """A coordinator that allows each dial, and notes since when a heartbeat was needed."""

    def __init__(self) -> None:
        self.since: list[float] = []

    async def until_allowed(self, shard_id: int, since: float) -> None:
        self.since.append(since)


def test_only_the_first_dial_after_a_claim_needs_no_heartbeat() -> None:
    coordinator: Any = Allowing()

    async def main() -> None:
        lease = Lease(coordinator, 2.0)
        lease.claimed(1, anyio.current_time())
        for number in range(3):
            await lease.before_dial(1, dial_at(anyio.current_time()))
            assert len(coordinator.since) == number
        await lease.before_dial(2, dial_at(anyio.current_time()))

    run(main)

    assert len(coordinator.since) == 3


def test_dial_long_after_its_claim_needs_a_heartbeat() -> None:
    """The process was stopped in between, and another one may have the shard."""
    coordinator: Any = Allowing()

    async def main() -> float:
        lease = Lease(coordinator, 2.0)
        lease.claimed(1, anyio.current_time())
        await anyio.sleep(2.5)
        await lease.before_dial(1, dial_at(anyio.current_time()))
        return anyio.current_time()

    now = run(main)

    assert coordinator.since == [now]


def test_shard_that_a_heartbeat_shows_to_be_lost_does_not_dial() -> None:
    """It is closed after the answer, and may not dial in between."""

    async def main() -> tuple[bool, bool]:
        store, log = MemoryStore(), []
        membership = Membership("me", 1, ttl=3.0, interval=0.5, now=anyio.current_time())
        coordinator = Coordinator(membership, "me", store, log.append, lambda: None)

        async def dial() -> None:
            await coordinator.until_allowed(0, lost_at)
            log.append(0)

        async with anyio.create_task_group() as group:
            group.start_soon(coordinator.run)
            while not membership.owned:
                await anyio.sleep(0.1)
            lost_at = anyio.current_time()
            record = MemberRecord(1, {0: membership.owned[0].position + 1})
            await store.heartbeat("other", record.to_bytes())
            group.start_soon(dial)
            await anyio.sleep(2.0)
            group.cancel_scope.cancel()
        return 0 in log, any(isinstance(event, ShardLost) for event in log)

    assert run(main) == (False, True)


def dial_at(at: float) -> Dial:
    """Return a dial that is due at a time."""
    url = "wss://gateway.example"
    return Dial(
        host="gateway.example", port=443, tls=True, at=at, url=url, purpose=DialPurpose.RESUME
    )


def test_feed_reads_no_more_than_a_mebibyte_ahead() -> None:
    async def main() -> None:
        logs, group_store = MemoryStore(), MemoryStore()
        head = LogHead()
        session = Session(id="s", sequence=1, version=10)
        for number in range(1, 6):
            events = LoggedEvents.of(("X", number, b"1" * 600_000))
            record = LogRecord(f"r{number}", "me", session, events, after=head.id)
            await logs.append(0, head, record)
            head = record.head(number)
        shard = feed_shard(logs, group_store)
        async with anyio.create_task_group() as group:
            group.start_soon(shard.run)
            await anyio.sleep(10.0)
            assert shard._cursor.position == 2
            while shard.next_event() is not None:
                pass
            await anyio.sleep(10.0)
            assert shard._cursor.position == 4
            group.cancel_scope.cancel()

    run(main)
