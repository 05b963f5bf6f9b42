"""The generation that a group reads: one value in the store, which all its consumers follow."""

from __future__ import annotations

import contextlib

import anyio

from gateway_fleet._feed_group import FeedGroup
from gateway_fleet._generation import read_generations
from gateway_fleet.store import Store, StoreError
from gateway_proto import DataError
from gateway_proto.fleet import Generation, GroupPlace

__all__ = ["join_group", "until_next_place"]

_KEY = "place"
_CHANGE_SECONDS = 0.25
"""Time between two looks while the fleet changes the number of its shards."""


async def join_group(bot: Store, group: str, present: Generation) -> GroupPlace:
    """Return the place of a group; a new one begins in the present generation."""
    scope = bot.scoped(f"group:{group}")
    value, revision = await scope.compare_and_set(_KEY, None, 0)
    if value is None:
        wanted = GroupPlace(present).to_bytes()
        value, _ = await scope.compare_and_set(_KEY, wanted, revision)
    return _decoded(value)


async def until_next_place(
    bot: Store, group: str, consumer: FeedGroup, interval: float
) -> GroupPlace:
    """Wait until the group reads another generation than the consumer, and return the place.

    Moves the group there once all consumers have handled the cutover of all shards.
    """
    scope = bot.scoped(f"group:{group}")
    here = consumer.place
    is_changing = False
    while True:
        await anyio.sleep(min(interval, _CHANGE_SECONDS) if is_changing else interval)
        with contextlib.suppress(StoreError):
            generations, _ = await read_generations(bot)
            value, revision = await scope.compare_and_set(_KEY, None, 0)
            if value is None:  # the engine has lost it
                value, revision = await scope.compare_and_set(_KEY, here.to_bytes(), revision)
            if (place := _decoded(value)) != here:
                return place
            if generations is None:
                continue
            consumer.is_over = generations.present != here.generation
            is_changing = consumer.is_over or generations.next is not None
            consumer.report()
            if (wanted := here.following(generations, consumer.stages)) is not None:
                value, _ = await scope.compare_and_set(_KEY, wanted.to_bytes(), revision)
                if (place := _decoded(value)) != here:
                    return place


def _decoded(value: bytes | None) -> GroupPlace:
    try:
        return GroupPlace.from_bytes(value or b"")
    except DataError as error:
        raise StoreError(f"the place of the group in the engine is invalid: {error}") from None
