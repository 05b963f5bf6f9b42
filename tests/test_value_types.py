"""Value types: versions, commands, events, session, config, intents, shards."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Activity,
    Closed,
    Compression,
    Config,
    DataError,
    DialPurpose,
    DialScheduled,
    Dispatch,
    GatewayProtoError,
    HeartbeatAcked,
    HeartbeatRequested,
    Identify,
    Initiator,
    Intents,
    LocalProtocolError,
    NextAction,
    Ready,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resumed,
    Session,
    SessionInvalidated,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.client.connection import close_policy
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import session_after, token_fingerprint
from gateway_proto.shards import shard_of
from gateway_proto.timing.identify_budget import identify_key
from gateway_proto.versions import VERSIONS, protocol_version

# ----- errors -----


def test_local_protocol_error_is_also_a_value_error() -> None:
    with pytest.raises(ValueError, match="unsupported version 99") as raised:
        protocol_version(99)

    assert isinstance(raised.value, GatewayProtoError)


# ----- versions -----


def test_version_is_found_by_its_number_or_is_itself() -> None:
    assert protocol_version(10) is VERSIONS[10]
    assert protocol_version(VERSIONS[3]) is VERSIONS[3]


@pytest.mark.parametrize("version", [0, 99, "10", None, []])
def test_unsupported_version_is_rejected_with_the_supported(version: int) -> None:
    with pytest.raises(LocalProtocolError, match="expected one of 3, 4, 5, 6, 7, 8, 9, 10"):
        protocol_version(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_version_is_hashable(version: int) -> None:
    assert {VERSIONS[version]: 1}[protocol_version(version)] == 1


# ----- commands -----


def test_ids_are_converted_to_text() -> None:
    assert UpdateVoiceState(1, None) == UpdateVoiceState("1", None)
    assert RequestGuildMembers([1, "2"]).guild_id == ("1", "2")
    assert RequestGuildMembers(1, user_ids=[2]) == RequestGuildMembers("1", user_ids=("2",))
    assert RequestSoundboardSounds([1]).guild_ids == ("1",)
    assert RequestChannelInfo(1, ["status"]) == RequestChannelInfo("1", ("status",))
    assert RequestChannelInfo(1, "status").fields == ("status",)


def test_presence_with_since_is_idle_by_default() -> None:
    assert UpdatePresence().status == "online"
    assert UpdatePresence(since=1).status == "idle"
    assert UpdatePresence(since=1, status="dnd").status == "dnd"
    assert UpdatePresence([Activity("x")]) == UpdatePresence((Activity("x"),))
    assert UpdatePresence(Activity("x")).activities == (Activity("x"),)


def test_commands_of_equal_fields_are_equal_and_have_one_hash() -> None:
    presence = UpdatePresence([Activity("x")], since=1)
    request = RequestGuildMembers(1, user_ids=2)

    assert {presence, UpdatePresence([Activity("x")], since=1)} == {presence}
    assert presence not in (UpdatePresence([Activity("x")]), presence.activities, None)
    assert {request, RequestGuildMembers("1", user_ids=["2"])} == {request}
    assert request not in (RequestGuildMembers(1), UpdateVoiceState("1", None), None)


# ----- events -----


def test_dispatch_is_decoded_once_and_compared_by_its_raw_text() -> None:
    dispatch = Dispatch("X", 1, msgspec.Raw(b'{"a":[1]}'))

    assert dispatch.data == {"a": [1]}
    assert dispatch.data is dispatch.data
    assert dispatch.raw == b'{"a":[1]}'
    assert Dispatch.of("X", {"a": [1]}, 1) == dispatch
    assert len({dispatch, Dispatch.of("X", {"a": [1]}, 1), Dispatch.of("X", {"a": [2]}, 1)}) == 2
    assert dispatch != Dispatch.of("X", {"a": [1]}, 2)
    assert dispatch != Resumed("X", 1, dispatch._d)
    with pytest.raises(LocalProtocolError, match="cannot be encoded as JSON"):
        Dispatch.of("X", object())


def test_dispatch_decodes_directly_into_a_type() -> None:
    class Message(msgspec.Struct):
        content: str

    dispatch = Dispatch.of("MESSAGE_CREATE", {"content": "hello", "more": 1})

    assert dispatch.decode(Message) == Message("hello")
    with pytest.raises(DataError):
        dispatch.decode(int)


def test_heartbeat_acks_are_equal_for_any_latency() -> None:
    assert HeartbeatAcked(1.5) == HeartbeatAcked() != HeartbeatRequested()
    assert len({HeartbeatAcked(1.5), HeartbeatAcked()}) == 1


# ----- session -----

SESSION = Session(id="s", sequence=5, resume_url="wss://x", shard=(0, 2), version=10)
READY = Ready("READY", 1, session_id="new", version=10, shard=(0, 2), token_fingerprint="f")


def test_session_json_round_trip() -> None:
    assert Session.from_json(SESSION.to_json()) == SESSION
    assert "\n" not in SESSION.to_json()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"id":1}', b"\xff", '{"id":"\\ud800"}', '{"more":' + "[" * 60_000],
    ids=lambda text: str(text[:12]),
)
def test_invalid_session_text_is_rejected(text: str | bytes) -> None:
    with pytest.raises(LocalProtocolError, match="text is not a session"):
        Session.from_json(text)


def test_ready_starts_a_new_session() -> None:
    wanted = Session(id="new", sequence=1, shard=(0, 2), version=10, token_fingerprint="f")

    assert session_after(None, READY) == wanted
    assert SESSION.after(READY) == wanted


def test_ready_without_sequence_starts_at_zero() -> None:
    ready = Ready("READY", None, session_id="new", version=10)

    session = session_after(None, ready)

    assert session is not None
    assert session.sequence == 0


def test_dispatch_changes_only_the_sequence() -> None:
    after = SESSION.after(Dispatch.of("X", {}, 6))

    assert after == Session(id="s", sequence=6, resume_url="wss://x", shard=(0, 2), version=10)
    assert SESSION.after(Dispatch.of("X", {}, None)) == SESSION
    assert session_after(None, Dispatch.of("X", {}, 6)) is None


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (SessionInvalidated(False), False),
        (SessionInvalidated(True), True),
        (HeartbeatAcked(), True),
        (Closed(code=None, initiator=Initiator.TRANSPORT, next_action=NextAction.RESUME), True),
        (Closed(code=1000, initiator=Initiator.PEER, next_action=NextAction.RESUME), True),
        (Closed(code=4004, initiator=Initiator.PEER, next_action=NextAction.STOP), False),
        (Closed(code=4007, initiator=Initiator.PEER, next_action=NextAction.IDENTIFY), False),
        (Closed(code=1000, initiator=Initiator.SELF, next_action=NextAction.STOP), False),
        (Closed(code=1001, initiator=Initiator.SELF, next_action=NextAction.STOP), False),
        (Closed(code=4000, initiator=Initiator.SELF, next_action=NextAction.STOP), True),
        (DialScheduled(purpose=DialPurpose.IDENTIFY, url="", delay=0, reason=""), False),
        (DialScheduled(purpose=DialPurpose.RESUME, url="", delay=0, reason=""), True),
    ],
)
def test_event_keeps_or_drops_the_session(event: object, kept: bool) -> None:
    assert (session_after(SESSION, event) is not None) == kept  # type: ignore[arg-type]


def test_fingerprint_distinguishes_tokens_and_hides_them() -> None:
    assert token_fingerprint("a") != token_fingerprint("b")
    assert "secret" not in token_fingerprint("secret")
    assert len(token_fingerprint("a")) == 16


# ----- config -----


def test_bot_prefix_of_the_token_is_removed() -> None:
    assert Config(token="Bot abc", intents=0).token == "abc"


@pytest.mark.parametrize(
    ("changes", "error_text"),
    [
        ({"token": ""}, "Config.token is empty"),
        ({"token": "a b"}, "Config.token contains a space"),
        ({"token": "a\r\nX:y"}, "contains a control character"),
        ({"token": "\N{SNOWMAN}"}, "non-ASCII"),
        ({"shard": (2, 2)}, r"invalid Config.shard \(2, 2\): expected \(id, count\)"),
        ({"shard": (-1, 2)}, r"invalid Config.shard \(-1, 2\)"),
        ({"api_url": "http://localhost", "gateway_url": "ws://localhost"}, "not both"),
        ({"version": 3, "compression": "zlib-stream"}, "version 3 has no zlib-stream"),
        ({"compression": "lzma"}, "expected one of none, payload, zlib-stream"),
        ({"intents": None}, "needs intents"),
        ({"api_url": "localhost"}, "scheme must be ws, wss, http or https"),
        ({"gateway_url": "ws://example.com"}, "in plain text"),
    ],
)
def test_invalid_config_is_rejected_with_a_reason(
    changes: dict[str, object], error_text: str
) -> None:
    given = {"token": "secret", "intents": 0, **changes}

    with pytest.raises(LocalProtocolError, match=error_text) as raised:
        Config(**given)  # type: ignore[arg-type]

    assert "secret" not in str(raised.value)


def test_config_has_endpoint_and_query() -> None:
    config = Config(token="t", intents=0, compression=Compression.ZLIB_STREAM)

    assert str(config.endpoint) == "https://discord.com/api/v10/gateway"
    assert config.query == (("v", "10"), ("encoding", "json"), ("compress", "zlib-stream"))
    assert Config(token="t", version=3).query == ()


def test_random_defaults_to_one_half() -> None:
    assert Config(token="t", intents=0).next_random() == 0.5
    assert Config(token="t", intents=0, random=lambda: 0.1).next_random() == 0.1


def test_repr_has_only_non_default_fields() -> None:
    config = Config(token="t", intents=1, close_policies={})
    request = RequestGuildMembers(5, query="a", limit=4)

    assert repr(config) == "Config(intents=1)"
    assert repr(request) == "RequestGuildMembers(guild_id='5', query='a', limit=4)"
    assert repr(UpdatePresence()) == "UpdatePresence(status='online')"


def test_repr_has_no_token() -> None:
    for value in (
        Config(token="very-secret", intents=0),
        Identify(token="very-secret"),
        ServerConfig(tokens=frozenset({"very-secret"})),
    ):
        assert "very-secret" not in repr(value)


# ----- intents, shards -----


def test_intents_are_parsed_from_names_and_numbers() -> None:
    assert Intents.parse("guilds, GUILD_MESSAGES,") == Intents.GUILDS | Intents.GUILD_MESSAGES
    assert Intents.parse(" 513 ") == 513
    assert Intents.parse("") == 0


@pytest.mark.parametrize("text", ["guild", "guilds,nothing", "-1", "1.5"])
def test_unknown_intent_is_rejected_with_the_known_names(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="guild_messages"):
        Intents.parse(text)


def test_all_and_unprivileged_intents_equal_the_documentation() -> None:
    everything = Intents.all()

    assert set(everything) == set(Intents)
    assert int(everything) == sum(Intents)
    assert everything.privileged == everything & ~Intents.unprivileged()
    assert not Intents.unprivileged().privileged
    assert Intents.unprivileged() | everything.privileged == everything


@pytest.mark.parametrize("text", [None, 513, b"guilds", ["guilds"], "9" * 5000, str(2**53 + 1)])
def test_intents_that_cannot_be_parsed_are_rejected(text: Any) -> None:
    with pytest.raises(LocalProtocolError, match="intents"):
        Intents.parse(text)


def test_guild_maps_to_a_shard_and_shard_to_an_identify_key() -> None:
    assert shard_of("197038439483310086", 4) == (197038439483310086 >> 22) % 4
    assert shard_of(0, 3) == 0
    assert [identify_key(shard, 3) for shard in range(5)] == [0, 1, 2, 0, 1]


# ----- invalid configs -----


@pytest.mark.parametrize(
    ("options", "error_text"),
    [
        ({"encoding": "xml"}, "invalid Config.encoding 'xml': expected one of json, etf"),
        ({"compression": "gzip"}, "invalid Config.compression 'gzip'"),
        ({"encoding": "etf", "compression": "payload"}, "payload compression is for json"),
        ({"version": 5, "compression": "zlib-stream"}, "version 5 has no zlib-stream"),
        ({"version": 4, "shard": (0, 1), "intents": 1}, "version 4 has no intents"),
        ({"intents": -1}, "invalid Config.intents -1"),
        ({"large_threshold": 5}, "Config.large_threshold 5: expected an int from 50 to 250"),
    ],
)
def test_incompatible_config_fields_are_rejected(options: dict[str, Any], error_text: str) -> None:
    given = {"token": "t", "intents": 0, **options}

    with pytest.raises(LocalProtocolError, match=error_text):
        Config(**given)


def test_missing_etf_or_compression_package_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway_proto.encoding.etf._erlpack", lambda: None)
    monkeypatch.setattr("gateway_proto.wire.compression.zstd", lambda: None)

    with pytest.raises(LocalProtocolError, match=r"install gateway-proto\[etf\]"):
        Config(token="t", intents=0, encoding="etf")
    with pytest.raises(LocalProtocolError, match=r"install gateway-proto\[zstd\]"):
        Config(token="t", intents=0, compression="zstd-stream")
    for query, error_text in (
        ("encoding=etf", "encoding"),
        ("compress=zstd-stream", "compression"),
    ):
        with pytest.raises(LocalProtocolError, match=f"{error_text} .* is not supported"):
            Server().accept(now=0.0, framing=False, target=f"/?v=10&{query}")


def test_configs_of_equal_fields_are_equal_and_have_one_hash() -> None:
    def config(**changes: Any) -> Config:
        return Config(**{"token": "t", "intents": 0, "random": lambda: 0.1} | changes)

    assert {config(), config()} == {config()}, "each has another `random`"
    assert config() not in (config(token="u"), config(close_timeout=1), "t")
    policies = {4999: VERSIONS[10].close_policy(1000)}
    assert config(close_policies=policies) != config()
    assert hash(config(close_policies=policies)) == hash(config()), "a mapping has no hash"


@pytest.mark.parametrize("version", VERSIONS)
def test_config_can_be_pickled_and_copied(version: int) -> None:
    intents = 1 if VERSIONS[version].intents else None
    own = {4999: VERSIONS[version].close_policy(1000)}
    config = Config(token="t", version=version, intents=intents, close_policies=own)

    for again in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert again == config
        assert again.version == VERSIONS[version]
        assert close_policy(again, 4999) == close_policy(config, 4999) != close_policy(config, 4998)
