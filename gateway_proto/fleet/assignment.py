"""Assignment of shards to members: a pure function, so that no member has to decide it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from gateway_proto._checks import Each, as_tuple, rejected
from gateway_proto.fleet.member_record import SHARD_COUNT
from gateway_proto.fleet.records import NAME

__all__ = ["MAX_MEMBERS", "assign_shards"]

MAX_MEMBERS = 1000
"""Maximum number of members among which shards are divided."""
_MEMBERS = Each(NAME, f"at most {MAX_MEMBERS} names", most=MAX_MEMBERS)
_SCORES = struct.Struct(">8Q")
"""Eight scores of 64 bits, one digest of BLAKE2b."""


def assign_shards(members: Sequence[str], count: int) -> dict[int, str]:
    """Return the member of each of `count` shards; without members no shard has one.

    Rendezvous hashing: each shard prefers the members with the highest hash of both names, and each
    member takes the shards with its highest hashes, at most ⌈count / members⌉. The order of the
    members does not matter. Few shards move when a member joins or leaves. Raises
    `LocalProtocolError` for duplicate or invalid names, and for a count out of range.
    """
    names = as_tuple(members)
    _MEMBERS.named("members", names)
    if len(set(names)) != len(names):
        raise rejected("members", members, "each name once")
    SHARD_COUNT.named("count", count)
    return _assigned(sorted(names), count)


def _assigned(members: list[str], count: int) -> dict[int, str]:
    if not members:
        return {}
    # Members take ⌊count / members⌋ shards or one more. If all could take the upper bound, each
    # would take another shard when a member leaves and the bound grows. Of 3,000 shards of 300
    # members 48 move then, and not 261.
    least, more = divmod(count, len(members))
    ranked = sorted(members, key=lambda m: hashlib.blake2b(m.encode()).digest())
    larger = set(ranked[:more])
    bounds = [least + (member in larger) for member in members]
    scores = [list(_scores(member, count)) for member in members]
    preferred: dict[int, list[int]] = {}
    taken: list[list[tuple[int, int]]] = [[] for _ in members]
    # Deferred acceptance (Gale and Shapley, 1962): its result does not depend on the order of the
    # proposals, so a change of the members only has the consequences that it must have.
    waiting = list(range(count))
    while waiting:
        shard = waiting.pop()
        if shard not in preferred:  # members by ascending preference: the next is the last
            column = [row[shard] for row in scores]
            preferred[shard] = sorted(range(len(members)), key=column.__getitem__)
        index = preferred[shard].pop()
        heappush(taken[index], (scores[index][shard], shard))
        if len(taken[index]) > bounds[index]:
            waiting.append(heappop(taken[index])[1])
    return {shard: members[index] for index, shards in enumerate(taken) for _, shard in shards}


def _scores(member: str, count: int) -> Iterator[int]:
    """Yield the scores of a member for each shard, in order."""
    name = member.encode()
    for block in range(-(-count // 8)):
        digest = hashlib.blake2b(name, salt=block.to_bytes(8, "big")).digest()
        yield from _SCORES.unpack(digest)
