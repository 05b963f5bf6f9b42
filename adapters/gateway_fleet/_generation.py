"""Generations of a fleet in the store: the number of shards, and the change to another one."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import anyio

from gateway_fleet._arguments import check_store
from gateway_fleet.store import Store, StoreError
from gateway_proto import DataError, LocalProtocolError
from gateway_proto.fleet import Generation, Generations
from gateway_proto.session import token_fingerprint

__all__ = [
    "agree",
    "change_generations",
    "find_fleet",
    "new_id",
    "read_generation",
    "read_generations",
    "write_generations",
]

_KEY = "generation"


async def read_generations(store: Store) -> tuple[Generations | None, int]:
    """Return the generations of a bot, or None before the first, and their revision."""
    data, revision = await store.compare_and_set(_KEY, None, 0)
    return (None if data is None else _decoded(data)), revision


async def read_generation(store: Store) -> tuple[Generation | None, int]:
    """Return the present generation, or None before the first, and its revision."""
    generations, revision = await read_generations(store)
    return (None if generations is None else generations.present), revision


async def write_generations(
    store: Store, wanted: Generations, revision: int
) -> tuple[Generations, int]:
    """Write the generations if they still have the revision; return those of the store."""
    data, revision = await store.compare_and_set(_KEY, wanted.to_bytes(), revision)
    return (wanted if data is None else _decoded(data)), revision


async def change_generations(
    store: Store, change: Callable[[Generations], Generations]
) -> Generations:
    """Replace the generations by `change` of them, and return the new ones.

    Raises what `change` raises, `LocalProtocolError` without a fleet, and `StoreError`.
    """
    while True:
        known, revision = await read_generations(store)
        if known is None:
            raise LocalProtocolError("the store has no fleet: no member has been started yet")
        wanted = change(known)
        if (await write_generations(store, wanted, revision))[0] == wanted:
            return wanted


async def agree(store: Store, count: int, *, ttl: float, is_given: bool = True) -> Generations:
    """Return generations with `count` shards, and begin one if no member of another one is live.

    Unless `is_given`, the count is for the first generation alone. Raises `LocalProtocolError` if
    members run another number of shards, and `StoreError`.
    """
    while True:
        known, revision = await read_generations(store)
        if known is None:
            wanted = Generations.begun(new_id(), count)
        else:
            running = [each for each in (known.present, known.next) if each is not None]
            if not is_given or count in [each.count for each in running]:
                # It is written again: the write of a process that found nobody alive is refused.
                wanted = known
            elif await _are_live([store.scoped(each.id) for each in running], ttl):
                raise LocalProtocolError(
                    f"invalid count {count}: members of the fleet run {known.present.count} "
                    f"shards, change that with gateway-proto fleet reshard {count}"
                )
            else:
                wanted = Generations.begun(new_id(), count, before=known)
        if (await write_generations(store, wanted, revision))[0] == wanted:
            return wanted


async def find_fleet(store: Store, token: str) -> tuple[Store, int] | None:
    """Return the store with the logs of a bot's fleet, and its number of shards; None without.

    `store.records(shard, after)` of the result reads a log. Raises `StoreError`.
    """
    check_store(store)
    bot = store.scoped(token_fingerprint(token))
    present, _ = await read_generation(bot)
    return None if present is None else (bot.scoped(present.id), present.count)


def new_id() -> str:
    """Return an id for a generation."""
    return secrets.token_hex(4)


async def _are_live(stores: list[Store], ttl: float) -> bool:
    """Whether a member writes heartbeats: an empty value of no member changes nothing."""
    before = [await store.heartbeat("-", b"") for store in stores]
    end = anyio.current_time() + ttl
    while anyio.current_time() < end:  # also without members: one may have just started
        await anyio.sleep(ttl / 10)
        for store, table in zip(stores, before, strict=True):
            now = await store.heartbeat("-", b"")
            if any(table.get(member) != value for member, value in now.items()):
                return True
    return False


def _decoded(data: bytes) -> Generations:
    try:
        return Generations.from_bytes(data)
    except DataError as error:
        raise StoreError(f"the generations in the engine are invalid: {error}") from None
