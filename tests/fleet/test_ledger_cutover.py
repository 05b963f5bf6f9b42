"""Ledger: the change to another number of shards."""

from __future__ import annotations

from gateway_proto.fleet import LogHead
from tests.fleet.ledger_calls import appended, dispatch, ledger, next_record, ready, session


def test_entering_ledger_keeps_events_after_its_mark() -> None:
    next_ = ledger(ready("s"), dispatch(2), keep_events=False)

    next_.enter()
    next_.add(dispatch(3))

    (record,) = appended(next_)
    assert record.entered
    assert [*record.events] == [("N", 3, b"{}")]
    assert record.session == session("s", 3)


def test_entering_ledger_appends_even_without_events() -> None:
    next_ = ledger(head=LogHead(4, "claim", "me", session("s", 2)), keep_events=False)

    next_.enter()

    (record,) = appended(next_)
    assert (record.entered, len(record.events), record.session) == (True, 0, session("s", 2))
    next_.add(dispatch(3))
    assert [record.entered for record in appended(next_)] == [False]


def test_entering_ledger_may_continue_without_events() -> None:
    next_ = ledger(ready("s"), keep_events=False)

    next_.enter(keep_events=False)
    next_.add(dispatch(2))

    (record,) = appended(next_)
    assert (record.entered, len(record.events), record.session) == (True, 0, session("s", 2))
    assert next_.is_clear


def test_session_that_begins_while_entering_keeps_the_mark() -> None:
    next_ = ledger(head=LogHead(4, "claim", "me", session("r", 9)), keep_events=False)
    next_.enter()

    next_.add(ready("s"))

    (record,) = appended(next_)
    assert record.entered and record.session_lost
    assert record.events.names == ("READY",)


def test_cutover_is_the_last_record_and_has_no_session() -> None:
    owner = ledger(ready("s"), dispatch(2))

    owner.cut_over()
    assert not owner.is_clear
    owner.add(dispatch(3))
    owner.touch()

    events, cutover = appended(owner)
    assert (events.cutover, len(events.events)) == (False, 2)
    assert (cutover.cutover, len(cutover.events), cutover.session) == (True, 0, None)
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
