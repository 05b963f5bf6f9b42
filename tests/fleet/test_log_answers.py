"""Answers of requests out of the log of a shard."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import (
    GuildMembers,
    LocalProtocolError,
    RawCommand,
    RequestAnswered,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Session,
    SoundboardSounds,
)
from gateway_proto.fleet import LogAnswers, LoggedEvents, LogRecord
from gateway_proto.versions import VERSIONS

SESSION = Session(id="s", sequence=9, version=10)


def record(*events: tuple[str, Any], session: Session = SESSION, **fields: Any) -> LogRecord:
    logged = LoggedEvents.of(*((name, 1, json.dumps(data).encode()) for name, data in events))
    return LogRecord("r", "a", session, logged, **fields)


def chunk(nonce: str | None, index: int, count: int = 2) -> tuple[str, Any]:
    data = {
        "guild_id": "1",
        "nonce": nonce,
        "members": [index],
        "chunk_index": index,
        "chunk_count": count,
    }
    return "GUILD_MEMBERS_CHUNK", data


def new_request(answers: LogAnswers, nonce: str = "n") -> tuple[int, Any]:
    number, request = answers.add(
        RequestGuildMembers("1", user_ids=["2"], nonce="mine"), nonce=nonce, timeout=5.0, now=0.0
    )
    answers.sent(number, "s", now=1.0)
    return number, request


def test_answer_in_several_records_is_whole() -> None:
    answers = LogAnswers(VERSIONS[10])
    assert answers.is_empty
    number, request = new_request(answers)
    assert request.nonce.startswith("n-"), "that of the caller may be another process's, too"

    assert answers.add_record(record(("OTHER", 1), chunk(request.nonce, 0)), now=2.0) == []
    assert not answers.is_empty
    over = answers.add_record(record(chunk("other", 0, 1), chunk(request.nonce, 1)), now=2.0)

    assert over == [RequestAnswered(number, request, GuildMembers("1", (0, 1)))]
    assert answers.is_empty
    assert answers.next_timer() is None


def test_chunks_of_another_nonce_are_not_an_answer() -> None:
    answers = LogAnswers(VERSIONS[10])
    new_request(answers)

    assert answers.add_record(record(chunk("mine", 0, 1), chunk("n-2", 0, 1)), now=2.0) == []


def test_answer_may_be_read_before_the_owner_reports_the_sending() -> None:
    answers = LogAnswers(VERSIONS[10])
    number, request = answers.add(RequestSoundboardSounds(["1"]), nonce="n", timeout=5.0, now=0.0)
    sounds = ("SOUNDBOARD_SOUNDS", {"guild_id": "1", "soundboard_sounds": [7]})

    over = answers.add_record(record(sounds), now=0.5)
    answers.sent(number, "s", now=1.0)

    assert over == [RequestAnswered(number, request, SoundboardSounds({"1": (7,)}))]
    assert answers.is_empty


def test_timeout_begins_again_with_each_part() -> None:
    answers = LogAnswers(VERSIONS[10])
    number, request = new_request(answers)
    assert answers.next_timer() == 6.0
    answers.add_record(record(chunk(request.nonce, 0)), now=4.0)

    assert answers.expire(now=8.0) == []
    assert answers.expire(now=9.0) == [RequestFailed(number, request, "no answer for 5 s", None)]
    assert answers.is_empty


def test_lost_session_fails_the_requests_that_it_had() -> None:
    answers = LogAnswers(VERSIONS[10])
    number, request = new_request(answers)
    later, _ = answers.add(RequestGuildMembers("2"), nonce="n", timeout=5.0, now=1.0)
    new = Session(id="new", sequence=1, version=10)

    assert answers.add_record(record(session_lost=True), now=2.0) == [], "it was sent after it"
    over = answers.add_record(record(session=new, session_lost=True), now=2.0)

    assert over == [RequestFailed(number, request, "the session is lost", None)]
    answers.sent(later, "new", now=3.0)
    assert answers.add_record(record(session=new, session_lost=True), now=3.0) == []
    lost = answers.add_record(LogRecord("r", "a", session_lost=True), now=3.0)
    assert [outcome.number for outcome in lost] == [later]


def test_rate_limited_request_fails_with_its_delay() -> None:
    answers = LogAnswers(VERSIONS[10])
    number, request = new_request(answers)
    limited = {"opcode": 8, "retry_after": 7.5, "meta": {"nonce": request.nonce}}

    (over,) = answers.add_record(record(("RATE_LIMITED", limited)), now=2.0)

    assert isinstance(over, RequestFailed)
    assert (over.number, over.retry_after) == (number, 7.5)


def test_discarded_request_is_forgotten() -> None:
    answers = LogAnswers(VERSIONS[10])
    number, request = new_request(answers)

    answers.discard(number)
    answers.discard(number)

    assert answers.is_empty
    assert answers.add_record(record(chunk(request.nonce, 0, 1)), now=2.0) == []


@pytest.mark.parametrize(
    ("request_", "timeout", "text"),
    [
        (RawCommand(8), 1.0, "is not a request with an answer"),
        (RequestGuildMembers(["1", "2"]), 1.0, "answers for several guilds cannot be separated"),
        (RequestGuildMembers("1"), 0.0, "invalid timeout 0.0"),
    ],
)
def test_invalid_request_raises(request_: Any, timeout: float, text: str) -> None:
    with pytest.raises(LocalProtocolError, match=text):
        LogAnswers(VERSIONS[10]).add(request_, nonce="n", timeout=timeout, now=0.0)
