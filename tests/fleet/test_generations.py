"""Generations of a fleet: the value that all members share, and when each phase ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import (
    DataError,
    Dispatch,
    HeartbeatAcked,
    LocalProtocolError,
    Ready,
    Resumed,
    SessionInvalidated,
)
from gateway_proto.fleet import (
    Generation,
    GenerationPhase,
    Generations,
    GroupPlace,
    Preparation,
    Resharding,
    Stage,
)

FOUR, EIGHT = Generation("a", 4), Generation("b", 8)
ANNOUNCED = Generations(FOUR).announced("b", 8)
ENTERING = ANNOUNCED.advanced()
LEAVING = ENTERING.advanced()
GENERATIONS = st.builds(Generation, st.text(min_size=1, max_size=64), st.integers(1, 2**16))
READY = msgspec.Raw(b'{"guilds": [{"id": "1", "unavailable": true}]}')


def stages(count: int, stage: Stage, **others: Any) -> dict[int, Stage]:
    return dict.fromkeys(range(count), stage) | {int(n): each for n, each in others.items()}


# ----- the value -----


def test_first_generation_has_no_previous_one() -> None:
    assert Generations.begun("a", 4) == Generations(FOUR)


def test_generation_without_live_members_is_the_previous_one() -> None:
    assert Generations.begun("b", 8, before=Generations(FOUR)) == Generations(
        EIGHT, earlier=(FOUR,)
    )


def test_announced_generation_is_next_to_the_present_one() -> None:
    assert Generations(FOUR, EIGHT, GenerationPhase.PREPARING) == ANNOUNCED


def test_announcement_during_a_change_is_refused() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ANNOUNCED.announced("c", 16)

    assert str(caught.value) == (
        "a change to 8 shards is under way (preparing): wait for its end, or cancel it while it is "
        "preparing"
    )


def test_announcement_of_the_present_count_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="invalid count 4: the fleet runs 4 shards now"):
        Generations(FOUR).announced("b", 4)


@pytest.mark.parametrize(("id_", "count"), [("", 8), ("b", 0), ("b", 2**16 + 1), ("b", "8")])
def test_invalid_generation_is_refused(id_: str, count: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"invalid (id|count)"):
        Generations(FOUR).announced(id_, count)


def test_change_is_cancelled_while_it_is_preparing() -> None:
    assert ANNOUNCED.cancelled() == Generations(FOUR, dropped=(EIGHT,))


@pytest.mark.parametrize("late", [ENTERING, LEAVING])
def test_change_is_not_cancelled_once_events_are_kept(late: Generations) -> None:
    with pytest.raises(LocalProtocolError, match=f"is {late.phase.value}: it can be cancelled"):
        late.cancelled()


@pytest.mark.parametrize("change", [Generations.cancelled, Generations.advanced])
def test_change_that_was_not_announced_is_refused(change: Callable[[Generations], Any]) -> None:
    with pytest.raises(LocalProtocolError, match="no change of the number of shards is under way"):
        change(Generations(FOUR))


def test_change_passes_through_each_phase() -> None:
    assert Generations(FOUR, EIGHT, GenerationPhase.ENTERING) == ENTERING
    assert Generations(FOUR, EIGHT, GenerationPhase.LEAVING) == LEAVING
    assert LEAVING.advanced() == Generations(EIGHT, earlier=(FOUR,))


@given(
    st.builds(
        Generations,
        GENERATIONS,
        st.none() | GENERATIONS,
        st.sampled_from(GenerationPhase),
        st.lists(GENERATIONS, max_size=3).map(tuple),
    )
)
def test_value_equals_its_decoded_bytes(generations: Generations) -> None:
    assert Generations.from_bytes(generations.to_bytes()) == generations


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b'{"present": {"id": "", "count": 4}}',
        b'{"present": {"id": "a", "count": 0}}',
        b'{"present": {"id": "a", "count": 65537}}',
        b'{"present": {"id": "\xff", "count": 1}}',
        b'{"present": {"id": "a", "count": 1}, "phase": "done"}',
        b"[" * 5000,
    ],
)
def test_invalid_bytes_raise_data_error(data: bytes) -> None:
    with pytest.raises(DataError, match="data is not the generations of a fleet"):
        Generations.from_bytes(data)


def test_consumers_continue_in_each_generation_in_turn() -> None:
    two = Generation("c", 2)
    generations = Generations(two, earlier=(FOUR, EIGHT))

    assert generations.after(FOUR) == EIGHT
    assert generations.after(EIGHT) == two
    assert generations.after(two) is None
    assert generations.after(Generation("forgotten", 9)) == two


def test_sixteen_earlier_generations_are_known() -> None:
    generations = Generations.begun("0", 1)
    for number in range(1, 21):
        generations = generations.announced(str(number), 1 + number % 2)
        while generations.next is not None:
            generations = generations.advanced()

    assert [each.id for each in generations.earlier] == [str(n) for n in range(4, 20)]


# ----- the place of a group -----


def test_group_enters_the_next_generation_after_all_cutovers() -> None:
    place, done = GroupPlace(FOUR), LEAVING.advanced()
    left = stages(4, Stage.LEFT)

    assert place.following(done, {}) is None
    assert place.following(done, {n: left[n] for n in (0, 1, 3)}) is None
    assert place.following(LEAVING, left) is None, "the change is not complete"
    assert place.following(done, left) == GroupPlace(EIGHT, entered=True)
    assert GroupPlace(EIGHT).following(done, stages(8, Stage.LEFT)) is None


@given(st.builds(GroupPlace, GENERATIONS, st.booleans()))
def test_place_equals_its_decoded_bytes(place: GroupPlace) -> None:
    assert GroupPlace.from_bytes(place.to_bytes()) == place


@pytest.mark.parametrize("data", [b"", b"{}", b'{"generation": {"id": "a", "count": 0}}'])
def test_invalid_place_raises_data_error(data: bytes) -> None:
    with pytest.raises(DataError, match="data is not the place of a group"):
        GroupPlace.from_bytes(data)


# ----- when a phase ends -----


def test_nothing_is_wanted_without_a_change() -> None:
    done = stages(4, Stage.LEFT)

    assert Resharding().wanted(Generations(FOUR), done, {}, now=0.0) is None


def test_preparing_ends_once_all_shards_are_prepared() -> None:
    resharding = Resharding()
    prepared = stages(8, Stage.PREPARED)
    missing = {shard: stage for shard, stage in prepared.items() if shard != 5}

    assert resharding.wanted(ANNOUNCED, {}, missing, now=0.0) is None
    assert resharding.wanted(ANNOUNCED, {}, prepared, now=0.0) == ENTERING


def test_entering_ends_some_time_after_all_have_entered() -> None:
    resharding = Resharding(settle=2.0)
    entered = stages(8, Stage.ENTERED)

    assert resharding.wanted(ENTERING, {}, entered | {3: Stage.PREPARED}, now=10.0) is None
    assert resharding.wanted(ENTERING, {}, entered, now=20.0) is None
    assert resharding.wanted(ENTERING, {}, entered, now=21.9) is None
    assert resharding.wanted(ENTERING, {}, entered, now=22.0) == LEAVING


def test_each_change_settles_for_itself() -> None:
    resharding = Resharding(settle=2.0)
    resharding.wanted(ENTERING, {}, stages(8, Stage.ENTERED), now=0.0)
    later = Generations(EIGHT).announced("c", 2).advanced()

    assert resharding.wanted(later, {}, stages(2, Stage.ENTERED), now=50.0) is None
    assert resharding.wanted(later, {}, stages(2, Stage.ENTERED), now=52.0) == later.advanced()


def test_leaving_ends_once_all_present_shards_have_left() -> None:
    resharding = Resharding()
    entered = stages(8, Stage.ENTERED)
    left = stages(4, Stage.LEFT)

    assert resharding.wanted(LEAVING, {}, entered, now=0.0) is None
    assert resharding.wanted(LEAVING, left | {2: Stage.PREPARED}, entered, now=0.0) is None
    assert resharding.wanted(LEAVING, left, {}, now=0.0) == Generations(EIGHT, earlier=(FOUR,))


@pytest.mark.parametrize("settle", [0.0, -1.0, float("nan"), "1", None])
def test_invalid_settle_time_is_refused(settle: Any) -> None:
    with pytest.raises(LocalProtocolError, match="settle"):
        Resharding(settle=settle)


# ----- a shard of the next generation -----


def ready(data: msgspec.Raw = READY) -> Ready:
    return Ready("READY", 1, data, session_id="s", version=10)


def guild(id_: str) -> Dispatch:
    return Dispatch("GUILD_CREATE", 2, msgspec.Raw(b'{"id": "%s"}' % id_.encode()))


def test_shard_is_prepared_with_its_last_guild() -> None:
    preparation = Preparation()

    for event in (HeartbeatAcked(0.1), ready(), guild("2")):
        preparation.add(event, now=5.0)
        assert not preparation.is_done(now=5.0)
    preparation.add(guild("1"), now=6.0)

    assert preparation.is_done(now=6.0)


def test_missing_guilds_are_awaited_for_30_seconds() -> None:
    preparation = Preparation()
    preparation.add(ready(), now=5.0)

    assert not preparation.is_done(now=34.9)
    assert preparation.is_done(now=35.0)


def test_new_session_prepares_its_shard_again() -> None:
    preparation = Preparation()
    preparation.add(ready(msgspec.Raw(b"{}")), now=5.0)
    assert preparation.is_done(now=5.0)

    preparation.add(SessionInvalidated(resumable=False), now=6.0)
    assert not preparation.is_done(now=60.0)
    preparation.add(ready(), now=61.0)
    assert not preparation.is_done(now=62.0)
    preparation.add(guild("1"), now=63.0)
    assert preparation.is_done(now=63.0)


def test_resumed_shard_of_another_member_is_prepared() -> None:
    preparation = Preparation()

    preparation.add(Resumed("RESUMED", 9, msgspec.Raw(b"{}")), now=5.0)

    assert preparation.is_done(now=5.0)


def test_resume_does_not_replace_the_guilds_that_are_missing() -> None:
    preparation = Preparation()
    preparation.add(ready(), now=5.0)

    preparation.add(Resumed("RESUMED", 9, msgspec.Raw(b"{}")), now=6.0)

    assert not preparation.is_done(now=6.0)


def test_generations_that_are_over_are_named() -> None:
    later = Generation("d", 2)
    generations = ANNOUNCED.cancelled().announced("d", 2)

    assert generations.over == (EIGHT,)
    while generations.next is not None:
        generations = generations.advanced()
    assert generations == Generations(later, earlier=(FOUR,), dropped=(EIGHT,))
    assert generations.over == (FOUR, EIGHT)


def test_announced_generation_is_dropped_if_another_begins() -> None:
    begun = Generations.begun("c", 2, before=ANNOUNCED)

    assert begun == Generations(Generation("c", 2), earlier=(FOUR,), dropped=(EIGHT,))


def test_sixteen_dropped_generations_are_known() -> None:
    generations = Generations(FOUR)
    for number in range(20):
        generations = generations.announced(str(number), 8).cancelled()

    assert [each.id for each in generations.dropped] == [str(number) for number in range(4, 20)]
