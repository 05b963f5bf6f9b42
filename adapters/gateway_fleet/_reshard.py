"""Change of the number of shards of a fleet: `reshard` and `cancel_reshard`."""

from __future__ import annotations

from collections.abc import Callable

from gateway_fleet._arguments import check_store
from gateway_fleet._bots import check_bot, find_bot
from gateway_fleet._generation import change_generations, new_id
from gateway_fleet.store import Store
from gateway_proto import LocalProtocolError
from gateway_proto.fleet import Generation, Generations

__all__ = ["cancel_reshard", "reshard"]


async def reshard(store: Store, count: int, *, bot: str | None = None) -> None:
    """Begin the change to `count` shards, which the members then make by themselves.

    They identify the new shards as slots allow. Once all are READY, the events are those of the new
    shards; each program and each consumer gets a `Cutover` there. `bot` is the fingerprint of the
    token, needed only if the store has several bots. The store must be open, as by `async with`.

    Raises `LocalProtocolError` for an invalid count, the present one, while a change is under way,
    and without a fleet; and `StoreError`.
    """
    id_ = new_id()
    await _change(store, bot, lambda generations: generations.announced(id_, count))


async def cancel_reshard(store: Store, *, bot: str | None = None) -> None:
    """Cancel the change to another number of shards: the new shards are closed.

    Raises `LocalProtocolError` without a change, once all new shards are READY, and if another
    process has announced a later change meanwhile; and `StoreError`.
    """
    meant: list[Generation | None] = []

    def cancelled(generations: Generations) -> Generations:
        meant.append(generations.next)
        if generations.next not in (None, meant[0]):
            # Another process has cancelled that one, and has announced this.
            raise LocalProtocolError("another change of the number of shards has begun meanwhile")
        return generations.cancelled()

    await _change(store, bot, cancelled)


async def _change(
    store: Store, bot: str | None, change: Callable[[Generations], Generations]
) -> None:
    check_store(store)
    check_bot(bot)
    found = await find_bot(store, bot)
    if found is None:
        raise LocalProtocolError("the store has no fleet: no member has been started yet")
    await change_generations(store.scoped(found), change)
