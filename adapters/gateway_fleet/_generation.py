"""Generation of a fleet: the number of shards, which all members share."""

from __future__ import annotations

import contextlib
import secrets

import anyio
import msgspec

from gateway_fleet.store import Store, StoreError
from gateway_proto import LocalProtocolError
from gateway_proto.session import token_fingerprint

__all__ = ["Generation", "agree", "find_fleet", "keep", "read_generation"]

_KEY = "generation"


class Generation(msgspec.Struct, frozen=True):
    """One number of shards, with members and logs of its own."""

    id: str
    count: int


async def read_generation(store: Store) -> tuple[Generation | None, int]:
    """Return the present generation, or None before the first, and its revision."""
    data, revision = await store.compare_and_set(_KEY, None, 0)
    return (None if data is None else _decoded(data)), revision


async def agree(store: Store, count: int, *, ttl: float) -> Generation:
    """Return the generation with `count` shards, and begin it if no member of another one is live.

    Raises `LocalProtocolError` if members run another number of shards, and `StoreError`.
    """
    while True:
        present, revision = await read_generation(store)
        if present is not None and present.count == count:
            return present
        if present is not None and await _is_live(store.scoped(present.id), ttl):
            raise LocalProtocolError(
                f"invalid count {count}: members of the fleet run {present.count} shards"
            )
        wanted = Generation(secrets.token_hex(4), count)
        data, _ = await store.compare_and_set(_KEY, msgspec.json.encode(wanted), revision)
        if data is not None and _decoded(data) == wanted:
            return wanted


async def keep(store: Store, generation: Generation, seconds: float) -> None:
    """Look every `seconds` whether the generation is the present one, until cancelled.

    If the engine has lost it, write it again: else the next member would begin another one beside
    this. Raises `LocalProtocolError` if another one has begun while this member was cut off.
    """
    while True:
        await anyio.sleep(seconds)
        with contextlib.suppress(StoreError):
            present, revision = await read_generation(store)
            if present is None:
                value = msgspec.json.encode(generation)
                data, _ = await store.compare_and_set(_KEY, value, revision)
                present = generation if data is None else _decoded(data)
            if present != generation:
                raise LocalProtocolError(
                    f"other processes run {present.count} shards now: this one was taken for dead"
                )


async def find_fleet(store: Store, token: str) -> tuple[Store, int] | None:
    """Return the store with the logs of a bot's fleet, and its number of shards; None without.

    `store.records(shard, after)` of the result reads a log. Raises `StoreError`.
    """
    bot = store.scoped(token_fingerprint(token))
    present, _ = await read_generation(bot)
    return None if present is None else (bot.scoped(present.id), present.count)


async def _is_live(store: Store, ttl: float) -> bool:
    """Whether a member writes heartbeats: an empty value of no member changes nothing."""
    before = await store.heartbeat("-", b"")
    end = anyio.current_time() + ttl
    while before and anyio.current_time() < end:
        await anyio.sleep(ttl / 10)
        now = await store.heartbeat("-", b"")
        if any(before.get(member) != value for member, value in now.items()):
            return True
    return False


def _decoded(data: bytes) -> Generation:
    try:
        generation = msgspec.json.decode(data, type=Generation)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise StoreError(f"the generation in the engine is invalid: {error}") from None
    if generation.count < 1:
        raise StoreError(f"the generation in the engine has {generation.count} shards")
    return generation
