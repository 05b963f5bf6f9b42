"""Rate limits of requests: RATE_LIMITED from the server, and all members of a guild."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Dispatch,
    RequestChannelInfo,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resumed,
    UpdateVoiceState,
)
from tests.client.request_client import RequestClient, sent_commands


def test_rate_limited_fails_the_matching_request() -> None:
    """Rule 65."""
    client = RequestClient()
    client.request(RequestGuildMembers("1", "a", 5))
    second = client.request(RequestGuildMembers("1", "b", 5))
    nonces = [client.received_request().nonce for _ in range(2)]

    meta = {"guild_id": "1", "nonce": nonces[1]}
    client.dispatch("RATE_LIMITED", opcode=8, retry_after=12.5, meta=meta)
    client.dispatch("RATE_LIMITED", opcode=8, retry_after=1.0, meta={"guild_id": "7"})

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.retry_after) == (second, 12.5)


@pytest.mark.parametrize(
    ("opcode", "request_"),
    [(31, RequestSoundboardSounds(["1", "2"])), (43, RequestChannelInfo("1", ["status"]))],
)
@pytest.mark.parametrize("meta", [{"guild_id": "1"}, {"guild_id": 1}, None, ["?"]])
def test_rate_limited_fails_the_request_of_its_opcode(
    opcode: int, request_: Any, meta: Any
) -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1", user_ids=["5"]))
    number = client.request(request_)

    client.dispatch("RATE_LIMITED", opcode=opcode, retry_after="3", meta=meta)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.retry_after) == (number, 3.0)


@pytest.mark.parametrize(
    "absent", [{"opcode": None}, {"retry_after": None}, {"opcode": None, "retry_after": None}, {}]
)
def test_null_in_rate_limited_counts_as_absent(absent: dict[str, Any]) -> None:
    client = RequestClient()
    number = client.request(RequestGuildMembers("1", "a", 5))
    d = {"opcode": 8, "retry_after": 3.0, "meta": {"guild_id": "1", "nonce": None}, **absent}

    client.dispatch("RATE_LIMITED", **d)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.retry_after) == (number, d["retry_after"])


@pytest.mark.parametrize(
    "d",
    [
        {"opcode": 4, "meta": {"guild_id": "1"}},
        {"opcode": 43, "meta": {"guild_id": "2"}},
        {"opcode": 31, "meta": {}},
        {"opcode": 8, "meta": {"guild_id": "1", "nonce": "another"}},
        {"opcode": 8, "meta": {}},
        {"opcode": True},
        {"opcode": "soon", "meta": {"guild_id": "9"}},
    ],
)
def test_rate_limited_of_another_request_fails_none(d: dict[str, Any]) -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1", "a", 5))
    client.request(RequestGuildMembers("1", "b", 5))
    client.request(RequestChannelInfo("1", ["status"]))

    client.dispatch("RATE_LIMITED", retry_after=3.0, **d)

    assert client.results() == []


@pytest.mark.parametrize("retry_after", [3, 100.0, "100"])
def test_rate_limited_retry_after_replaces_the_members_limit(retry_after: Any) -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"))
    meta = {"guild_id": "1", "nonce": client.received_request().nonce}
    client.dispatch("RATE_LIMITED", opcode=8, retry_after=retry_after, meta=meta)

    client.request(RequestGuildMembers("1"), timeout=200)
    client.request(RequestGuildMembers("1", "a", 5))
    client.link.run(float(retry_after) - 0.1)

    assert [request.query for request in sent_commands(client, RequestGuildMembers)] == ["a"]
    client.link.run(0.1)
    assert len(sent_commands(client, RequestGuildMembers)) == 1


@pytest.mark.parametrize("retry_after", [None, 0, -1, "soon", True, []])
def test_rate_limited_with_bad_retry_after_keeps_the_limit(retry_after: Any) -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"))
    client.received_request()
    client.dispatch("RATE_LIMITED", opcode=8, retry_after=retry_after, meta={"guild_id": "1"})

    client.request(RequestGuildMembers("1"))
    client.link.run(29.8)

    assert not sent_commands(client, RequestGuildMembers)
    client.link.run(0.2)
    assert len(sent_commands(client, RequestGuildMembers)) == 1


def test_rate_limited_delays_commands_without_a_request() -> None:
    client = RequestClient()
    connection = client.connection()
    connection.send(RequestGuildMembers("1"), now=client.link.now)
    connection.send(RequestChannelInfo("2", ["status"]), now=client.link.now)
    client.dispatch("RATE_LIMITED", opcode=8, retry_after=50, meta={"guild_id": "1"})
    client.dispatch("RATE_LIMITED", opcode=43, retry_after=50, meta={"guild_id": "2"})
    client.link.server.take()

    connection.send(RequestGuildMembers("1"), now=client.link.now)
    connection.send(RequestChannelInfo("2", ["status"]), now=client.link.now)
    connection.send(UpdateVoiceState("1", None), now=client.link.now)  # it passes them
    client.link.run(49.8)

    sent = sent_commands(client, RequestGuildMembers | RequestChannelInfo | UpdateVoiceState)
    assert [type(command) for command in sent] == [UpdateVoiceState]
    client.link.run(0.2)
    assert len(sent_commands(client, RequestGuildMembers | RequestChannelInfo)) == 2


def test_rate_limited_with_huge_retry_after_delays_by_a_day() -> None:
    client = RequestClient()
    connection, now = client.connection(), client.link.now

    client.dispatch("RATE_LIMITED", opcode=43, retry_after=1e300, meta={"guild_id": 1})
    connection.send(RequestChannelInfo("1", ["status"]), now=client.link.now)

    assert now + 86400 <= connection._sender.queue.next_slot_at(client.link.now) < now + 86401


def test_rate_limited_guilds_are_kept_up_to_a_bound() -> None:
    connection = RequestClient().connection()
    requests = connection._sender.requests

    for number in range(3000):
        d = {"opcode": 43, "retry_after": 60, "meta": {"guild_id": str(number)}}
        requests.handle_dispatch(
            Dispatch("RATE_LIMITED", 1, msgspec.Raw(json.dumps(d).encode())), 1.0
        )

    assert len(requests._free_at) == 1000
    assert requests.not_before(RequestChannelInfo("999", ["status"]), 1.0) == 61.0
    assert requests.not_before(RequestChannelInfo("1000", ["status"]), 1.0) == 1.0


def test_rate_limit_of_all_members_is_once_in_30_seconds() -> None:
    """Rule 65; other commands overtake the delayed one."""
    client = RequestClient()
    client.request(RequestGuildMembers("1"))
    client.request(RequestGuildMembers("1"))
    client.request(RequestGuildMembers("2"))
    client.request(RequestGuildMembers("1", "a", 5))

    sent = [e for e in client.link.server.take() if isinstance(e, RequestGuildMembers)]
    assert [(r.guild_id, r.query) for r in sent] == [("1", ""), ("2", ""), ("1", "a")]
    core: Any = client.link._client
    assert [request.guild_id for request in core.queued_commands] == ["1"]
    client.link.run(29.9)
    assert not [e for e in client.link.server.take() if isinstance(e, RequestGuildMembers)]
    client.link.run(0.1)
    assert client.received_request().guild_id == "1"


def test_rate_limit_of_all_members_outlasts_a_connection() -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"))
    client.received_request()
    client.link.cut()
    client.link.run(5)
    client.link.client.expect(Resumed)

    client.request(RequestGuildMembers("1"))
    assert not [e for e in client.link.server.take() if isinstance(e, RequestGuildMembers)]
    client.link.run(30)
    client.received_request()
    client.link.run(60)
    client.request(RequestGuildMembers("2"))

    assert client.received_request().guild_id == "2"


def test_command_can_be_sent_if_it_would_not_be_queued() -> None:
    client = RequestClient()
    connection, now = client.connection(), client.link.now
    command = UpdateVoiceState("1", None)
    assert connection.can_send(command, now=now)
    assert connection.can_send(RequestGuildMembers("1"), now=now)

    connection.send(RequestGuildMembers("1"), now=now)

    assert not connection.can_send(RequestGuildMembers("1"), now=now), "one in 30 seconds"
    assert connection.can_send(RequestGuildMembers("2"), now=now)
    while connection.can_send(command, now=now):
        connection.send(command, now=now)
        assert connection.queued_commands == ()
    connection.send(command, now=now)
    assert connection.queued_commands == (command,)
    connection.close(4000, now=now)
    assert not connection.can_send(command, now=now)
