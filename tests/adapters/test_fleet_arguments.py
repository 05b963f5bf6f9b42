"""Arguments that the functions of `gateway_fleet` reject before they ask a store."""

from __future__ import annotations

import functools
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


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"count": 0}, "invalid count 0: expected an int from 1 to 65536"),
        ({"count": "2"}, "invalid count '2': expected an int"),
        ({"count": True}, "invalid count True: expected an int"),
        ({"member": ""}, "invalid member '': expected a str of 1 to 128 characters"),
        ({"member": 5}, "invalid member 5: expected a str"),
        ({"member": "-"}, "invalid member '-': expected a str"),
        ({"queue_limit": 0}, "invalid queue_limit 0: expected an int"),
        ({"proxy": "x"}, "invalid proxy 'x': scheme must be"),
        ({"proxy": "http://p", "connect": print}, "proxy and connect exclude each other"),
        ({"connect": 5}, "invalid connect 5: expected a function"),
        ({"recorder": "trace"}, "invalid recorder 'trace': expected a Recorder"),
        ({"raise_on_give_up": None}, "raise_on_give_up is None: expected a bool"),
        ({"config": Config(token="t", intents=0, shard=(0, 1))}, "invalid Config.shard (0, 1)"),
        ({"config": Config(token="t", version=3, unix_offset=0)}, "version 3 has no shards"),
    ],
)
def test_rejected_fleet_leaves_the_store_unchanged(
    kit: Kit, options: dict[str, Any], error: str
) -> None:
    store = MemoryStore()

    async def opened() -> None:
        arguments = {"config": Config(token="t", intents=0), "count": 1, **options}
        async with open_fleet(store=store, **arguments):
            """Is not reached."""

    rejects(kit, opened, error)
    assert not store._store._tables.values


@pytest.mark.parametrize("member", ["", 5, "-", "\ud800", "x" * 129])
def test_member_of_a_feed_is_checked_without_a_fleet(kit: Kit, member: Any) -> None:
    # A feed would wait for one.
    rejects(kit, lambda: feed(MemoryStore(), member=member), "invalid member")


def test_token_that_is_no_text_is_rejected(kit: Kit) -> None:
    for token in (None, b"secret", 5):
        rejects(kit, functools.partial(find_fleet, MemoryStore(), token), "token is of type")  # type: ignore[arg-type]


def test_numbers_of_a_subclass_are_written(kit: Kit) -> None:
    class Number(int):
        __slots__ = ()

    store = MemoryStore()
    config = Config(token="t", intents=0, gateway_url="ws://127.0.0.1:1")

    async def main() -> None:
        async with kit.limit(), open_fleet(config, store, count=Number(2)) as opened:
            assert opened.count == 2
            await reshard(store, Number(3))

    kit.run(main)
