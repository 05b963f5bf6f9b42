"""Assignment of shards: balanced, the same everywhere, and stable."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import assign_shards

NAMES = st.lists(st.sampled_from([f"host-{n}" for n in range(30)]), min_size=1, unique=True)
COUNTS = st.integers(1, 200)


@given(NAMES, COUNTS)
def test_each_shard_has_one_member(members: list[str], count: int) -> None:
    assigned = assign_shards(members, count)

    assert sorted(assigned) == list(range(count))
    assert set(assigned.values()) <= set(members)


@given(NAMES, COUNTS)
def test_members_differ_by_at_most_one_shard(members: list[str], count: int) -> None:
    sizes = Counter(assign_shards(members, count).values())

    least, rest = divmod(count, len(members))
    assert {sizes[member] for member in members} <= {least, least + bool(rest)}


@given(NAMES, COUNTS, st.randoms())
def test_order_of_the_members_does_not_matter(members: list[str], count: int, random: Any) -> None:
    shuffled = random.sample(members, len(members))

    assert assign_shards(shuffled, count) == assign_shards(members, count)


def test_assignment_is_the_same_on_every_machine() -> None:
    """The values are part of the protocol between members of different versions."""
    assert assign_shards(["a", "b", "c"], 8) == {
        0: "b",
        1: "c",
        2: "c",
        3: "b",
        4: "a",
        5: "a",
        6: "c",
        7: "a",
    }


@given(NAMES, COUNTS, st.sampled_from([f"new-{n}" for n in range(20)]))
def test_few_shards_move_when_a_member_joins_or_leaves(
    members: list[str], count: int, other: str
) -> None:
    fewer, more = assign_shards(members, count), assign_shards([*members, other], count)

    moved = sum(fewer[shard] != more[shard] for shard in fewer)

    own = sum(member == other for member in more.values())
    assert moved >= own
    assume(len(members) > 1)
    # Most of the others stay, although the bound of each member changes as well.
    assert moved <= max(6 * own, count // 2 + 1)


def test_mean_of_moved_shards_is_near_the_minimum() -> None:
    moved = least = 0
    for number in range(50):
        members = [f"{number}-{index}" for index in range(10)]
        before, after = assign_shards(members[:9], 64), assign_shards(members, 64)
        moved += sum(before[shard] != after[shard] for shard in before)
        least += sum(member == members[9] for member in after.values())

    assert moved <= 1.8 * least


def test_without_members_no_shard_is_assigned() -> None:
    assert assign_shards([], 4) == {}


def test_more_members_than_shards_get_one_or_none() -> None:
    assigned = assign_shards([f"m{n}" for n in range(10)], 3)

    assert len(set(assigned.values())) == 3


@pytest.mark.parametrize(
    ("members", "count", "error_text"),
    [
        ("abc", 4, "invalid members 'abc': expected at most 1000 names"),
        (["a", "a"], 4, "invalid members ['a', 'a']: expected each name once"),
        (["a", ""], 4, "invalid members '': expected a str of 1 to 256 characters"),
        (["a", 1], 4, "invalid members 1: expected a str"),
        ([str(n) for n in range(1001)], 4, "members has 1001 members: expected at most 1000 names"),
        (["a"], 0, "invalid count 0: expected an int from 1 to 65536"),
        (["a"], 65537, "invalid count 65537: expected an int from 1 to 65536"),
        (["a"], "4", "invalid count '4'"),
    ],
)
def test_invalid_arguments_raise(members: Any, count: Any, error_text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        assign_shards(members, count)

    assert str(caught.value).startswith(error_text)
