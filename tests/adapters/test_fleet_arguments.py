"""Arguments that the functions of `gateway_fleet` reject before they ask a store."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway_fleet import (
    MemoryStore,
    cancel_reshard,
    find_fleet,
    open_commands,
    open_feed,
    open_fleet,
    reshard,
)
from gateway_proto import Config, LocalProtocolError
from tests.adapters.support import KITS, Kit

pytestmark = pytest.mark.parametrize("kit", KITS, ids=str)


def rejects(kit: Kit, call: Callable[[], Awaitable[Any]], text: str) -> None:
    async def main() -> None:
        async with kit.limit():
            with pytest.raises(LocalProtocolError) as raised:
                await call()
        assert str(raised.value).startswith(text)

    kit.run(main)


async def fleet(store: Any, **options: Any) -> None:
    async with open_fleet(Config(token="t", intents=0), store, count=1, **options):
        pass


async def feed(store: Any, **options: Any) -> None:
    async with open_feed(store, group="g", **options):
        pass


async def commands(store: Any) -> None:
    async with open_commands(store):
        pass


@pytest.mark.parametrize("store", [5, "redis://127.0.0.1", MemoryStore])
@pytest.mark.parametrize(
    "call",
    [
        fleet,
        feed,
        commands,
        cancel_reshard,
        lambda store: reshard(store, 2),
        lambda store: find_fleet(store, "t"),
    ],
    ids=["fleet", "feed", "commands", "cancel_reshard", "reshard", "find_fleet"],
)
def test_value_that_is_not_an_open_store_is_rejected(kit: Kit, call: Any, store: Any) -> None:
    rejects(kit, lambda: call(store), f"invalid store {store!r:.80}: expected a ")


@pytest.mark.parametrize("opened", [fleet, feed], ids=["fleet", "feed"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ttl": None}, "ttl is None: expected a number"),
        ({"ttl": "9"}, "invalid ttl '9'"),
        ({"ttl": math.inf}, "invalid ttl inf"),
        ({"interval": 0}, "invalid interval 0"),
        ({"interval": 9.0}, "invalid interval 9.0"),
    ],
)
def test_invalid_times_of_a_member_are_rejected(
    kit: Kit, opened: Any, options: dict[str, Any], text: str
) -> None:
    rejects(kit, lambda: opened(MemoryStore(), **options), text)


def test_flag_that_is_not_a_bool_is_rejected(kit: Kit) -> None:
    rejects(kit, lambda: fleet(MemoryStore(), publish="no"), "invalid publish 'no'")
    rejects(kit, lambda: feed(MemoryStore(), from_start="no"), "invalid from_start 'no'")
