"""Ledger: what an owner appends to the log of its shard, and when it learns that it lost it."""

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
    Dispatch,
    Event,
    HeartbeatAcked,
    LocalProtocolError,
    Ready,
    Resumed,
    Session,
    SessionInvalidated,
)
from gateway_proto.fleet import MAX_RECORD_SIZE, Ledger, LogHead, LogRecord, ReferenceStore
from gateway_proto.session import session_after

CLAIM = LogHead(4, "claim", "me")


def ready(session_id: str, sequence: int = 1) -> Ready:
    return Ready("READY", sequence, msgspec.Raw(b"{}"), session_id=session_id, version=10)


def dispatch(sequence: int | None, name: str = "N", data: bytes = b"{}") -> Dispatch:
    return Dispatch(name, sequence, msgspec.Raw(data))


def session(session_id: str, sequence: int) -> Session:
    return Session(id=session_id, sequence=sequence, version=10)


def ledger(*events: Event, head: LogHead = CLAIM, **settings: Any) -> Ledger:
    result = Ledger("me", head, **settings)
    for event in events:
        result.add(event)
    return result


def next_record(ledger: Ledger) -> LogRecord:
    append = ledger.next_append()
    assert append is not None
    return append[1]


def appended(ledger: Ledger) -> list[LogRecord]:
    """Return the records of all appends, each acknowledged."""
    records = []
    while (append := ledger.next_append()) is not None:
        records.append(append[1])
        ledger.appended(append[0].position + 1)
    return records


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
        (("READY", 1, b"{}"), ("N", 2, b"[1]"), ("N", 3, b"{}")),
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
    assert [sequence for _, sequence, _ in record.events] == [2, 3]
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

    assert record.events[1] == ("N", 0, b"{}")
    assert record.session == session("s", 5)


def test_name_with_a_lone_surrogate_is_logged_without_it() -> None:
    owner = ledger(ready("s"), dispatch(2, "N\ud800é"))

    record = next_record(owner)

    assert record.events[1][0] == "N?é"
    assert LogRecord.from_bytes(record.to_bytes()) == record


# ----- sessions -----


def test_resumed_is_logged_and_keeps_the_session() -> None:
    owner = ledger(
        Resumed("RESUMED", 12, heartbeat_interval=5),
        head=LogHead(4, "claim", "me", session("s", 9)),
    )

    (record,) = appended(owner)

    assert record.session == msgspec.structs.replace(session("s", 12), heartbeat_interval=5)
    assert [name for name, _, _ in record.events] == ["RESUMED"]
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

    events = (("READY", 1, b"{}"), ("N", 2, b"{}"))
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
    assert [name for name, _, _ in second.events] == ["READY", "N"]


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


# ----- refused appends -----


def test_own_record_in_the_head_means_that_its_answer_was_lost() -> None:
    owner = ledger(ready("s"))
    record = next_record(owner)
    owner.add(dispatch(2))

    assert owner.refused(record.head(5))

    assert owner.head == record.head(5)
    assert [sequence for _, sequence, _ in next_record(owner).events] == [2]


def test_unchanged_head_means_to_append_again() -> None:
    owner = ledger(ready("s"))
    append = owner.next_append()

    assert owner.refused(CLAIM)

    assert owner.next_append() == append


@pytest.mark.parametrize(
    "head",
    [
        LogHead(5, "claim of another", "other"),
        LogHead(5, "newer claim", "me"),
        LogHead(3, "before", "other"),  # a failover lost the claim
        LogHead(4, "instead", "other"),
        LogHead(4, "claim+1", "me"),  # the id of the own record at an impossible position
        LogHead(),
    ],
)
def test_any_other_head_fences(head: LogHead) -> None:
    owner = ledger(ready("s"))
    owner.next_append()
    owner.add(dispatch(2))

    assert not owner.refused(head)

    assert owner.is_fenced
    assert owner.is_clear and owner.next_append() is None
    assert owner.head == CLAIM


def test_fenced_ledger_appends_nothing_and_is_empty() -> None:
    owner = ledger(ready("s"))
    owner.next_append()
    owner.refused(LogHead(5, "claim of another", "other"))

    owner.add(ready("t"))
    owner.touch()

    assert owner.next_append() is None
    assert owner.is_clear and owner.pending_bytes == 0
    with pytest.raises(LocalProtocolError, match="no append is in flight"):
        owner.appended(6)


# ----- bounds -----


def test_pending_bytes_are_those_not_acknowledged() -> None:
    owner = ledger(ready("s"), dispatch(2, data=bytes(1000)), limit=530)

    assert owner.pending_bytes == next_record(owner).size() + 1000 + 28
    assert not owner.has_room
    owner.appended(5)
    assert owner.pending_bytes == 1000 + 28
    assert owner.has_room
    next_record(owner)
    owner.appended(6)
    assert owner.pending_bytes == 0
    assert owner.has_room


def test_ledger_with_twice_its_limit_has_no_room() -> None:
    size = ledger(ready("s")).pending_bytes

    assert not ledger(ready("s"), limit=size // 2).has_room
    assert ledger(ready("s"), limit=size // 2 + 1).has_room


def test_record_has_at_most_limit_bytes_or_one_event() -> None:
    sizes = [300, 300, 300, 5000, 10, 900]
    events = [dispatch(2 + number, data=bytes(size)) for number, size in enumerate(sizes)]
    owner = ledger(ready("s"), *events, limit=1000)

    records = appended(owner)

    assert [event for record in records for event in record.events][1:] == [
        ("N", event.sequence, event.raw) for event in events
    ]
    assert all(record.size() <= 1000 or len(record.events) == 1 for record in records)
    assert [record.session for record in records] == [
        session("s", record.events[-1][1]) for record in records
    ]


def test_record_has_at_most_65536_events() -> None:
    small = [dispatch(number, data=b"") for number in range(2, 2**16 + 3)]
    owner = ledger(ready("s"), *small, limit=10**7)

    records = appended(owner)

    assert [len(record.events) for record in records] == [2**16, 2]
    assert [record.session for record in records] == [
        session("s", 2**16),
        session("s", 2**16 + 2),
    ]


def test_resumed_after_a_full_record_begins_another() -> None:
    owner = ledger(ready("s"), dispatch(2, data=bytes(990)), Resumed("RESUMED", 3), limit=1000)

    records = appended(owner)

    assert [record.session for record in records] == [session("s", n) for n in (1, 2, 3)]


def test_events_that_were_read_already_are_accepted() -> None:
    owner = ledger(ready("s"), limit=1)

    for number in range(16):
        owner.add(dispatch(2 + number, data=bytes(10**6)))

    assert not owner.has_room
    with pytest.raises(LocalProtocolError) as caught:
        owner.add(dispatch(18, data=bytes(10**6)))
    assert str(caught.value) == (
        "the ledger has 16000494 bytes of events: read no more without has_room"
    )
    assert next_record(owner).events[0][0] == "READY"


def test_event_larger_than_a_record_is_rejected() -> None:
    owner = ledger(ready("s"))
    before = owner.pending_bytes

    with pytest.raises(LocalProtocolError) as caught:
        owner.add(dispatch(2, "GUILD_CREATE", bytes(MAX_RECORD_SIZE)))

    assert str(caught.value) == (
        "GUILD_CREATE has 16777288 bytes: a record of a log has at most 16711680, "
        "set Config.message_limit"
    )
    assert owner.pending_bytes == before
    assert next_record(owner).session == session("s", 1)


def test_largest_event_fits_into_a_record() -> None:
    owner = ledger(ready("s"), dispatch(2, "N", bytes(MAX_RECORD_SIZE - 64 * 2**10 - 28)))

    _, record = appended(owner)

    assert LogRecord.from_bytes(record.to_bytes()) == record


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


# ----- with a store whose answers are lost -----

EVENTS = st.one_of(
    st.just("dispatch"), st.just("dispatch"), st.just("resumed"), st.just("lost"), st.just("ready")
)
ANSWERS = st.sampled_from(["answered", "lost before", "lost after", "waits"])


@settings(deadline=None)
@given(st.lists(st.tuples(EVENTS, ANSWERS), max_size=60), st.integers(1, 300))
def test_log_has_each_event_once_whatever_answers_are_lost(
    steps: list[tuple[str, str]], limit: int
) -> None:
    """The log has the added dispatches in order, and its sessions are those of a fold over them."""
    store = ReferenceStore()
    store.append(0, LogHead(), LogRecord("claim", "me", claim=True))
    owner = Ledger("me", store.head(0), limit=limit)
    expected: list[tuple[str | None, str, int]] = []
    current: Session | None = None

    def answer(how: str) -> None:
        if how == "waits" or (append := owner.next_append()) is None:
            return
        position = None if how == "lost before" else store.append(0, *append)
        if how == "answered":
            if position is None:
                assert owner.refused(store.head(0))
            else:
                owner.appended(position)

    for number, (what, how) in enumerate(steps, start=2):
        event: Event = {
            "dispatch": dispatch(number),
            "resumed": Resumed("RESUMED", number),
            "lost": SessionInvalidated(),
            "ready": ready(f"s{number}"),
        }[what]
        owner.add(event)
        current = session_after(current, event)
        if isinstance(event, Dispatch):
            expected.append((current and current.id, event.name, event.sequence or 0))
        answer(how)
    while not owner.is_clear:
        answer("answered")

    records = [record for _, record in store.records(0, 1)]
    logged = [
        (record.session and record.session.id, name, sequence)
        for record in records
        for name, sequence, _ in record.events
    ]
    assert logged == expected
    assert store.head(0).session == owner.session == current
    assert owner.pending_bytes == 0
    assert len({record.id for record in records}) == len(records)
    # A record that lost a session follows one that had one.
    previous: Session | None = None
    for record in records:
        changed = previous is not None and (
            record.session is None or record.session.id != previous.id
        )
        assert record.session_lost == changed
        previous = record.session


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


# ----- the change to another number of shards -----


def test_entering_ledger_keeps_events_after_its_mark() -> None:
    next_ = ledger(ready("s"), dispatch(2), keep_events=False)

    next_.enter()
    next_.add(dispatch(3))

    (record,) = appended(next_)
    assert record.entered
    assert record.events == (("N", 3, b"{}"),)
    assert record.session == session("s", 3)


def test_entering_ledger_appends_even_without_events() -> None:
    next_ = ledger(head=LogHead(4, "claim", "me", session("s", 2)), keep_events=False)

    next_.enter()

    (record,) = appended(next_)
    assert (record.entered, record.events, record.session) == (True, (), session("s", 2))
    next_.add(dispatch(3))
    assert [record.entered for record in appended(next_)] == [False]


def test_entering_ledger_may_continue_without_events() -> None:
    next_ = ledger(ready("s"), keep_events=False)

    next_.enter(keep_events=False)
    next_.add(dispatch(2))

    (record,) = appended(next_)
    assert (record.entered, record.events, record.session) == (True, (), session("s", 2))
    assert next_.is_clear


def test_session_that_begins_while_entering_keeps_the_mark() -> None:
    next_ = ledger(head=LogHead(4, "claim", "me", session("r", 9)), keep_events=False)
    next_.enter()

    next_.add(ready("s"))

    (record,) = appended(next_)
    assert record.entered and record.session_lost
    assert [name for name, *_ in record.events] == ["READY"]


def test_cutover_is_the_last_record_and_has_no_session() -> None:
    owner = ledger(ready("s"), dispatch(2))

    owner.cut_over()
    assert not owner.is_clear
    owner.add(dispatch(3))
    owner.touch()

    events, cutover = appended(owner)
    assert (events.cutover, len(events.events)) == (False, 2)
    assert (cutover.cutover, cutover.events, cutover.session) == (True, (), None)
    assert owner.is_clear and owner.next_append() is None and owner.session is None


def test_cutover_without_events_is_appended() -> None:
    owner = ledger(head=LogHead(4, "claim", "me"))

    owner.cut_over()
    owner.cut_over()

    assert [record.cutover for record in appended(owner)] == [True]


def test_cutover_waits_for_the_append_in_flight() -> None:
    owner = ledger(ready("s"))
    first = next_record(owner)

    owner.cut_over()

    assert next_record(owner) is first
    assert [record.cutover for record in appended(owner)] == [False, True]


def test_fenced_ledger_neither_enters_nor_cuts_over() -> None:
    owner = ledger(ready("s"))
    next_record(owner)
    assert not owner.refused(LogHead(5, "other", "other"))

    owner.enter()
    owner.cut_over()

    assert owner.next_append() is None and owner.is_fenced
