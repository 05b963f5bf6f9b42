"""Removal of what generations leave in a store that are over: nothing grows without a bound.

The head of a shard, with the session, must never expire while its generation is the present one. So
nothing expires by itself: a generation is forgotten once the store has it among those that are
over. Each member looks, since the one that ended the generation may be dead.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio

from gateway_fleet._drains import DRAINS_KEY
from gateway_fleet._feed_shard import cursor_key
from gateway_fleet._generation import read_generations
from gateway_fleet._presences import presence_key
from gateway_fleet.store import Store, StoreError
from gateway_proto.fleet import Generation, Generations

__all__ = ["forget_cursors", "forget_generations"]

_LOOK_SECONDS = 60.0
"""Time between two looks for generations that are over."""


async def forget_generations(bot: Store) -> None:
    """Have the generations of a bot removed that are over, until cancelled."""

    async def forget(generation: Generation) -> bool:
        shards = range(generation.count)
        keys = [DRAINS_KEY, *map(presence_key, shards)]
        return await bot.scoped(generation.id).forget(generation.count, keys)

    await _forget_repeatedly(bot, lambda known: known.over, forget)


async def forget_cursors(bot: Store, group: str, present: Generation) -> None:
    """Have what a group left in the generations removed that come before the one that it reads.

    Do so until cancelled.
    """

    def before(known: Generations) -> tuple[Generation, ...]:
        chain = (*known.earlier, known.present)
        return chain[: chain.index(present)] if present in chain else ()

    async def forget(generation: Generation) -> bool:
        scope = bot.scoped(generation.id).scoped(f"group:{group}")
        return await scope.forget(generation.count, [*map(cursor_key, range(generation.count))])

    await _forget_repeatedly(bot, before, forget)


async def _forget_repeatedly(
    bot: Store,
    choose: Callable[[Generations], tuple[Generation, ...]],
    forget: Callable[[Generation], Awaitable[bool]],
) -> None:
    """Forget the generations that are chosen, until cancelled.

    A process that was slow or stopped may write into a generation after that: each is forgotten
    again after 1, 2, 4, 8 and so on looks.
    """
    looks: Counter[Generation] = Counter()
    while True:
        with contextlib.suppress(StoreError):
            # Read each time: a store that fell back may have an ended generation as the present.
            known, _ = await read_generations(bot)
            over = () if known is None else choose(known)
            looks = Counter({each: looks[each] for each in over})
            for generation in over:
                count = looks[generation]
                is_power_of_two = count & (count - 1) == 0
                if not is_power_of_two or await forget(generation):
                    looks[generation] += 1
        await anyio.sleep(_LOOK_SECONDS)
