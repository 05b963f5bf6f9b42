"""Presences in the store of a fleet that cannot be sent."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from gateway_fleet import MemoryStore
from gateway_fleet._presences import Presences, presence_key
from gateway_fleet._store_failures import StoreFailures
from gateway_proto import Activity, LocalProtocolError, State, UpdatePresence
from gateway_proto.fleet import DesiredPresence
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


class Gateway:
    """Gateway that is READY, and takes presences without activities alone."""

    state = State.READY

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send(self, command: Any) -> None:
        if command.activities:
            raise LocalProtocolError("invalid UpdatePresence.activities: \x1b[31mred")
        self.sent.append(command)


class Owner:
    """Owner of shard 3."""

    shard_id = 3

    def __init__(self) -> None:
        self.gateway = Gateway()


async def write(store: MemoryStore, value: bytes) -> None:
    _, revision = await store.compare_and_set(presence_key(3), None, 0)
    await store.compare_and_set(presence_key(3), value, revision)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\xc1", "data is not a presence: "),
        (
            DesiredPresence(UpdatePresence([Activity("chess")]), "n").to_bytes(),
            r"invalid UpdatePresence.activities: \x1b[31mred",
        ),
    ],
    ids=["malformed", "rejected"],
)
def test_presence_that_cannot_be_sent_is_logged_once(
    kit: Kit, caplog: pytest.LogCaptureFixture, value: bytes, why: str
) -> None:
    async def main() -> None:
        owner: Any = Owner()
        store = MemoryStore()
        await write(store, value)
        presences = Presences(store, StoreFailures())
        async with kit.limit(), anyio.create_task_group() as tasks:
            tasks.start_soon(presences.keep, owner)
            while not caplog.messages:
                await anyio.sleep(0.001)
            for _ in range(2):
                with pytest.raises(LocalProtocolError, match=why[:12]):
                    await presences.sent(3, anyio.current_time() + 5)
            assert owner.gateway.sent == []

            presence = UpdatePresence()
            await write(store, DesiredPresence(presence, "m").to_bytes())
            assert await presences.sent(3, anyio.current_time() + 5)
            assert owner.gateway.sent == [presence]
            presences.forget(3)

    with caplog.at_level(logging.WARNING, "gateway_proto"):
        kit.run(main)

    (message,) = caplog.messages
    assert message.startswith(f"shard 3: the presence in the store cannot be sent: {why}")
