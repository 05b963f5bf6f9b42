"""Ledger: what an owner appends to the log of its shard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import (
    DialPurpose,
    DialScheduled,
    Event,
    HeartbeatAcked,
    LocalProtocolError,
    Resumed,
    SessionInvalidated,
)
from gateway_proto.fleet import Ledger, LoggedEvents, LogHead, LogRecord
from tests.fleet.ledger_calls import CLAIM, appended, dispatch, ledger, next_record, ready, session

# ----- appends -----


def test_new_owner_has_nothing_to_append() -> None:
    new = ledger(head=LogHead(4, "claim", "me", session("s", 9)))

    assert new.next_append() is None
    assert new.session == session("s", 9)
    assert new.is_clear and new.has_room and not new.is_fenced


def test_append_has_all_events_and_the_session_after_them() -> None:
    owner = ledger(ready("s"), dispatch(2, data=b"[1]"), dispatch(3))

    head, record = owner.next_append() or pytest.fail("nothing to append")

    assert head == CLAIM
    assert record == LogRecord(
        "claim+1",
        "me",
        session("s", 3),
        LoggedEvents.of(("READY", 1, b"{}"), ("N", 2, b"[1]"), ("N", 3, b"{}")),
        after="claim",
    )


def test_append_stays_the_same_until_it_is_answered() -> None:
    owner = ledger(ready("s"))
    first = owner.next_append()

    owner.add(dispatch(2))

    assert owner.next_append() == first
    assert not owner.is_clear


def test_next_append_has_the_events_added_meanwhile() -> None:
    owner = ledger(ready("s"))
    owner.next_append()
    owner.add(dispatch(2))
    owner.add(dispatch(3))

    owner.appended(9)
    head, record = owner.next_append() or pytest.fail("nothing to append")

    assert head == LogHead(9, "claim+1", "me", session("s", 1))
    assert record.events.sequences == (2, 3)
    assert record.session == session("s", 3)


def test_session_is_that_of_the_last_acknowledged_append() -> None:
    owner = ledger(ready("s"))
    owner.next_append()

    assert owner.session is None
    owner.appended(5)
    assert owner.session == session("s", 1)
    assert owner.head == LogHead(5, "claim+1", "me", session("s", 1))
    assert owner.is_clear


def test_ids_of_records_begin_with_the_claim_and_differ() -> None:
    owner = ledger()
    ids = set()
    for number in range(20):
        owner.add(ready(f"s{number}"))
        ids |= {record.id for record in appended(owner)}

    assert len(ids) == 20
    assert all(each.startswith("claim+") for each in ids)


def test_longest_id_of_a_claim_leaves_room_for_those_of_records() -> None:
    owner = ledger(ready("s"), head=LogHead(4, "c" * 240, "me"))

    record = next_record(owner)

    assert LogRecord.from_bytes(record.to_bytes()) == record


def test_events_that_are_not_dispatches_are_not_logged() -> None:
    owner = ledger(ready("s"))
    appended(owner)

    owner.add(HeartbeatAcked())

    assert owner.next_append() is None


def test_heartbeat_between_dispatches_keeps_the_session() -> None:
    owner = ledger(ready("s"), dispatch(2), HeartbeatAcked())

    assert next_record(owner).session == session("s", 2)


def test_touch_appends_a_record_without_events() -> None:
    owner = ledger(head=LogHead(4, "claim", "me", session("s", 9)))
    owner.touch()

    assert not owner.is_clear
    assert appended(owner) == [LogRecord("claim+1", "me", session("s", 9), after="claim")]
    assert owner.next_append() is None


def test_dispatch_without_a_number_is_logged_with_0() -> None:
    owner = ledger(ready("s", 5), dispatch(None))

    record = next_record(owner)

    assert [*record.events][1] == ("N", 0, b"{}")
    assert record.session == session("s", 5)


def test_name_with_a_lone_surrogate_is_logged_without_it() -> None:
    owner = ledger(ready("s"), dispatch(2, "N\ud800é"))

    record = next_record(owner)

    assert record.events.names[1] == "N?é"
    assert LogRecord.from_bytes(record.to_bytes()) == record


# ----- many at once -----


SPECIAL: dict[str, Event] = {
    "ready": ready("s2", 1000),
    "resumed": Resumed("RESUMED", 1001),
    "lost": SessionInvalidated(),
    "other": HeartbeatAcked(0.1),
    "name": dispatch(1002, name="\ud800é"),
    "unnumbered": dispatch(None),
    "large": dispatch(1003, data=bytes(700)),
}


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 40), st.sampled_from(sorted(SPECIAL))), max_size=30),
    st.integers(1, 600),
    st.booleans(),
)
def test_events_added_at_once_are_logged_as_if_one_by_one(
    kinds: list[int | str], limit: int, keep_events: bool
) -> None:
    events = [
        SPECIAL[kind] if isinstance(kind, str) else dispatch(2 + number, data=bytes(kind))
        for number, kind in enumerate(kinds)
    ]
    one_by_one = ledger(ready("s"), limit=limit, keep_events=keep_events)
    at_once = ledger(ready("s"), limit=limit, keep_events=keep_events)

    while events:
        added = at_once.add_all(events)
        for event in events[:added]:
            assert one_by_one.has_room
            one_by_one.add(event)
        events = events[added:]
        assert at_once.has_room == one_by_one.has_room
        assert not events or not at_once.has_room
        assert at_once.pending_bytes == one_by_one.pending_bytes
        assert appended(at_once) == appended(one_by_one)

    assert at_once.head == one_by_one.head


def test_events_added_at_once_fill_records_of_65536() -> None:
    owner = ledger(ready("s"), limit=10**7)

    added = owner.add_all([dispatch(number, data=b"") for number in range(2, 2**16 + 3)])

    assert added == 2**16 + 1
    assert [len(record.events) for record in appended(owner)] == [2**16, 2]


@pytest.mark.parametrize("numbers", [(2, None, 3), (None, 3), (3, None)])
def test_dispatch_without_a_number_may_be_added_at_once(numbers: tuple[int | None, ...]) -> None:
    owner = ledger(ready("s"))

    assert owner.add_all([dispatch(number) for number in numbers]) == len(numbers)
    record = next_record(owner)
    assert record.events.sequences == (1, *(number or 0 for number in numbers))
    assert record.session == session("s", 3)


@pytest.mark.parametrize("sequence", [-1, 2**63])
def test_invalid_sequence_added_at_once_is_rejected(sequence: int) -> None:
    owner = ledger(ready("s"))

    with pytest.raises(LocalProtocolError, match=r"invalid event\.sequence"):
        owner.add_all([dispatch(2), dispatch(sequence)])


def test_fenced_ledger_ignores_events_added_at_once() -> None:
    owner = ledger(ready("s"))
    next_record(owner)
    owner.refused(LogHead(9, "other", "b", session("s", 8)))

    assert owner.add_all([dispatch(2), dispatch(3)]) == 2
    assert owner.pending_bytes == 0
    assert owner.next_append() is None


# ----- sessions -----


def test_resumed_is_logged_and_keeps_the_session() -> None:
    owner = ledger(
        Resumed("RESUMED", 12, heartbeat_interval=5),
        head=LogHead(4, "claim", "me", session("s", 9)),
    )

    (record,) = appended(owner)

    assert record.session == msgspec.structs.replace(session("s", 12), heartbeat_interval=5)
    assert record.events.names == ("RESUMED",)
    assert not record.session_lost


def test_first_session_is_no_loss() -> None:
    assert [record.session_lost for record in appended(ledger(ready("s")))] == [False]


LOSSES: list[Event] = [
    SessionInvalidated(),
    DialScheduled(purpose=DialPurpose.IDENTIFY, url="wss://g", delay=0.0, reason="r"),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_loss_of_the_session_is_logged_after_its_events(loss: Event) -> None:
    owner = ledger(ready("s"), dispatch(2), loss)

    events = LoggedEvents.of(("READY", 1, b"{}"), ("N", 2, b"{}"))
    assert appended(owner) == [
        LogRecord("claim+1", "me", session("s", 2), events, after="claim"),
        LogRecord("claim+2", "me", None, session_lost=True, after="claim+1"),
    ]
    assert owner.session is None


def test_resumable_invalidation_is_no_loss() -> None:
    owner = ledger(ready("s"), SessionInvalidated(resumable=True))

    assert [record.session_lost for record in appended(owner)] == [False]


def test_loss_and_the_next_ready_share_a_record() -> None:
    owner = ledger(ready("s"), SessionInvalidated(), ready("t"), dispatch(2))

    first, second = appended(owner)

    assert (first.session, first.session_lost) == (session("s", 1), False)
    assert (second.session, second.session_lost) == (session("t", 2), True)
    assert second.events.names == ("READY", "N")


def test_ready_after_a_logged_loss_is_no_second_loss() -> None:
    owner = ledger(ready("s"), SessionInvalidated())
    appended(owner)
    owner.add(ready("t"))

    assert [record.session_lost for record in appended(owner)] == [False]


def test_ready_without_invalidation_is_a_loss() -> None:
    owner = ledger(ready("s"), dispatch(2), ready("t"))

    first, second = appended(owner)

    assert (first.session, first.session_lost) == (session("s", 2), False)
    assert (second.session, second.session_lost) == (session("t", 1), True)


def test_loss_of_the_claimed_session_is_logged() -> None:
    owner = ledger(SessionInvalidated(), head=LogHead(4, "claim", "me", session("s", 9)))

    assert appended(owner) == [LogRecord("claim+1", "me", None, session_lost=True, after="claim")]


def test_dispatches_without_a_session_are_logged_apart() -> None:
    owner = ledger(dispatch(7), ready("s"), SessionInvalidated(), dispatch(8), ready("t"))

    records = appended(owner)

    assert [(record.session_lost, len(record.events)) for record in records] == [
        (False, 1),
        (False, 1),
        (True, 1),
        (False, 1),
    ]
    assert [record.session and record.session.id for record in records] == [None, "s", None, "t"]


# ----- positions alone -----


def test_without_events_the_log_has_the_session_alone() -> None:
    owner = ledger(ready("s"), dispatch(2), dispatch(3), keep_events=False)

    assert owner.pending_bytes == 0
    assert appended(owner) == [LogRecord("claim+1", "me", session("s", 3), after="claim")]
    assert owner.is_clear
    owner.add(dispatch(4))
    assert not owner.is_clear
    assert appended(owner) == [LogRecord("claim+2", "me", session("s", 4), after="claim+1")]


def test_without_events_a_loss_is_logged() -> None:
    owner = ledger(
        dispatch(10),
        SessionInvalidated(),
        ready("t"),
        head=LogHead(4, "claim", "me", session("s", 9)),
        keep_events=False,
    )

    expected = LogRecord("claim+1", "me", session("t", 1), session_lost=True, after="claim")
    assert appended(owner) == [expected]


# ----- invalid arguments -----


@pytest.mark.parametrize("position", [4, 0, -1, 2**53, "5", True, None])
def test_position_must_follow_that_of_the_head(position: Any) -> None:
    owner = ledger(ready("s"))
    append = owner.next_append()

    with pytest.raises(LocalProtocolError, match="position"):
        owner.appended(position)

    assert owner.next_append() == append


@pytest.mark.parametrize(
    "answer", [lambda ledger: ledger.appended(5), lambda ledger: ledger.refused(CLAIM)]
)
def test_answer_without_an_append_raises(answer: Callable[[Ledger], Any]) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        answer(ledger())

    assert str(caught.value) == "no append is in flight: call next_append first"


@pytest.mark.parametrize("sequence", [-1, 2**63])
def test_sequence_out_of_range_raises_and_adds_nothing(sequence: int) -> None:
    owner = ledger(ready("s"))

    with pytest.raises(LocalProtocolError, match=r"invalid event\.sequence"):
        owner.add(dispatch(sequence))

    assert len(next_record(owner).events) == 1


@pytest.mark.parametrize(
    ("member", "head", "settings", "error_text"),
    [
        ("", CLAIM, {}, "invalid member ''"),
        ("me", None, {}, "head is None: expected a LogHead"),
        ("me", LogHead(), {}, "expected a claim of the member 'me'"),
        ("you", CLAIM, {}, "expected a claim of the member 'you'"),
        ("me", LogHead(-1, "claim", "me"), {}, "invalid LogHead.position -1"),
        ("me", LogHead(4, "c" * 241, "me"), {}, "expected a claim of the member 'me'"),
        ("me", CLAIM, {"limit": 0}, "invalid limit 0: expected an int from 1 to 16711680"),
        ("me", CLAIM, {"limit": 2**24}, "invalid limit 16777216"),
        ("me", CLAIM, {"keep_events": 1}, "invalid keep_events 1: expected a bool"),
    ],
)
def test_invalid_settings_raise(
    member: str, head: Any, settings: dict[str, Any], error_text: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Ledger(member, head, **settings)

    assert error_text in str(caught.value)


@pytest.mark.parametrize("head", [None, "head", LogHead(-1, "x", "y"), LogHead(2**53, "claim+1")])
def test_invalid_head_of_a_refusal_raises_and_changes_nothing(head: Any) -> None:
    owner = ledger(ready("s"))
    append = owner.next_append()

    with pytest.raises(LocalProtocolError, match=r"(?i)head"):
        owner.refused(head)

    assert owner.next_append() == append
