"""Malformed responses to requests: each fails a request or is used in part."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import (
    ChannelInfo,
    GuildMembers,
    RequestAnswered,
    RequestChannelInfo,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    SoundboardSounds,
)
from gateway_proto.client import requests
from tests.client.request_client import RequestClient


def test_malformed_rate_limited_fails_no_request() -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"))

    client.server.dispatch("RATE_LIMITED", ["no object"], now=client.link.now)
    client.link.run()

    assert client.results() == []


_REQUESTS: dict[str, Any] = {
    "GUILD_MEMBERS_CHUNK": RequestGuildMembers("1", "a", 5),
    "SOUNDBOARD_SOUNDS": RequestSoundboardSounds(["1"]),
    "CHANNEL_INFO": RequestChannelInfo("1", ["status"]),
}


@pytest.mark.parametrize("d", [["no object"], {"guild_id": []}, {}])
@pytest.mark.parametrize("name", _REQUESTS)
def test_malformed_response_fails_the_only_request(name: str, d: Any) -> None:
    client = RequestClient()
    number = client.request(_REQUESTS[name])

    client.server.dispatch(name, d, now=client.link.now)
    client.link.run()

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert failed.number == number
    assert failed.reason.startswith(f"{name} ")


def test_malformed_response_is_reported_by_every_candidate() -> None:
    client = RequestClient()
    for query in ("a", "b"):
        client.request(RequestGuildMembers("1", query, 5), timeout=5.0)
    other = client.request(RequestChannelInfo("1", ["status"]), timeout=5.0)

    client.server.dispatch("GUILD_MEMBERS_CHUNK", None, now=client.link.now)
    client.link.run()
    assert client.results() == []
    client.link.run(5)

    why = {
        failed.number: failed.reason
        for failed in client.results()
        if isinstance(failed, RequestFailed)
    }
    assert why.pop(other) == "no answer for 5 s"
    assert all(text.startswith("GUILD_MEMBERS_CHUNK cannot be read: ") for text in why.values())
    assert len(why) == 2


@pytest.mark.parametrize("absent", [None, 5, "text", {}])
def test_null_or_invalid_response_fields_count_as_absent(absent: Any) -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1", "a", 5))
    client.chunk(0, 1, members=["a"], not_found=absent, presences=absent, guild_id=1)
    client.request(RequestSoundboardSounds(["1"]))
    client.dispatch("SOUNDBOARD_SOUNDS", guild_id="1", soundboard_sounds=absent)
    client.request(RequestChannelInfo("1", ["status"]))
    client.dispatch("CHANNEL_INFO", guild_id="1", channels=absent)

    answers = [
        results.answer for results in client.results() if isinstance(results, RequestAnswered)
    ]

    assert answers == [
        GuildMembers("1", ("a",)),
        SoundboardSounds({"1": ()}),
        ChannelInfo("1", ()),
    ]


@pytest.mark.parametrize(("index", "count"), [(0.0, 1.0), ("0", "1")])
def test_chunk_index_and_count_may_be_floats_or_text(index: Any, count: Any) -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"))

    client.chunk(index, count, members=["a"] * 1000)

    (answered,) = client.results()
    assert isinstance(answered, RequestAnswered)


@pytest.mark.parametrize(("index", "count"), [(None, 1), (-1, 1), (True, 1), (1e300, 1), ("x", 1)])
def test_invalid_chunk_index_and_count_count_as_absent(index: Any, count: Any) -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"))

    client.chunk(index, count, members=["a"] * 1000)
    assert client.results() == []
    client.chunk(index, count, members=["b"])

    (answered,) = client.results()
    assert isinstance(answered, RequestAnswered)
    assert isinstance(answered.answer, GuildMembers)
    assert len(answered.answer.members) == 1001


def test_chunk_without_guild_is_matched_by_its_nonce() -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1", "a", 5))

    client.dispatch(
        "GUILD_MEMBERS_CHUNK", guild_id=None, members=["a"], nonce=client.received_request().nonce
    )

    (answered,) = client.results()
    assert isinstance(answered, RequestAnswered)
    assert answered.answer == GuildMembers("1", ("a",))


def test_endless_response_fails_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_MAX_BYTES", 100_000)
    client = RequestClient()
    client.request(RequestGuildMembers("1"))

    for index in range(100):
        client.chunk(index, 2**30, members=[])

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert failed.reason == "the answer has more than 100000 bytes"
