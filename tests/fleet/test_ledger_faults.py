"""Ledger: appends that the store refuses, and answers that are lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import (
    Dispatch,
    Event,
    LocalProtocolError,
    Resumed,
    Session,
    SessionInvalidated,
)
from gateway_proto.fleet import Ledger, LogHead, LogRecord, ReferenceStore
from gateway_proto.session import session_after
from tests.fleet.ledger_calls import CLAIM, dispatch, ledger, next_record, ready

# ----- refused appends -----


def test_own_record_in_the_head_means_that_its_answer_was_lost() -> None:
    owner = ledger(ready("s"))
    record = next_record(owner)
    owner.add(dispatch(2))

    assert owner.refused(record.head(5))

    assert owner.head == record.head(5)
    assert next_record(owner).events.sequences == (2,)


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
