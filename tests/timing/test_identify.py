"""Queue of identify slots: order and interval of the shards of one process."""

from __future__ import annotations

import functools

from gateway_proto.timing.identify import IdentifyQueue


def test_slots_of_one_key_are_five_seconds_and_a_margin_apart() -> None:
    queue = IdentifyQueue()
    granted: list[tuple[int, float]] = []
    for shard in (0, 1):
        queue.join(shard, lambda now, shard=shard: granted.append((shard, now)))

    queue.handle_timer(now=0.0)
    assert queue.next_timer() == 5.25
    queue.handle_timer(now=5.25)

    assert granted == [(0, 0.0), (1, 5.25)]


def test_shard_that_got_a_slot_can_get_another() -> None:
    queue = IdentifyQueue()
    granted: list[float] = []
    for now in (0.0, 5.25, 10.5):
        queue.join(0, granted.append)
        queue.handle_timer(now=now)

    assert granted == [0.0, 5.25, 10.5]


def test_shard_that_refused_its_slot_rejoins_at_the_front() -> None:
    queue = IdentifyQueue()
    refused: list[int] = []

    def grant(shard: int, _now: float) -> bool:
        refused.append(shard)
        return False

    queue.join(5, functools.partial(grant, 5))
    queue.handle_timer(now=0.0)
    for shard in (1, 5):
        queue.join(shard, functools.partial(grant, shard))

    assert refused == [5]
    assert queue.waiting_shards == (5, 1)
