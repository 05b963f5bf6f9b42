"""Commands that a member has taken from its mailbox."""

from __future__ import annotations

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import CommandInbox, CommandMessage


def message(id_: str, attempt: int = 1, seconds: float = 3.0) -> bytes:
    return CommandMessage(id_, attempt, "sender:x", 0, seconds, b"").to_bytes()


def test_deadline_begins_when_the_messages_were_asked_for() -> None:
    taken = CommandInbox().receive(message("a"), taken_at=10.0, now=12.0)

    assert taken is not None
    assert (taken.message.id, taken.deadline) == ("a", 13.0)


def test_command_that_comes_again_is_not_accepted_again() -> None:
    """An engine that crashed may have a message again that was taken."""
    inbox = CommandInbox()
    taken = inbox.receive(message("a"), taken_at=0.0, now=0.0)
    assert taken is not None
    inbox.done(taken, None)

    assert inbox.receive(message("a"), taken_at=59.0, now=59.0) is None
    second = inbox.receive(message("a", attempt=2), taken_at=59.0, now=59.0)
    assert second is not None
    inbox.done(second, None)
    assert inbox.receive(message("a"), taken_at=61.0, now=61.0) is None, "an earlier attempt"
    assert inbox.receive(message("a"), taken_at=119.0, now=119.0) is not None


def test_command_that_was_sent_is_answered_again_alone() -> None:
    """An engine that crashed may report that it removed a message which was taken before."""
    inbox = CommandInbox()
    first = inbox.receive(message("a"), taken_at=0.0, now=0.0)
    assert first is not None
    assert first.session is None
    assert inbox.receive(message("a", attempt=2), taken_at=1.0, now=1.0) is None, "one is pending"
    inbox.done(first, "session")

    again = inbox.receive(message("a", attempt=3), taken_at=2.0, now=2.0)

    assert again is not None
    assert again.session == "session"
    inbox.done(again, again.session)
    later = inbox.receive(message("a", attempt=4), taken_at=70.0, now=70.0)
    assert later is not None
    assert later.session is None, "it is forgotten after a minute"


@pytest.mark.parametrize("data", [b"", b"\x93", b"garbage"])
def test_invalid_message_is_ignored(data: bytes) -> None:
    inbox = CommandInbox(max_pending=1)

    assert inbox.receive(data, taken_at=0.0, now=0.0) is None
    assert inbox.has_capacity(now=0.0)


def test_pending_commands_are_bounded() -> None:
    inbox = CommandInbox(max_pending=2)
    taken = [inbox.receive(message(id_), taken_at=0.0, now=0.0) for id_ in "ab"]

    assert not inbox.has_capacity(now=0.0)
    assert taken[0] is not None
    inbox.done(taken[0], None)
    assert inbox.has_capacity(now=0.0)


def test_commands_of_a_minute_are_bounded() -> None:
    inbox = CommandInbox(max_remembered=2)
    for at, id_ in ((0.0, "a"), (30.0, "b")):
        taken = inbox.receive(message(id_), taken_at=at, now=at)
        assert taken is not None
        inbox.done(taken, None)

    assert not inbox.has_capacity(now=59.0)
    assert inbox.has_capacity(now=60.0)


@pytest.mark.parametrize("name", ["max_pending", "max_remembered"])
def test_invalid_bound_raises(name: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"invalid {name} 0"):
        CommandInbox(**{name: 0})


def test_session_of_a_forgotten_command_is_not_kept() -> None:
    inbox = CommandInbox()
    taken = inbox.receive(message("a", seconds=200.0), taken_at=0.0, now=0.0)
    assert taken is not None
    assert inbox.has_capacity(now=61.0)
    inbox.done(taken, "session")

    again = inbox.receive(message("a", attempt=2), taken_at=62.0, now=62.0)

    assert again is not None
    assert again.session is None, "it would be kept for good"
