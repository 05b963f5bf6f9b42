"""Delivery of a command: at most once, to the owner of its shard, within a deadline."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.fleet import (
    CommandAnswer,
    CommandError,
    CommandMessage,
    Delivery,
    FindOwner,
    NotSent,
    PostCommand,
    RemoveCommand,
    Sent,
    WaitForAnswer,
)


def new_delivery(seconds: float = 8.0) -> Delivery:
    return Delivery(3, b"command", id="c", reply_to="me", seconds=seconds, now=100.0)


def posted(delivery: Delivery, now: float, member: str = "a") -> PostCommand:
    """Name the owner, and return the message that is posted."""
    delivery.owner_found(member, "", now=now)
    step = delivery.next_step(now=now)
    assert isinstance(step, PostCommand)
    return step


def answer(
    outcome: Literal["sent", "not mine", "not sent", "invalid"], text: str = "", attempt: int = 1
) -> CommandAnswer:
    return CommandAnswer("c", attempt, outcome, text)


def test_command_is_posted_to_the_owner_and_sent() -> None:
    delivery = new_delivery()

    assert delivery.next_step(now=100.0) == FindOwner(is_fresh=False)
    post = posted(delivery, 100.0)
    delivery.posted(True, now=100.0)

    assert (post.mailbox, post.ttl) == ("member:a", 4.0)
    assert CommandMessage.from_bytes(post.message) == CommandMessage(
        "c", 1, "me", 3, 4.0, b"command"
    ), "the time in the mailbox and that for the sending are within the deadline"
    assert delivery.next_step(now=100.0) == WaitForAnswer(102.0)
    delivery.answered(answer("sent", "session"), now=101.0)
    assert delivery.outcome == Sent("session")
    assert delivery.next_step(now=101.0) is None


@pytest.mark.parametrize("seconds", [0.1, 1.0, 8.0, 300.0])
def test_times_of_a_message_end_before_the_deadline(seconds: float) -> None:
    post = posted(new_delivery(seconds), 100.0)

    message = CommandMessage.from_bytes(post.message)
    assert post.ttl <= 4.0
    assert post.ttl + message.seconds == pytest.approx(seconds)


def test_answer_before_the_post_is_acknowledged_counts() -> None:
    delivery = new_delivery()
    posted(delivery, 100.0)

    delivery.answered(answer("sent"), now=100.0)
    delivery.posted(True, now=100.1)

    assert delivery.next_step(now=100.1) is None
    assert delivery.outcome == Sent("")


def test_refusal_before_the_post_is_acknowledged_counts() -> None:
    delivery = new_delivery()
    posted(delivery, 100.0)

    delivery.answered(answer("not mine"), now=100.0)
    delivery.posted(True, now=100.1)

    assert delivery.next_step(now=100.1) == FindOwner(is_fresh=True)


def test_shard_of_another_owner_is_looked_up_again() -> None:
    delivery = new_delivery()
    posted(delivery, 100.0)
    delivery.posted(True, now=100.0)

    delivery.answered(answer("not mine"), now=101.0)

    assert delivery.posted_message is None
    assert delivery.next_step(now=101.0) == WaitForAnswer(101.05)
    assert delivery.next_step(now=101.05) == FindOwner(is_fresh=True)
    post = posted(delivery, 101.1, "b")
    assert post.mailbox == "member:b"
    assert CommandMessage.from_bytes(post.message).attempt == 2
    delivery.posted(True, now=101.1)
    waiting = delivery.next_step(now=101.2)
    delivery.answered(answer("not mine", attempt=1), now=101.2)
    assert delivery.next_step(now=101.2) == waiting, "the answer is of the first attempt"
    assert delivery.posted_message is not None
    delivery.answered(answer("not mine", attempt=2), now=101.2)
    assert delivery.next_step(now=101.3) == WaitForAnswer(101.4), "it waits longer"


def test_missing_owner_is_looked_up_until_the_deadline() -> None:
    delivery = new_delivery(0.1)

    delivery.owner_found(None, "no member owns the shard", now=100.0)
    assert delivery.next_step(now=100.06) == FindOwner(is_fresh=True)
    delivery.owner_found(None, "no member owns the shard", now=100.06)

    assert delivery.next_step(now=100.07) == WaitForAnswer(100.1)
    assert delivery.next_step(now=100.1) is None
    assert delivery.outcome == NotSent("no member owns the shard")


def test_look_up_that_the_deadline_ends_keeps_the_reason() -> None:
    delivery = new_delivery(0.1)
    delivery.owner_found(None, "no member owns the shard", now=100.0)

    delivery.owner_found(None, "the store did not answer", now=100.1)

    assert delivery.next_step(now=100.1) is None
    assert delivery.outcome == NotSent("no member owns the shard")


def test_owner_that_is_found_too_late_gets_nothing() -> None:
    delivery = new_delivery(1.0)

    delivery.owner_found("a", "", now=100.995)

    assert delivery.next_step(now=100.995) is None
    assert delivery.outcome == NotSent("the store did not answer")


def test_message_that_nobody_takes_is_removed_and_posted_again() -> None:
    delivery = new_delivery()
    first = posted(delivery, 100.0)
    delivery.posted(True, now=100.0)

    remove = delivery.next_step(now=102.0)
    assert remove == RemoveCommand(first.mailbox, first.message) == delivery.posted_message
    delivery.removed(True, now=102.0)

    assert delivery.next_step(now=102.1) == FindOwner(is_fresh=True)
    second = posted(delivery, 102.1)
    assert second.message != first.message


def test_message_is_not_posted_again_shortly_before_the_deadline() -> None:
    delivery = new_delivery(0.4)
    posted(delivery, 100.0)
    delivery.posted(True, now=100.0)
    assert isinstance(delivery.next_step(now=100.1), RemoveCommand)
    delivery.removed(True, now=100.1)

    delivery.owner_found("b", "", now=100.16)

    assert delivery.next_step(now=100.16) is None
    assert delivery.outcome == NotSent("its owner took no command")


def test_message_that_was_taken_is_not_posted_again() -> None:
    delivery = new_delivery()
    posted(delivery, 100.0)
    delivery.posted(True, now=100.0)
    assert isinstance(delivery.next_step(now=102.0), RemoveCommand)

    delivery.removed(False, now=102.0)

    assert delivery.next_step(now=107.9) == WaitForAnswer(108.0)
    assert delivery.next_step(now=108.0) is None
    assert delivery.outcome == NotSent("a did not answer", may_be_sent=True)
    delivery.answered(answer("sent"), now=108.1)
    assert isinstance(delivery.outcome, NotSent), "too late"


def test_message_that_was_taken_by_another_is_posted_again() -> None:
    delivery = new_delivery()
    posted(delivery, 100.0)
    delivery.posted(True, now=100.0)
    delivery.next_step(now=102.0)
    delivery.removed(False, now=102.0)

    delivery.answered(answer("not mine"), now=103.0)

    assert delivery.next_step(now=103.1) == FindOwner(is_fresh=True)


def test_post_without_an_answer_is_removed_first() -> None:
    delivery = new_delivery()
    post = posted(delivery, 100.0)

    delivery.posted(None, now=100.5)

    assert delivery.next_step(now=100.5) == RemoveCommand(post.mailbox, post.message)
    delivery.removed(None, now=100.6)
    assert delivery.next_step(now=100.6) == WaitForAnswer(pytest.approx(100.8))
    assert delivery.next_step(now=100.8) == RemoveCommand(post.mailbox, post.message)
    delivery.removed(False, now=100.9)
    assert delivery.next_step(now=108.0) is None
    assert delivery.outcome == NotSent("the store did not answer", may_be_sent=True)


def test_answer_while_the_message_is_removed_counts() -> None:
    delivery = new_delivery()
    posted(delivery, 100.0)
    delivery.posted(True, now=100.0)
    delivery.next_step(now=102.0)

    delivery.answered(answer("not mine"), now=102.0)
    delivery.removed(True, now=102.1)

    assert delivery.next_step(now=102.1) == FindOwner(is_fresh=True)


def test_full_mailbox_is_tried_again_and_then_named() -> None:
    delivery = new_delivery(0.5)
    posted(delivery, 100.0)

    delivery.posted(False, now=100.0)

    assert delivery.next_step(now=100.1) == FindOwner(is_fresh=True)
    assert delivery.next_step(now=100.5) is None
    assert delivery.outcome == NotSent("the mailbox of its owner is full")


@pytest.mark.parametrize(("outcome", "is_invalid"), [("not sent", False), ("invalid", True)])
def test_refusal_of_the_owner_is_the_outcome(outcome: Any, is_invalid: bool) -> None:
    delivery = new_delivery()
    posted(delivery, 100.0)
    delivery.posted(True, now=100.0)

    delivery.answered(answer(outcome, "why"), now=100.1)

    assert delivery.outcome == NotSent("why", is_invalid=is_invalid)
    assert delivery.posted_message is None


def test_answer_to_nothing_is_ignored() -> None:
    delivery = new_delivery()

    delivery.answered(answer("not mine", attempt=0), now=100.0)

    assert delivery.next_step(now=100.0) == FindOwner(is_fresh=False)


def test_error_names_the_command_the_shard_and_the_seconds() -> None:
    certain = CommandError("UpdateVoiceState", 3, 5.0, "no member owns the shard", False)
    unknown = CommandError("UpdateVoiceState", 3, 2.5, "a did not answer", True)

    assert str(certain) == (
        "UpdateVoiceState for shard 3 was not sent within 5 s: no member owns the shard"
    )
    assert str(unknown) == (
        "UpdateVoiceState for shard 3 may have been sent, or not, within 2.5 s: a did not answer"
    )
    assert (unknown.name, unknown.shard, unknown.seconds, unknown.may_be_sent) == (
        "UpdateVoiceState",
        3,
        2.5,
        True,
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"shard": -1}, "invalid shard -1"),
        ({"seconds": 0}, "invalid seconds 0"),
    ],
)
def test_invalid_arguments_raise(changes: Any, text: str) -> None:
    arguments = {"shard": 0, "command": b"", "id": "c", "reply_to": "me", "seconds": 1.0}

    with pytest.raises(LocalProtocolError, match=text):
        Delivery(**{**arguments, **changes}, now=0.0)
