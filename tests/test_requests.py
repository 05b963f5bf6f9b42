"""Requests with answers: collected by nonce and number, or failed with a reason, never lost."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
import pytest

from gateway_proto import (
    ChannelInfo,
    Client,
    Config,
    Dispatch,
    GuildMembers,
    Intents,
    LocalProtocolError,
    Ready,
    RequestAnswered,
    RequestChannelInfo,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resumed,
    Server,
    ServerConfig,
    SessionInvalidated,
    SoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
    requests,
)
from gateway_proto.testing import Link

CONFIG = Config(
    token="t",
    intents=Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES,
    gateway_url="ws://localhost",
    unix_offset=0.0,
)


class Asking:
    """A client that asks a server which a test answers for."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.server = Server(ServerConfig(heartbeat_interval=10**9))
        self.link = Link(Client(config), self.server)
        self.link.client.expect(Ready)

    def connection(self) -> Any:
        return self.link.client.connection

    def ask(self, request: Any, **options: Any) -> int:
        number: int = self.connection().request(request, now=self.link.now, **options)
        self.link.run()
        return number

    def asked(self) -> Any:
        return self.link.server.expect(RequestGuildMembers)

    def dispatch(self, name: str, **d: Any) -> None:
        self.server.dispatch(name, d, now=self.link.now)
        self.link.run()

    def chunk(self, index: int, count: int, **d: Any) -> None:
        whole = {"guild_id": "1", "chunk_index": index, "chunk_count": count, **d}
        self.dispatch("GUILD_MEMBERS_CHUNK", **whole)

    def over(self) -> list[RequestAnswered | RequestFailed]:
        events = self.link.client.take()
        return [e for e in events if isinstance(e, RequestAnswered | RequestFailed)]


# ----- guild members -----


def test_chunks_are_collected_by_nonce_in_any_order() -> None:
    """Rule 66."""
    asking = Asking()
    number = asking.ask(RequestGuildMembers("1", presences=True))
    nonce = asking.asked().nonce

    asking.chunk(1, 3, members=["c", "d"], nonce=nonce, presences=["p2"])
    asking.chunk(0, 3, members=["a", "b"], nonce=nonce, presences=["p1"])
    asking.chunk(0, 3, members=["a", "b"], nonce=nonce, presences=["p1"])  # replayed
    asking.chunk(2, 3, members=["x"], nonce="of another request")
    assert asking.over() == []
    asking.chunk(2, 3, members=["e"], nonce=nonce, not_found=["9"])

    (answered,) = asking.over()
    assert isinstance(answered, RequestAnswered)
    assert answered.number == number
    assert answered.answer == GuildMembers("1", ("a", "b", "c", "d", "e"), ("9",), ("p1", "p2"))


def test_given_nonce_is_kept_and_generated_ones_differ() -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1", user_ids=["5"], nonce="mine"))
    asking.ask(RequestGuildMembers("1", user_ids=["5"]))
    asking.ask(RequestGuildMembers("1", user_ids=["5"]))

    nonces = [asking.asked().nonce for _ in range(3)]

    assert nonces[0] == "mine"
    assert len(set(nonces)) == 3


def test_two_requests_for_a_guild_are_distinguished() -> None:
    asking = Asking()
    first = asking.ask(RequestGuildMembers("1", "a", 5))
    second = asking.ask(RequestGuildMembers("1", "b", 5))
    nonces = [asking.asked().nonce for _ in range(2)]

    asking.chunk(0, 1, members=["b"], nonce=nonces[1])
    asking.chunk(0, 1, members=["a"], nonce=nonces[0])

    over: Any = asking.over()
    assert [(o.number, o.answer.members) for o in over] == [(second, ("b",)), (first, ("a",))]


def test_chunk_without_nonce_is_matched_by_its_guild() -> None:
    """Other servers leave the nonce out, and write ids as integers."""
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))

    asking.dispatch("GUILD_MEMBERS_CHUNK", guild_id=2, members=[], chunk_index=0, chunk_count=1)
    asking.dispatch("GUILD_MEMBERS_CHUNK", guild_id=1, members=["a"], chunk_index=0, chunk_count=1)

    (answered,) = asking.over()
    assert isinstance(answered, RequestAnswered)
    assert answered.answer == GuildMembers("1", ("a",))


@pytest.mark.parametrize("version", [3, 5])
def test_partial_chunk_without_index_is_the_last(version: int) -> None:
    """Versions 3 to 5: "chunks of up to 1000, no index, no nonce"."""
    asking = Asking(attrs.evolve(CONFIG, dialect=version, intents=None))
    asking.ask(RequestGuildMembers("1"))
    assert asking.asked() == RequestGuildMembers("1")

    asking.dispatch("GUILD_MEMBERS_CHUNK", guild_id="1", members=["a"] * 1000)
    assert asking.over() == []
    asking.dispatch("GUILD_MEMBERS_CHUNK", guild_id="1", members=["b"])

    (answered,) = asking.over()
    assert isinstance(answered, RequestAnswered)
    assert isinstance(answered.answer, GuildMembers)
    assert answered.answer.members == ("a",) * 1000 + ("b",)


def test_full_chunks_without_index_end_by_timeout() -> None:
    asking = Asking(attrs.evolve(CONFIG, dialect=3, intents=None))
    asking.ask(RequestGuildMembers("1"), timeout=5.0)
    asking.dispatch("GUILD_MEMBERS_CHUNK", guild_id="1", members=["a"] * 1000)

    asking.link.run(5)

    (answered,) = asking.over()
    assert isinstance(answered, RequestAnswered)


def test_every_chunk_restarts_the_timeout() -> None:
    """Rule 66."""
    asking = Asking()
    number = asking.ask(RequestGuildMembers("1"), timeout=10.0)
    nonce = asking.asked().nonce
    for index in range(3):
        asking.link.run(9)
        asking.chunk(index, 5, members=[], nonce=nonce)

    asking.link.run(9.9)
    assert asking.over() == []
    asking.link.run(0.1)

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.why) == (number, "no answer for 10 s")


def test_rate_limited_fails_the_matching_request() -> None:
    """Rule 65."""
    asking = Asking()
    asking.ask(RequestGuildMembers("1", "a", 5))
    second = asking.ask(RequestGuildMembers("1", "b", 5))
    nonces = [asking.asked().nonce for _ in range(2)]

    meta = {"guild_id": "1", "nonce": nonces[1]}
    asking.dispatch("RATE_LIMITED", opcode=8, retry_after=12.5, meta=meta)
    asking.dispatch("RATE_LIMITED", opcode=8, retry_after=1.0, meta={"guild_id": "7"})

    (failed,) = asking.over()
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
    asking = Asking()
    asking.ask(RequestGuildMembers("1", user_ids=["5"]))
    number = asking.ask(request_)

    asking.dispatch("RATE_LIMITED", opcode=opcode, retry_after="3", meta=meta)

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.retry_after) == (number, 3.0)


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
    asking = Asking()
    asking.ask(RequestGuildMembers("1", "a", 5))
    asking.ask(RequestGuildMembers("1", "b", 5))
    asking.ask(RequestChannelInfo("1", ["status"]))

    asking.dispatch("RATE_LIMITED", retry_after=3.0, **d)

    assert asking.over() == []


def _sent(asking: Asking, kind: type[Any]) -> list[Any]:
    return [event for event in asking.link.server.take() if isinstance(event, kind)]


@pytest.mark.parametrize("retry_after", [3, 100.0, "100"])
def test_rate_limited_retry_after_replaces_the_members_limit(retry_after: Any) -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))
    meta = {"guild_id": "1", "nonce": asking.asked().nonce}
    asking.dispatch("RATE_LIMITED", opcode=8, retry_after=retry_after, meta=meta)

    asking.ask(RequestGuildMembers("1"), timeout=200)
    asking.ask(RequestGuildMembers("1", "a", 5))
    asking.link.run(float(retry_after) - 0.1)

    assert [request.query for request in _sent(asking, RequestGuildMembers)] == ["a"]
    asking.link.run(0.1)
    assert len(_sent(asking, RequestGuildMembers)) == 1


@pytest.mark.parametrize("retry_after", [None, 0, -1, "soon", True, []])
def test_rate_limited_with_bad_retry_after_keeps_the_limit(retry_after: Any) -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))
    asking.asked()
    asking.dispatch("RATE_LIMITED", opcode=8, retry_after=retry_after, meta={"guild_id": "1"})

    asking.ask(RequestGuildMembers("1"))
    asking.link.run(29.8)

    assert not _sent(asking, RequestGuildMembers)
    asking.link.run(0.2)
    assert len(_sent(asking, RequestGuildMembers)) == 1


def test_rate_limited_delays_commands_without_a_request() -> None:
    asking = Asking()
    connection = asking.connection()
    connection.send(RequestGuildMembers("1"), now=asking.link.now)
    connection.send(RequestChannelInfo("2", ["status"]), now=asking.link.now)
    asking.dispatch("RATE_LIMITED", opcode=8, retry_after=50, meta={"guild_id": "1"})
    asking.dispatch("RATE_LIMITED", opcode=43, retry_after=50, meta={"guild_id": "2"})
    asking.link.server.take()

    connection.send(RequestGuildMembers("1"), now=asking.link.now)
    connection.send(RequestChannelInfo("2", ["status"]), now=asking.link.now)
    connection.send(UpdateVoiceState("1", None), now=asking.link.now)  # it passes them
    asking.link.run(49.8)

    sent = _sent(asking, RequestGuildMembers | RequestChannelInfo | UpdateVoiceState)
    assert [type(command) for command in sent] == [UpdateVoiceState]
    asking.link.run(0.2)
    assert len(_sent(asking, RequestGuildMembers | RequestChannelInfo)) == 2


def test_rate_limited_with_huge_retry_after_delays_by_a_day() -> None:
    asking = Asking()
    connection, now = asking.connection(), asking.link.now

    asking.dispatch("RATE_LIMITED", opcode=43, retry_after=1e300, meta={"guild_id": 1})
    connection.send(RequestChannelInfo("1", ["status"]), now=asking.link.now)

    assert now + 86400 <= connection._outbox.free_at(asking.link.now) < now + 86401


def test_rate_limited_guilds_are_kept_up_to_a_bound() -> None:
    connection = Asking().connection()
    requests = connection._requests

    for number in range(3000):
        d = {"opcode": 43, "retry_after": 60, "meta": {"guild_id": str(number)}}
        requests.received(Dispatch("RATE_LIMITED", 1, msgspec.Raw(json.dumps(d).encode())), 1.0)

    assert len(requests._free_at) == 1000
    assert requests.held_until(RequestChannelInfo("999", ["status"]), 1.0) == 61.0
    assert requests.held_until(RequestChannelInfo("1000", ["status"]), 1.0) == 1.0


@pytest.mark.parametrize("timeout", [None, True, "10", 0, -1.0, float("nan"), float("inf")])
def test_request_with_an_invalid_timeout_has_no_effect(timeout: Any) -> None:
    asking = Asking()

    with pytest.raises(LocalProtocolError, match="invalid timeout"):
        asking.connection().request(RequestChannelInfo("1", ["status"]), now=0.0, timeout=timeout)

    assert len(asking.connection()._requests) == 0
    assert not _sent(asking, RequestChannelInfo)


def test_response_continues_after_resume() -> None:
    """Rule 66: what was missed is replayed on Resume."""
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))
    nonce = asking.asked().nonce
    asking.chunk(0, 2, members=["a"], nonce=nonce)

    asking.link.cut()
    asking.chunk(1, 2, members=["b"], nonce=nonce)
    asking.link.run(5)

    asking.link.client.expect(Resumed)
    answered = next(e for e in asking.link.client.events if isinstance(e, RequestAnswered))
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
    asking = Asking()
    number = asking.ask(RequestGuildMembers("1"))
    life: Any = asking.link._life

    match how:
        case "invalidated":
            asking.link.server.send(SessionInvalidated())
        case "gave up":
            asking.link.server.connection.close(4004, now=asking.link.now)  # type: ignore[union-attr]
        case "stopped":
            life.stop(keep_session=True, now=asking.link.now)
        case _:
            life.connection.close(4000, now=asking.link.now)
    asking.link.run(10)

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.why) == (number, why)


def test_session_too_old_to_resume_fails_pending_requests() -> None:
    asking = Asking(attrs.evolve(CONFIG, resume_within=5.0))
    number = asking.ask(RequestGuildMembers("1"), timeout=1000.0)
    asking.link.dead_hosts.add("localhost")

    asking.link.cut()
    asking.link.run(60)

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.why) == (number, "the session is lost")


def test_ready_in_response_to_resume_fails_pending_requests() -> None:
    asking = Asking(attrs.evolve(CONFIG, dialect=3, intents=None))
    asking.ask(RequestGuildMembers("1"))
    connection: Any = asking.link.client.connection

    connection.receive_data(b"", now=asking.link.now)
    asking.dispatch("READY", session_id="other", heartbeat_interval=1000)

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert failed.why == "a new session began"


def test_unsent_request_fails_on_close() -> None:
    """Rule 60: nothing that waits is carried into the new connection."""
    asking = Asking()
    connection: Any = asking.link.client.connection
    for _ in range(130):
        connection.send(UpdateVoiceState("1", None), now=asking.link.now)
    number = asking.ask(RequestGuildMembers("1"))

    asking.link.cut()

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert (failed.number, failed.why) == (number, "the connection ended before it was sent")


def test_timeout_starts_when_the_rate_limit_lets_it_be_sent() -> None:
    asking = Asking()
    connection: Any = asking.link.client.connection
    for _ in range(130):
        connection.send(UpdateVoiceState("1", None), now=asking.link.now)
    asking.ask(RequestGuildMembers("1", "a", 5), timeout=50.0)

    asking.link.run(100)
    assert asking.over() == []
    asking.link.run(20)

    assert isinstance(asking.over()[0], RequestFailed)


def test_rate_limit_of_all_members_is_once_in_30_seconds() -> None:
    """Rule 65; other commands go past the one that waits."""
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))
    asking.ask(RequestGuildMembers("1"))
    asking.ask(RequestGuildMembers("2"))
    asking.ask(RequestGuildMembers("1", "a", 5))

    sent = [e for e in asking.link.server.take() if isinstance(e, RequestGuildMembers)]
    assert [(r.guild_id, r.query) for r in sent] == [("1", ""), ("2", ""), ("1", "a")]
    life: Any = asking.link._life
    assert [request.guild_id for request in life.waiting] == ["1"]
    asking.link.run(29.9)
    assert not [e for e in asking.link.server.take() if isinstance(e, RequestGuildMembers)]
    asking.link.run(0.1)
    assert asking.asked().guild_id == "1"


def test_rate_limit_of_all_members_outlasts_a_connection() -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))
    asking.asked()
    asking.link.cut()
    asking.link.run(5)
    asking.link.client.expect(Resumed)

    asking.ask(RequestGuildMembers("1"))
    assert not [e for e in asking.link.server.take() if isinstance(e, RequestGuildMembers)]
    asking.link.run(30)
    asking.asked()
    asking.link.run(60)
    asking.ask(RequestGuildMembers("2"))

    assert asking.asked().guild_id == "2"


# ----- soundboard sounds and channel info -----


def test_soundboard_sounds_are_collected_for_each_guild() -> None:
    asking = Asking()
    number = asking.ask(RequestSoundboardSounds(["1", "2"]))
    other = asking.ask(RequestSoundboardSounds(["2"]))

    asking.dispatch("SOUNDBOARD_SOUNDS", guild_id="2", soundboard_sounds=["b"])
    asking.dispatch("SOUNDBOARD_SOUNDS", guild_id="3", soundboard_sounds=["x"])
    asking.dispatch("SOUNDBOARD_SOUNDS", guild_id="1", soundboard_sounds=["a"])

    over: Any = asking.over()
    assert [(o.number, o.answer) for o in over] == [
        (other, SoundboardSounds({"2": ("b",)})),
        (number, SoundboardSounds({"1": ("a",), "2": ("b",)})),
    ]


def test_channel_info_responses_are_matched_in_order() -> None:
    asking = Asking()
    first = asking.ask(RequestChannelInfo("1", ["status"]))
    second = asking.ask(RequestChannelInfo("1", ["voice_start_time"]))
    asking.ask(RequestChannelInfo("2", ["status"]))

    for channels in (["a"], ["b"], ["c"]):
        asking.dispatch("CHANNEL_INFO", guild_id="1", channels=channels)

    over: Any = asking.over()
    assert [(o.number, o.answer) for o in over] == [
        (first, ChannelInfo("1", ("a",))),
        (second, ChannelInfo("1", ("b",))),
    ]


def test_malformed_rate_limited_fails_no_request() -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))

    asking.server.dispatch("RATE_LIMITED", ["no object"], now=asking.link.now)
    asking.link.run()

    assert asking.over() == []


_ASKED: dict[str, Any] = {
    "GUILD_MEMBERS_CHUNK": RequestGuildMembers("1", "a", 5),
    "SOUNDBOARD_SOUNDS": RequestSoundboardSounds(["1"]),
    "CHANNEL_INFO": RequestChannelInfo("1", ["status"]),
}


@pytest.mark.parametrize("d", [["no object"], {"guild_id": []}, {}])
@pytest.mark.parametrize("name", _ASKED)
def test_malformed_response_fails_the_only_request(name: str, d: Any) -> None:
    asking = Asking()
    number = asking.ask(_ASKED[name])

    asking.server.dispatch(name, d, now=asking.link.now)
    asking.link.run()

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert failed.number == number
    assert failed.why.startswith(f"{name} ")


def test_malformed_response_is_reported_by_every_candidate() -> None:
    asking = Asking()
    for query in ("a", "b"):
        asking.ask(RequestGuildMembers("1", query, 5), timeout=5.0)
    other = asking.ask(RequestChannelInfo("1", ["status"]), timeout=5.0)

    asking.server.dispatch("GUILD_MEMBERS_CHUNK", None, now=asking.link.now)
    asking.link.run()
    assert asking.over() == []
    asking.link.run(5)

    why = {
        failed.number: failed.why for failed in asking.over() if isinstance(failed, RequestFailed)
    }
    assert why.pop(other) == "no answer for 5 s"
    assert all(text.startswith("GUILD_MEMBERS_CHUNK cannot be read: ") for text in why.values())
    assert len(why) == 2


@pytest.mark.parametrize("absent", [None, 5, "text", {}])
def test_null_or_invalid_response_fields_count_as_absent(absent: Any) -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1", "a", 5))
    asking.chunk(0, 1, members=["a"], not_found=absent, presences=absent, guild_id=1)
    asking.ask(RequestSoundboardSounds(["1"]))
    asking.dispatch("SOUNDBOARD_SOUNDS", guild_id="1", soundboard_sounds=absent)
    asking.ask(RequestChannelInfo("1", ["status"]))
    asking.dispatch("CHANNEL_INFO", guild_id="1", channels=absent)

    answers = [over.answer for over in asking.over() if isinstance(over, RequestAnswered)]

    assert answers == [
        GuildMembers("1", ("a",)),
        SoundboardSounds({"1": ()}),
        ChannelInfo("1", ()),
    ]


@pytest.mark.parametrize(("index", "count"), [(0.0, 1.0), ("0", "1")])
def test_chunk_index_and_count_may_be_floats_or_text(index: Any, count: Any) -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))

    asking.chunk(index, count, members=["a"] * 1000)

    (answered,) = asking.over()
    assert isinstance(answered, RequestAnswered)


@pytest.mark.parametrize(("index", "count"), [(None, 1), (-1, 1), (True, 1), (1e300, 1), ("x", 1)])
def test_invalid_chunk_index_and_count_count_as_absent(index: Any, count: Any) -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))

    asking.chunk(index, count, members=["a"] * 1000)
    assert asking.over() == []
    asking.chunk(index, count, members=["b"])

    (answered,) = asking.over()
    assert isinstance(answered, RequestAnswered)
    assert isinstance(answered.answer, GuildMembers)
    assert len(answered.answer.members) == 1001


def test_chunk_without_guild_is_matched_by_its_nonce() -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1", "a", 5))

    asking.dispatch("GUILD_MEMBERS_CHUNK", guild_id=None, members=["a"], nonce=asking.asked().nonce)

    (answered,) = asking.over()
    assert isinstance(answered, RequestAnswered)
    assert answered.answer == GuildMembers("1", ("a",))


def test_endless_response_fails_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_MOST_BYTES", 100_000)
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))

    for index in range(100):
        asking.chunk(index, 2**30, members=[])

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert failed.why == "the answer has more than 100000 bytes"


# ----- the caller's mistakes -----


def test_request_before_ready_or_of_a_wrong_type_is_rejected() -> None:
    asking = Asking()
    connection: Any = asking.link.client.connection
    with pytest.raises(LocalProtocolError, match="no request with an answer"):
        connection.request(UpdatePresence(), now=0.0)
    with pytest.raises(LocalProtocolError, match="ask for one"):
        connection.request(RequestGuildMembers(["1", "2"]), now=0.0)
    with pytest.raises(LocalProtocolError, match="expected a snowflake"):
        connection.request(RequestGuildMembers("x"), now=0.0)

    connection.receive_eof(now=0.0)

    with pytest.raises(LocalProtocolError, match="needs READY"):
        connection.request(RequestGuildMembers("1"), now=0.0)
    assert asking.over() == []


def test_connection_without_a_client_fails_requests_on_close() -> None:
    asking = Asking()
    connection: Any = asking.link.client.connection
    alone = type(connection)(CONFIG, "ws://localhost", now=0.0, framing=False)
    alone.receive_message('{"op":10,"d":{"heartbeat_interval":1000}}', now=0.0)
    alone.receive_message('{"op":0,"s":1,"t":"READY","d":{"session_id":"s"}}', now=0.0)
    number = alone.request(RequestGuildMembers("1"), now=0.0)

    alone.receive_eof(now=0.0)

    failed = next(e for e in alone.events() if isinstance(e, RequestFailed))
    assert failed.number == number


def test_timeout_continues_without_a_connection() -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"), timeout=3.0)
    asking.link.dead_hosts.add("localhost")

    asking.link.cut()
    asking.link.run(600)

    (failed,) = asking.over()
    assert isinstance(failed, RequestFailed)
    assert failed.why == "no answer for 3 s"


def test_pause_extends_the_timeout() -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1", "a", 5), timeout=10.0)
    asking.ask(RequestGuildMembers("1", "b", 5), timeout=10.0)
    nonces = [asking.asked().nonce for _ in range(2)]
    connection, link = asking.connection(), asking.link
    link.run(1)
    connection.pause(now=link.now)
    link.run(8)
    late = asking.ask(RequestGuildMembers("1", "c", 5), timeout=10.0)
    link.run(20)
    assert asking.over() == []
    connection.unpause(now=link.now)

    asking.chunk(0, 1, members=["a"], nonce=nonces[0])
    link.run(8.9)

    assert len(asking.over()) == 1, "the second is awaited for nine seconds more"
    link.run(0.2)
    assert len(asking.over()) == 1
    link.run(0.9)
    assert [failed.number for failed in asking.over()] == [late], "ten seconds, and no more"


def test_unpause_after_close_sets_no_timer() -> None:
    asking = Asking()
    asking.ask(RequestGuildMembers("1"))
    connection = asking.connection()
    connection.pause(now=asking.link.now)
    asking.link.cut()

    connection.unpause(now=asking.link.now)

    assert connection.next_timer() is None
