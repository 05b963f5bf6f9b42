"""Steps of one process in the change between two generations."""

from __future__ import annotations

import pytest

from gateway_proto import LocalProtocolError, Session, State
from gateway_proto.fleet import (
    CancelChange,
    EnterNext,
    FinishChange,
    Generation,
    GenerationFollower,
    GenerationRole,
    Generations,
    LeavePresent,
    LogRecord,
    OpenNext,
    Stage,
)
from gateway_proto.fleet.generation_steps import is_about_to_resume, stage_of

FIRST = Generations.begun("a", 2)
PREPARING = FIRST.announced("b", 4)
ENTERING = PREPARING.advanced()
LEAVING = ENTERING.advanced()
DONE = LEAVING.advanced()
NEXT = Generation("b", 4)
SESSION = Session(id="s", sequence=1, version=10)


def _running(known: Generations = PREPARING) -> GenerationFollower:
    """A process that runs both generations."""
    follower = GenerationFollower(FIRST)
    follower.follow(known)
    follower.opened(NEXT)
    return follower


def test_generations_without_a_change_ask_for_no_step() -> None:
    follower = GenerationFollower(FIRST)

    assert follower.follow(FIRST) == []
    assert follower.known == FIRST
    assert follower.present == FIRST.present
    assert follower.next is None


def test_each_phase_asks_for_its_step_once() -> None:
    follower = GenerationFollower(FIRST)

    assert follower.follow(PREPARING) == [OpenNext(NEXT, GenerationRole.PREPARING)]
    assert follower.opened(NEXT) == []
    assert follower.next == NEXT
    assert follower.follow(PREPARING) == []
    assert follower.follow(ENTERING) == [EnterNext()]
    assert follower.follow(LEAVING) == [EnterNext(), LeavePresent()]
    assert follower.follow(LEAVING) == [EnterNext()]
    assert follower.follow(DONE) == [FinishChange()]
    assert follower.present == NEXT
    assert follower.next is None
    assert follower.follow(DONE) == []


def test_next_change_asks_for_all_steps_again() -> None:
    follower = _running(LEAVING)
    follower.follow(DONE)
    third = Generation("c", 3)
    change = DONE.announced("c", 3)

    assert follower.follow(change) == [OpenNext(third, GenerationRole.PREPARING)]
    assert follower.opened(third) == []
    assert follower.follow(change.advanced().advanced()) == [EnterNext(), LeavePresent()]


@pytest.mark.parametrize(
    ("known", "steps"), [(ENTERING, [EnterNext()]), (LEAVING, [EnterNext(), LeavePresent()])]
)
def test_generation_that_is_opened_late_keeps_events(
    known: Generations, steps: list[object]
) -> None:
    follower = GenerationFollower(FIRST)

    assert follower.follow(known) == [OpenNext(NEXT, GenerationRole.ENTERING)]
    assert follower.opened(NEXT) == steps


def test_phase_that_comes_while_shards_open_is_done_then() -> None:
    follower = GenerationFollower(FIRST)
    follower.follow(PREPARING)

    assert follower.follow(ENTERING) == []
    assert follower.opened(NEXT) == [EnterNext()]


def test_change_that_ends_while_shards_open_waits_for_them() -> None:
    follower = GenerationFollower(FIRST)
    follower.follow(LEAVING)

    assert follower.follow(DONE) == []
    assert follower.opened(NEXT) == [EnterNext(), LeavePresent()]
    assert follower.follow(DONE) == [FinishChange()]


def test_process_that_cannot_open_the_next_shards_leaves() -> None:
    follower = GenerationFollower(FIRST)
    follower.follow(PREPARING)
    follower.ended(NEXT)

    assert follower.follow(ENTERING) == []
    assert follower.follow(LEAVING) == [LeavePresent()]
    assert follower.follow(LEAVING) == []
    with pytest.raises(LocalProtocolError, match="other processes run 4 shards now"):
        follower.follow(DONE)


def test_change_that_ends_before_its_shards_open_opens_them() -> None:
    follower = GenerationFollower(LEAVING)

    assert follower.follow(DONE) == [OpenNext(NEXT, GenerationRole.ENTERING)]
    assert follower.follow(DONE) == []
    follower.opened(NEXT)
    assert follower.follow(DONE) == [FinishChange()]


def test_cancelled_change_is_closed() -> None:
    follower = _running()

    assert follower.follow(FIRST) == [CancelChange()]
    assert follower.next is None
    assert follower.follow(FIRST) == []


def test_change_that_is_cancelled_while_shards_open_is_closed() -> None:
    follower = GenerationFollower(FIRST)
    follower.follow(PREPARING)
    follower.follow(FIRST)

    assert follower.opened(NEXT) == []
    assert follower.follow(FIRST) == [CancelChange()]


def test_change_after_a_cancelled_one_is_opened() -> None:
    follower = _running()
    other = FIRST.announced("c", 3)

    steps = follower.follow(other)

    assert steps == [CancelChange(), OpenNext(Generation("c", 3), GenerationRole.PREPARING)]


def test_change_that_the_store_has_lost_is_an_error() -> None:
    follower = _running(ENTERING)

    with pytest.raises(LocalProtocolError, match="has lost the change to 4 shards: start again"):
        follower.follow(FIRST)


@pytest.mark.parametrize("follower", [GenerationFollower(FIRST), _running()])
def test_process_that_others_left_behind_is_an_error(follower: GenerationFollower) -> None:
    other = Generations.begun("c", 3, before=DONE)

    with pytest.raises(LocalProtocolError, match="run 3 shards now: this one was taken for dead"):
        follower.follow(other)


def test_generation_that_ended_here_is_not_opened_again() -> None:
    follower = _running()

    follower.ended(NEXT)

    assert follower.next is None
    assert follower.follow(PREPARING) == []
    with pytest.raises(LocalProtocolError, match="taken for dead"):
        follower.follow(DONE)


def test_generation_that_cannot_be_opened_is_no_longer_awaited() -> None:
    follower = GenerationFollower(LEAVING)
    follower.follow(DONE)

    follower.ended(NEXT)

    with pytest.raises(LocalProtocolError, match="taken for dead"):
        follower.follow(DONE)


def test_end_of_another_generation_changes_nothing() -> None:
    follower = _running()

    follower.ended(Generation("c", 3))

    assert follower.next == NEXT


def test_process_that_drains_opens_no_generation() -> None:
    follower = GenerationFollower(FIRST)

    follower.drain()

    assert follower.follow(PREPARING) == []
    assert follower.follow(DONE) == []
    assert follower.present == FIRST.present


def test_process_that_drains_ends_the_change_that_it_runs() -> None:
    follower = _running(LEAVING)

    follower.drain()

    assert follower.follow(DONE) == [FinishChange()]


@pytest.mark.parametrize(
    ("known", "role"),
    [
        (FIRST, GenerationRole.PRESENT),
        (PREPARING, GenerationRole.PRESENT),
        (ENTERING, GenerationRole.PRESENT),
        (LEAVING, GenerationRole.LEAVING),
        (DONE, GenerationRole.PRESENT),
    ],
)
def test_role_of_the_present_generation_at_a_start(
    known: Generations, role: GenerationRole
) -> None:
    assert GenerationRole.of_present(known) is role


def test_only_a_prepared_generation_drops_events() -> None:
    assert [role for role in GenerationRole if not role.keeps_events] == [GenerationRole.PREPARING]


def test_shard_of_a_left_generation_dials_with_a_session_alone() -> None:
    assert [role for role in GenerationRole if not role.dials(None)] == [GenerationRole.LEAVING]
    assert all(role.dials(SESSION) for role in GenerationRole)


def test_prepared_resume_and_present_identify_must_look() -> None:
    assert [role for role in GenerationRole if role.must_look(SESSION)] == [
        GenerationRole.PREPARING
    ]
    assert [role for role in GenerationRole if role.must_look(None)] == [GenerationRole.PRESENT]


def test_session_without_ready_is_about_to_resume() -> None:
    assert is_about_to_resume(SESSION, None)
    assert is_about_to_resume(SESSION, State.RESUMING)
    assert not is_about_to_resume(SESSION, State.READY)
    assert not is_about_to_resume(None, State.IDENTIFYING)


def test_record_shows_the_stage_of_its_shard() -> None:
    assert stage_of(LogRecord("r", "m")) is None
    assert stage_of(LogRecord("r", "m", entered=True)) is Stage.ENTERED
    assert stage_of(LogRecord("r", "m", cutover=True)) is Stage.LEFT
