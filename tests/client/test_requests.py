"""Requests with responses: collected by nonce and index, or failed with a reason."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gateway_proto import (
    ChannelInfo,
    GuildMembers,
    LocalProtocolError,
    RequestAnswered,
    RequestChannelInfo,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resumed,
    SessionInvalidated,
    SoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
)
from tests.client.request_client import CONFIG, RequestClient, sent_commands

# ----- guild members -----


def test_chunks_are_collected_by_nonce_in_any_order() -> None:
    """Rule 66."""
    client = RequestClient()
    number = client.request(RequestGuildMembers("1", presences=True))
    nonce = client.received_request().nonce

    client.chunk(1, 3, members=["c", "d"], nonce=nonce, presences=["p2"])
    client.chunk(0, 3, members=["a", "b"], nonce=nonce, presences=["p1"])
    client.chunk(0, 3, members=["a", "b"], nonce=nonce, presences=["p1"])  # replayed
    client.chunk(2, 3, members=["x"], nonce="of another request")
    assert client.results() == []
    client.chunk(2, 3, members=["e"], nonce=nonce, not_found=["9"])

    (answered,) = client.results()
    assert isinstance(answered, RequestAnswered)
    assert answered.number == number
    assert answered.answer == GuildMembers("1", ("a", "b", "c", "d", "e"), ("9",), ("p1", "p2"))


def test_given_nonce_is_kept_and_generated_ones_differ() -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1", user_ids=["5"], nonce="mine"))
    client.request(RequestGuildMembers("1", user_ids=["5"]))
    client.request(RequestGuildMembers("1", user_ids=["5"]))

    nonces = [client.received_request().nonce for _ in range(3)]

    assert nonces[0] == "mine"
    assert len(set(nonces)) == 3


def test_two_requests_for_a_guild_are_distinguished() -> None:
    client = RequestClient()
    first = client.request(RequestGuildMembers("1", "a", 5))
    second = client.request(RequestGuildMembers("1", "b", 5))
    nonces = [client.received_request().nonce for _ in range(2)]

    client.chunk(0, 1, members=["b"], nonce=nonces[1])
    client.chunk(0, 1, members=["a"], nonce=nonces[0])

    results: Any = client.results()
    assert [(o.number, o.answer.members) for o in results] == [(second, ("b",)), (first, ("a",))]


@pytest.mark.parametrize("nonce", [{}, {"nonce": None}])
def test_chunk_without_nonce_is_matched_by_its_guild(nonce: dict[str, None]) -> None:
    """Other servers omit the nonce, or send null, and send ids as integers."""
    client = RequestClient()
    client.request(RequestGuildMembers("1"))

    client.chunk(0, 1, guild_id=2, members=[], **nonce)
    client.chunk(0, 1, guild_id=1, members=["a"], **nonce)

    (answered,) = client.results()
    assert isinstance(answered, RequestAnswered)
    assert answered.answer == GuildMembers("1", ("a",))


@pytest.mark.parametrize("version", [3, 5])
def test_partial_chunk_without_index_is_the_last(version: int) -> None:
    """Versions 3 to 5: "chunks of up to 1000, no index, no nonce"."""
    client = RequestClient(attrs.evolve(CONFIG, version=version, intents=None))
    client.request(RequestGuildMembers("1"))
    assert client.received_request() == RequestGuildMembers("1")

    client.dispatch("GUILD_MEMBERS_CHUNK", guild_id="1", members=["a"] * 1000)
    assert client.results() == []
    client.dispatch("GUILD_MEMBERS_CHUNK", guild_id="1", members=["b"])

    (answered,) = client.results()
    assert isinstance(answered, RequestAnswered)
    assert isinstance(answered.answer, GuildMembers)
    assert answered.answer.members == ("a",) * 1000 + ("b",)


def test_full_chunks_without_index_end_by_timeout() -> None:
    client = RequestClient(attrs.evolve(CONFIG, version=3, intents=None))
    client.request(RequestGuildMembers("1"), timeout=5.0)
    client.dispatch("GUILD_MEMBERS_CHUNK", guild_id="1", members=["a"] * 1000)

    client.link.run(5)

    (answered,) = client.results()
    assert isinstance(answered, RequestAnswered)


def test_every_chunk_restarts_the_timeout() -> None:
    """Rule 66."""
    client = RequestClient()
    number = client.request(RequestGuildMembers("1"), timeout=10.0)
    nonce = client.received_request().nonce
    for index in range(3):
        client.link.run(9)
        client.chunk(index, 5, members=[], nonce=nonce)

    client.link.run(9.9)
    assert client.results() == []
    client.link.run(0.1)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.reason) == (number, "no answer for 10 s")


@pytest.mark.parametrize("timeout", [None, True, "10", 0, -1.0, float("nan"), float("inf")])
def test_request_with_an_invalid_timeout_has_no_effect(timeout: Any) -> None:
    client = RequestClient()

    with pytest.raises(LocalProtocolError, match="timeout"):
        client.connection().request(RequestChannelInfo("1", ["status"]), now=0.0, timeout=timeout)

    assert client.connection()._sender.requests.fail("unexpected") == []
    assert not sent_commands(client, RequestChannelInfo)


def test_response_continues_after_resume() -> None:
    """Rule 66: missed chunks are replayed on Resume."""
    client = RequestClient()
    client.request(RequestGuildMembers("1"))
    nonce = client.received_request().nonce
    client.chunk(0, 2, members=["a"], nonce=nonce)

    client.link.cut()
    client.chunk(1, 2, members=["b"], nonce=nonce)
    client.link.run(5)

    client.link.client.expect(Resumed)
    answered = next(e for e in client.link.client.events if isinstance(e, RequestAnswered))
    assert isinstance(answered.answer, GuildMembers)
    assert answered.answer.members == ("a", "b")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("invalidated", "the session is lost"),
        ("gave up", "the session is lost"),
        ("stopped", "the client was stopped"),
        ("closed", "the client was stopped"),
    ],
)
def test_lost_session_fails_pending_requests(how: str, why: str) -> None:
    """Rule 66: replies do not survive a new Identify."""
    client = RequestClient()
    number = client.request(RequestGuildMembers("1"))
    core: Any = client.link._client

    match how:
        case "invalidated":
            client.link.server.send(SessionInvalidated())
        case "gave up":
            client.link.server.connection.close(4004, now=client.link.now)  # type: ignore[union-attr]
        case "stopped":
            core.stop(keep_session=True, now=client.link.now)
        case _:
            core.connection.close(4000, now=client.link.now)
    client.link.run(10)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.reason) == (number, why)


def test_session_too_old_to_resume_fails_pending_requests() -> None:
    client = RequestClient(attrs.evolve(CONFIG, resume_within=5.0))
    number = client.request(RequestGuildMembers("1"), timeout=1000.0)
    client.link.dead_hosts.add("localhost")

    client.link.cut()
    client.link.run(60)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.reason) == (number, "the session is lost")


def test_ready_in_response_to_resume_fails_pending_requests() -> None:
    client = RequestClient(attrs.evolve(CONFIG, version=3, intents=None))
    client.request(RequestGuildMembers("1"))
    connection: Any = client.link.client.connection

    connection.receive_data(b"", now=client.link.now)
    client.dispatch("READY", session_id="other", heartbeat_interval=1000)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert failed.reason == "a new session began"


def test_unsent_request_fails_on_close() -> None:
    """Rule 60: queued commands are not carried into the new connection."""
    client = RequestClient()
    connection: Any = client.link.client.connection
    for _ in range(130):
        connection.send(UpdateVoiceState("1", None), now=client.link.now)
    number = client.request(RequestGuildMembers("1"))

    client.link.cut()

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.reason) == (number, "the connection ended before it was sent")


def test_timeout_starts_when_the_rate_limit_lets_it_be_sent() -> None:
    client = RequestClient()
    connection: Any = client.link.client.connection
    for _ in range(130):
        connection.send(UpdateVoiceState("1", None), now=client.link.now)
    client.request(RequestGuildMembers("1", "a", 5), timeout=50.0)

    client.link.run(100)
    assert client.results() == []
    client.link.run(20)

    assert isinstance(client.results()[0], RequestFailed)


# ----- soundboard sounds and channel info -----


def test_soundboard_sounds_are_collected_for_each_guild() -> None:
    client = RequestClient()
    number = client.request(RequestSoundboardSounds(["1", "2"]))
    other = client.request(RequestSoundboardSounds(["2"]))

    client.dispatch("SOUNDBOARD_SOUNDS", guild_id="2", soundboard_sounds=["b"])
    client.dispatch("SOUNDBOARD_SOUNDS", guild_id="3", soundboard_sounds=["x"])
    client.dispatch("SOUNDBOARD_SOUNDS", guild_id="1", soundboard_sounds=["a"])

    results: Any = client.results()
    assert [(o.number, o.answer) for o in results] == [
        (other, SoundboardSounds({"2": ("b",)})),
        (number, SoundboardSounds({"1": ("a",), "2": ("b",)})),
    ]


def test_channel_info_responses_are_matched_in_order() -> None:
    client = RequestClient()
    first = client.request(RequestChannelInfo("1", ["status"]))
    second = client.request(RequestChannelInfo("1", ["voice_start_time"]))
    client.request(RequestChannelInfo("2", ["status"]))

    for channels in (["a"], ["b"], ["c"]):
        client.dispatch("CHANNEL_INFO", guild_id="1", channels=channels)

    results: Any = client.results()
    assert [(o.number, o.answer) for o in results] == [
        (first, ChannelInfo("1", ("a",))),
        (second, ChannelInfo("1", ("b",))),
    ]


# ----- invalid calls, timeouts -----


def test_request_before_ready_or_of_a_wrong_type_is_rejected() -> None:
    client = RequestClient()
    connection: Any = client.link.client.connection
    with pytest.raises(LocalProtocolError, match="not a request with an answer"):
        connection.request(UpdatePresence(), now=0.0)
    with pytest.raises(LocalProtocolError, match="ask for one"):
        connection.request(RequestGuildMembers(["1", "2"]), now=0.0)
    with pytest.raises(LocalProtocolError, match="expected a snowflake"):
        connection.request(RequestGuildMembers("x"), now=0.0)

    connection.receive_eof(now=0.0)

    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        connection.request(RequestGuildMembers("1"), now=0.0)
    assert client.results() == []


def test_connection_without_a_client_fails_requests_on_close() -> None:
    client = RequestClient()
    connection: Any = client.link.client.connection
    alone = type(connection)(CONFIG, "ws://localhost", now=0.0, framing=False)
    alone.receive_message('{"op":10,"d":{"heartbeat_interval":1000}}', now=0.0)
    alone.receive_message('{"op":0,"s":1,"t":"READY","d":{"session_id":"s"}}', now=0.0)
    number = alone.request(RequestGuildMembers("1"), now=0.0)

    alone.receive_eof(now=0.0)

    failed = next(e for e in alone.events() if isinstance(e, RequestFailed))
    assert failed.number == number


def test_timeout_continues_without_a_connection() -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"), timeout=3.0)
    client.link.dead_hosts.add("localhost")

    client.link.cut()
    client.link.run(600)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert failed.reason == "no answer for 3 s"


def test_timeout_continues_on_the_next_connection() -> None:
    client = RequestClient()
    number = client.request(RequestGuildMembers("1"), timeout=3.0)
    client.link.delay = 30.0  # the upgrade is not answered meanwhile
    client.link.cut()

    client.link.run(4)

    (failed,) = client.results()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.reason) == (number, "no answer for 3 s")


def test_pause_extends_the_timeout() -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1", "a", 5), timeout=10.0)
    client.request(RequestGuildMembers("1", "b", 5), timeout=10.0)
    nonces = [client.received_request().nonce for _ in range(2)]
    connection, link = client.connection(), client.link
    link.run(1)
    connection.pause(now=link.now)
    link.run(8)
    late = client.request(RequestGuildMembers("1", "c", 5), timeout=10.0)
    link.run(20)
    assert client.results() == []
    connection.unpause(now=link.now)

    client.chunk(0, 1, members=["a"], nonce=nonces[0])
    link.run(8.9)

    assert len(client.results()) == 1, "the second request has nine seconds left"
    link.run(0.2)
    assert len(client.results()) == 1
    link.run(0.9)
    assert [failed.number for failed in client.results()] == [late], "exactly ten seconds"


def test_request_sent_during_a_pause_has_its_whole_timeout() -> None:
    client = RequestClient()
    connection, link = client.connection(), client.link
    connection.pause(now=link.now)
    link.run(8)
    client.request(RequestGuildMembers("1", "a", 5), timeout=10.0)
    link.run(2)
    connection.unpause(now=link.now)

    link.run(9.9)
    assert client.results() == []
    link.run(0.2)

    assert len(client.results()) == 1


def test_unpause_after_close_sets_no_timer() -> None:
    client = RequestClient()
    client.request(RequestGuildMembers("1"))
    connection = client.connection()
    connection.pause(now=client.link.now)
    client.link.cut()

    connection.unpause(now=client.link.now)

    assert connection.next_timer() is None
