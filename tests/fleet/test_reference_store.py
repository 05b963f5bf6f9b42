"""What each store of a fleet must do, shown with the reference store."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError, Session
from gateway_proto.fleet import (
    MAX_MESSAGE_SIZE,
    MAX_MESSAGES,
    LoggedEvents,
    LogHead,
    LogRecord,
    ReferenceStore,
)
from gateway_proto.fleet.mailboxes import Mailboxes

SESSION = Session(id="s", sequence=7, version=10)


def record(record_id: str, size: int = 0) -> LogRecord:
    return LogRecord(record_id, "member", SESSION, LoggedEvents.of(("N", 7, bytes(size))))


def filled(count: int, **bounds: int) -> ReferenceStore:
    """Return a store whose shard 0 has `count` records of 1,000 bytes."""
    store = ReferenceStore(**bounds)
    for number in range(count):
        assert store.append(0, store.head(0), record(f"r{number + 1}", 1000)) == number + 1
    return store


# ----- heartbeats -----


def test_heartbeat_writes_one_value_and_returns_all() -> None:
    store = ReferenceStore()

    assert store.heartbeat("a", b"1") == {"a": b"1"}
    assert store.heartbeat("b", b"2") == {"a": b"1", "b": b"2"}
    assert store.heartbeat("a", b"3") == {"a": b"3", "b": b"2"}


def test_heartbeat_with_an_empty_value_removes_the_member() -> None:
    store = ReferenceStore()
    store.heartbeat("a", b"1")

    assert store.heartbeat("a", b"") == {}
    assert store.heartbeat("b", b"") == {}


def test_returned_table_is_a_copy() -> None:
    store = ReferenceStore()
    table = store.heartbeat("a", b"1")

    store.heartbeat("b", b"2")

    assert table == {"a": b"1"}


# ----- logs -----


def test_head_of_an_empty_log_has_position_0() -> None:
    assert ReferenceStore().head(3) == LogHead()


def test_append_after_the_head_returns_its_position() -> None:
    store = ReferenceStore()

    assert store.append(0, LogHead(), record("r1")) == 1
    assert store.head(0) == LogHead(1, "r1", "member", SESSION)
    assert store.append(0, store.head(0), record("r2")) == 2


def test_append_after_an_earlier_head_is_refused() -> None:
    store = filled(2)
    head = store.head(0)

    assert store.append(0, LogHead(1, "r1"), record("late")) is None
    assert store.append(0, LogHead(), record("late")) is None
    assert store.head(0) == head


def test_append_after_the_position_of_another_id_is_refused() -> None:
    store = filled(2)
    ghost = store.head(0)
    store.rewind(0, 1)
    store.append(0, store.head(0), record("other"))

    assert store.head(0).position == ghost.position
    assert store.append(0, ghost, record("late")) is None


def test_shards_have_separate_logs() -> None:
    store = filled(2)

    assert store.head(1) == LogHead()
    assert store.records(1, 0) == []


def test_records_follow_the_given_position() -> None:
    store = filled(3)

    assert [(position, each.id) for position, each in store.records(0, 1)] == [(2, "r2"), (3, "r3")]
    assert store.records(0, 3) == []
    assert store.records(0, 9) == []


def test_oldest_records_beyond_the_bounds_are_dropped() -> None:
    by_count, by_size = filled(5, max_records=2), filled(5, max_bytes=2500)

    assert [position for position, _ in by_count.records(0, 0)] == [4, 5]
    assert [position for position, _ in by_size.records(0, 0)] == [4, 5]


def test_newest_record_is_kept_whatever_its_size() -> None:
    store = filled(2, max_bytes=10)

    assert [position for position, _ in store.records(0, 0)] == [2]
    assert store.append(0, store.head(0), record("r3")) == 3


# ----- failovers -----


def test_rewind_drops_a_tail_together_with_its_head() -> None:
    store = filled(3)

    store.rewind(0, 1)

    assert store.head(0).id == "r1"
    assert [each.id for _, each in store.records(0, 0)] == ["r1"]


def test_rewind_to_the_start_leaves_an_empty_log() -> None:
    store = filled(3)

    store.rewind(0, 0)
    store.rewind(0, 0)

    assert store.head(0) == LogHead()
    assert store.append(0, LogHead(), record("r1")) == 1


def test_rewind_frees_the_bytes_of_the_dropped_records() -> None:
    store = filled(2, max_bytes=2500)

    store.rewind(0, 1)
    store.append(0, store.head(0), record("r2", 1000))

    assert [position for position, _ in store.records(0, 0)] == [1, 2]


@pytest.mark.parametrize("position", [0, 3, 6, -1, "4"])
def test_rewind_to_a_record_that_is_not_kept_raises(position: Any) -> None:
    store = filled(5, max_records=2)

    with pytest.raises(LocalProtocolError, match="invalid position"):
        store.rewind(0, position)

    assert store.head(0).position == 5


# ----- values -----


def test_value_is_set_only_at_its_revision() -> None:
    store = ReferenceStore()

    assert store.compare_and_set("k", None, 0) == (None, 0)
    assert store.compare_and_set("k", b"1", 0) == (b"1", 1)
    assert store.compare_and_set("k", b"2", 0) == (b"1", 1)
    assert store.compare_and_set("k", b"2", 1) == (b"2", 2)
    assert store.compare_and_set("k", None, 1) == (b"2", 2)
    assert store.compare_and_set("other", b"1", 1) == (None, 0)


# ----- scopes -----


def test_scopes_share_a_store_and_separate_their_keys() -> None:
    store = ReferenceStore()
    a, b = store.scoped("a"), store.scoped("b")
    for each in (a, b):
        each.heartbeat(each._prefix, b"1")
        each.append(0, LogHead(), record(each._prefix))
        each.compare_and_set("k", each._prefix.encode(), 0)

    for each in (store.scoped("a"), store.scoped("b")):
        assert set(each.heartbeat(each._prefix, b"1")) == {each._prefix}
        assert each.head(0).id == each._prefix
        assert each.compare_and_set("k", None, 0) == (each._prefix.encode(), 1)
    assert store.head(0) == LogHead()


def test_scope_within_a_scope_is_another_one() -> None:
    store = ReferenceStore()
    store.scoped("a").scoped("b").heartbeat("m", b"1")

    assert store.scoped("a").heartbeat("n", b"1") == {"n": b"1"}
    assert store.scoped("a").scoped("b").heartbeat("n", b"1") == {"m": b"1", "n": b"1"}


def test_scope_has_the_bounds_of_its_store() -> None:
    scope = ReferenceStore(max_records=1).scoped("a")
    for name in ("r1", "r2"):
        scope.append(0, scope.head(0), record(name))

    assert [each.id for _, each in scope.records(0, 0)] == ["r2"]


# ----- arguments -----


@pytest.mark.parametrize(
    ("verb", "arguments", "error_text"),
    [
        ("heartbeat", ("", b""), "invalid member '': expected a str that is not empty"),
        ("heartbeat", ("a", "1"), "invalid value '1': expected bytes"),
        ("head", (-1,), "invalid shard -1: expected an int from 0 to"),
        ("append", (0, None, record("r")), "after is None: expected a LogHead"),
        ("append", (0, LogHead(), b""), "invalid record b'': expected a LogRecord"),
        ("records", (0, "1"), "invalid after '1'"),
        ("records", ("0", 1), "invalid shard '0'"),
        ("compare_and_set", ("k", "v", 0), "invalid value 'v': expected bytes, or None"),
        ("compare_and_set", ("k", b"v", -1), "invalid revision -1"),
        ("compare_and_set", (1, b"v", 0), "invalid key 1"),
        ("scoped", ("",), "invalid prefix ''"),
        ("rewind", (None, 0), "shard is None"),
    ],
)
def test_invalid_arguments_raise(verb: str, arguments: tuple[Any, ...], error_text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        getattr(ReferenceStore(), verb)(*arguments)

    assert str(caught.value).startswith(error_text)


@pytest.mark.parametrize("name", ["max_records", "max_bytes"])
def test_bounds_of_a_store_are_positive(name: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"invalid {name} 0"):
        ReferenceStore(**{name: 0})


# ----- mailboxes -----


def test_messages_are_taken_once_and_in_order() -> None:
    store = ReferenceStore()
    for message in (b"b", b"a", b"c"):
        assert store.post("m", message, 5.0, now=1.0)

    assert store.take("other", now=1.0) == []
    assert store.scoped("x").take("m", now=1.0) == []
    assert store.take("m", now=1.0) == [b"b", b"a", b"c"]
    assert store.take("m", now=1.0) == []


def test_message_is_removed_only_before_it_is_taken() -> None:
    store = ReferenceStore()
    store.post("m", b"a", 5.0, now=0.0)
    store.post("m", b"b", 5.0, now=0.0)

    assert store.unpost("m", b"a", now=0.0)
    assert not store.unpost("m", b"a", now=0.0)
    assert store.take("m", now=0.0) == [b"b"]
    assert not store.unpost("m", b"b", now=0.0)


def test_message_expires_after_its_seconds() -> None:
    store = ReferenceStore()
    for message, ttl in ((b"a", 1.0), (b"b", 2.0), (b"c", 3.0)):
        store.post("m", message, ttl, now=10.0)

    assert not store.unpost("m", b"a", now=11.0)
    assert store.unpost("m", b"b", now=11.9)
    assert store.take("m", now=12.9) == [b"c"]


def test_expired_mailboxes_of_ended_processes_are_dropped() -> None:
    mailboxes = Mailboxes()
    mailboxes.post("kept", b"a", 3600.0, 0.0)
    for number in range(1000):
        assert mailboxes.post(f"sender:{number}", b"a", 1.0, float(number))
        assert mailboxes.unpost(f"other:{number}", b"a", float(number)) is False

    assert len(mailboxes) <= 64
    assert mailboxes.take("kept", 1000.0) == [b"a"]


def test_full_mailbox_refuses_until_messages_expire() -> None:
    store = ReferenceStore()
    for number in range(MAX_MESSAGES):
        assert store.post("m", b"%d" % number, 1.0 + number, now=0.0)

    assert not store.post("m", b"more", 9.0, now=0.9)
    assert store.post("m", b"more", 9.0, now=1.0)
    assert len(store.take("m", now=1.0)) == MAX_MESSAGES


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"mailbox": ""}, "invalid mailbox ''"),
        ({"message": b""}, "invalid message b''"),
        ({"message": "x"}, "invalid message 'x'"),
        ({"message": bytes(MAX_MESSAGE_SIZE + 1)}, "expected 1 to 65536 bytes"),
        ({"ttl": 0.0}, "invalid ttl 0.0"),
        ({"ttl": 3601.0}, "invalid ttl 3601.0"),
    ],
)
def test_invalid_message_raises(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ReferenceStore().post(**{"mailbox": "m", "message": b"x", "ttl": 1.0, **arguments}, now=0.0)

    assert text in str(caught.value)


def test_forgotten_scope_is_empty_with_all_that_is_under_it() -> None:
    store = ReferenceStore()
    over, kept = store.scoped("a"), store.scoped("ab")
    for scope in (over, over.scoped("x"), kept):
        scope.heartbeat("m", b"1")

    over.forget()

    assert over.heartbeat("n", b"2") == over.scoped("x").heartbeat("n", b"2") == {"n": b"2"}
    assert kept.heartbeat("n", b"2") == {"m": b"1", "n": b"2"}
