"""Events of a feed: what a record of a log becomes for its consumers."""

from __future__ import annotations

from gateway_proto import Session
from gateway_proto.fleet import (
    Cutover,
    LoggedDispatch,
    LoggedEvents,
    LogRecord,
    SessionLost,
    feed_events,
)

SESSION = Session(id="s", sequence=3, version=10)


def test_dispatches_have_name_sequence_data_and_id() -> None:
    events = ("MESSAGE_CREATE", 2, b'{"content":"hi"}'), ("TYPING_START", 3, b"null")

    first, second = feed_events(LogRecord("a.1", "a", SESSION, LoggedEvents.of(*events)))

    assert isinstance(first, LoggedDispatch)
    assert (first.name, first.sequence, first.id) == ("MESSAGE_CREATE", 2, "s:2")
    assert first.data == {"content": "hi"}
    assert isinstance(second, LoggedDispatch)
    assert (second.id, second.data) == ("s:3", None)


def test_dispatch_without_a_sequence_has_the_id_of_its_record() -> None:
    events = ("A", 0, b"1"), ("B", 0, b"2")

    made = list(feed_events(LogRecord("a.1", "a", SESSION, LoggedEvents.of(*events))))

    assert [(e.sequence, e.id) for e in made if isinstance(e, LoggedDispatch)] == [
        (None, "a.1:0"),
        (None, "a.1:1"),
    ]


def test_dispatch_without_a_session_has_the_id_of_its_record() -> None:
    (event,) = feed_events(LogRecord("a.1", "a", None, LoggedEvents.of(("A", 7, b"1"))))

    assert isinstance(event, LoggedDispatch)
    assert (event.sequence, event.id) == (7, "a.1:0")


def test_dispatches_of_different_ids_differ() -> None:
    one = LoggedDispatch("A", 1, id="s:1")

    assert one == LoggedDispatch("A", 1, id="s:1")
    assert one != LoggedDispatch("A", 1, id="t:1")


def test_lost_session_comes_first_and_cutover_last() -> None:
    record = LogRecord(
        "a.1", "a", SESSION, LoggedEvents.of(("A", 1, b"1")), session_lost=True, cutover=True
    )

    assert [type(event) for event in feed_events(record)] == [SessionLost, LoggedDispatch, Cutover]


def test_claim_has_no_events() -> None:
    assert list(feed_events(LogRecord("a.1", "a", SESSION, claim=True))) == []
