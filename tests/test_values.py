"""Small values: dialects, commands, events, session, config, URLs, intents, shards."""

from __future__ import annotations

import copy
import ipaddress
import pickle
from typing import Any

import msgspec
import pytest

from gateway_proto import (
    DIALECTS,
    Activity,
    By,
    Closed,
    Compression,
    Config,
    DataError,
    DialPlanned,
    Dispatch,
    GatewayProtoError,
    HeartbeatAcked,
    HeartbeatRequested,
    Identify,
    Intents,
    LocalProtocolError,
    Purpose,
    Ready,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resumed,
    Server,
    ServerConfig,
    Session,
    SessionInvalidated,
    Then,
    Trust,
    UpdatePresence,
    UpdateVoiceState,
    Url,
    dialect,
    fingerprint,
    identify_key,
    session_after,
    shard_of,
)

# ----- errors -----


def test_local_protocol_error_is_also_a_value_error() -> None:
    with pytest.raises(ValueError, match="unsupported version 99") as raised:
        dialect(99)

    assert isinstance(raised.value, GatewayProtoError)


# ----- dialects -----


def test_version_is_found_by_its_number_or_is_itself() -> None:
    assert dialect(10) is DIALECTS[10]
    assert dialect(DIALECTS[3]) is DIALECTS[3]


@pytest.mark.parametrize("version", [0, 99, "10", None, []])
def test_unsupported_version_is_rejected_with_the_supported(version: int) -> None:
    with pytest.raises(LocalProtocolError, match="expected one of 3, 4, 5, 6, 7, 8, 9, 10"):
        dialect(version)


@pytest.mark.parametrize("version", DIALECTS)
def test_version_is_hashable(version: int) -> None:
    assert {DIALECTS[version]: 1}[dialect(version)] == 1


# ----- commands -----


def test_ids_are_converted_to_text() -> None:
    assert UpdateVoiceState(1, None) == UpdateVoiceState("1", None)
    assert RequestGuildMembers([1, "2"]).guild_id == ("1", "2")
    assert RequestGuildMembers(1, user_ids=[2]) == RequestGuildMembers("1", user_ids=("2",))
    assert RequestSoundboardSounds([1]).guild_ids == ("1",)
    assert RequestChannelInfo(1, ["status"]) == RequestChannelInfo("1", ("status",))


def test_presence_with_since_is_idle_by_default() -> None:
    assert UpdatePresence().status == "online"
    assert UpdatePresence(since=1).status == "idle"
    assert UpdatePresence(since=1, status="dnd").status == "dnd"
    assert UpdatePresence([Activity("x")]) == UpdatePresence((Activity("x"),))


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
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
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

SESSION = Session(id="s", sequence=5, resume_url="wss://x", shard=(0, 2), dialect=10)
READY = Ready("READY", 1, session_id="new", version=10, shard=(0, 2), fingerprint="f")


def test_session_json_round_trip() -> None:
    assert Session.from_json(SESSION.to_json()) == SESSION
    assert "\n" not in SESSION.to_json()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"id":1}', b"\xff", '{"id":"\\ud800"}', '{"more":' + "[" * 60_000],
    ids=lambda text: str(text[:12]),
)
def test_invalid_session_text_is_rejected(text: str | bytes) -> None:
    with pytest.raises(LocalProtocolError, match="this text is no session"):
        Session.from_json(text)


def test_ready_starts_a_new_session() -> None:
    wanted = Session(id="new", sequence=1, shard=(0, 2), dialect=10, fingerprint="f")

    assert session_after(None, READY) == wanted
    assert SESSION.after(READY) == wanted


def test_ready_without_sequence_starts_at_zero() -> None:
    ready = Ready("READY", None, session_id="new", version=10)

    session = session_after(None, ready)

    assert session is not None
    assert session.sequence == 0


def test_dispatch_changes_only_the_sequence() -> None:
    after = SESSION.after(Dispatch.of("X", {}, 6))

    assert after == Session(id="s", sequence=6, resume_url="wss://x", shard=(0, 2), dialect=10)
    assert SESSION.after(Dispatch.of("X", {}, None)) == SESSION
    assert session_after(None, Dispatch.of("X", {}, 6)) is None


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (SessionInvalidated(False), False),
        (SessionInvalidated(True), True),
        (HeartbeatAcked(), True),
        (Closed(code=None, by=By.TRANSPORT, then=Then.RESUME), True),
        (Closed(code=1000, by=By.PEER, then=Then.RESUME), True),
        (Closed(code=4004, by=By.PEER, then=Then.STOP), False),
        (Closed(code=4007, by=By.PEER, then=Then.IDENTIFY), False),
        (Closed(code=1000, by=By.SELF, then=Then.STOP), False),
        (Closed(code=1001, by=By.SELF, then=Then.STOP), False),
        (Closed(code=4000, by=By.SELF, then=Then.STOP), True),
        (DialPlanned(purpose=Purpose.IDENTIFY, url="", delay=0, reason=""), False),
        (DialPlanned(purpose=Purpose.RESUME, url="", delay=0, reason=""), True),
    ],
)
def test_event_keeps_or_drops_the_session(event: object, kept: bool) -> None:
    assert (session_after(SESSION, event) is not None) == kept  # type: ignore[arg-type]


def test_fingerprint_distinguishes_tokens_and_hides_them() -> None:
    assert fingerprint("a") != fingerprint("b")
    assert "secret" not in fingerprint("secret")
    assert len(fingerprint("a")) == 16


# ----- config -----


def test_bot_prefix_of_the_token_is_removed() -> None:
    assert Config(token="Bot abc", intents=0).token == "abc"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"token": ""}, "Config.token is empty"),
        ({"token": "a b"}, "Config.token contains a space"),
        ({"token": "a\r\nX:y"}, "contains a control character"),
        ({"token": "\N{SNOWMAN}"}, "non-ASCII"),
        ({"shard": (2, 2)}, r"invalid Config.shard \(2, 2\): expected \(id, count\)"),
        ({"shard": (-1, 2)}, r"invalid Config.shard \(-1, 2\)"),
        ({"api_url": "http://localhost", "gateway_url": "ws://localhost"}, "not both"),
        ({"dialect": 3, "compression": "zlib-stream"}, "version 3 has no zlib-stream"),
        ({"compression": "lzma"}, "expected one of none, payload, zlib-stream"),
        ({"intents": None}, "needs intents"),
        ({"api_url": "localhost"}, "begin it with"),
        ({"gateway_url": "ws://example.com"}, "in plain text"),
    ],
)
def test_invalid_config_is_rejected_with_a_reason(changes: dict[str, object], says: str) -> None:
    given = {"token": "secret", "intents": 0, **changes}

    with pytest.raises(LocalProtocolError, match=says) as raised:
        Config(**given)  # type: ignore[arg-type]

    assert "secret" not in str(raised.value)


def test_config_has_endpoint_and_query() -> None:
    config = Config(token="t", intents=0, compression=Compression.ZLIB_STREAM)

    assert str(config.endpoint) == "https://discord.com/api/v10/gateway"
    assert config.query == (("v", "10"), ("encoding", "json"), ("compress", "zlib-stream"))
    assert Config(token="t", dialect=3).query == ()


def test_random_defaults_to_one_half() -> None:
    assert Config(token="t", intents=0).chance() == 0.5
    assert Config(token="t", intents=0, random=lambda: 0.1).chance() == 0.1


def test_repr_has_only_non_default_fields() -> None:
    config = Config(token="t", intents=1, closes={})
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


# ----- URLs -----

MAPPED = str(ipaddress.ip_address("::ffff:127.0.0.1"))  # Python 3.13 writes it in another way


@pytest.mark.parametrize(
    ("text", "host", "port", "target", "header"),
    [
        ("wss://Gateway.Discord.gg", "gateway.discord.gg", 443, "/", "gateway.discord.gg"),
        ("ws://localhost:80/4", "localhost", 80, "/4", "localhost"),
        ("http://localhost:81/a?b=c", "localhost", 81, "/a?b=c", "localhost:81"),
        ("ws://[::1]:5/x", "::1", 5, "/x", "[::1]:5"),
        ("ws://[0:0:0::0:1]", "::1", 80, "/", "[::1]"),
        ("ws://[::ffff:127.0.0.1]", MAPPED, 80, "/", f"[{MAPPED}]"),
        ("ws://127.0.0.1:/", "127.0.0.1", 80, "/", "127.0.0.1"),
        ("ws://1a.2-b.c3", "1a.2-b.c3", 80, "/", "1a.2-b.c3"),
        ("wss://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example", "xn--bcher-kva.example",
         443, "/", "xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_url_is_parsed(text: str, host: str, port: int, target: str, header: str) -> None:
    url = Url.parse(text)

    assert (url.host, url.port, url.target, url.host_header) == (host, port, target, header)
    assert Url.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "ftp://localhost",
        "ws://",
        "ws://user@localhost",
        "ws://localhost:99999",
        "ws://localhost:x",
        "ws://localhost/a b",
        "ws://localhost/\N{SNOWMAN}",
        "ws://[::1",
        "ws://" + "a" * 300 + ".example",
        "ws://localhost:0",
        "ws://localhost:8\N{ARABIC-INDIC DIGIT THREE}",
        "ws://localhost:80:80",
        "ws://local host",
        " ws://localhost",
        "ws://localhost\n",
        "\x01ws://localhost",
        "ws://local\thost",
        "ws://localhost/\x7f",
        "ws://evil.example\\.localhost",
        "ws://localhost/\\x",
        "ws://evil.example%2f.localhost",
        "ws://a_b.localhost",
        "ws://a..localhost",
        "ws://.localhost",
        "ws://localhost.",
        "ws://-a.localhost",
        "ws://a-.localhost",
        "ws://a!b.localhost",
        "ws://1.2.3",
        "ws://127.1",
        "ws://2130706433",
        "ws://0x7f000001",
        "ws://0x7f.1",
        "ws://127.0.0.01",
        "ws://256.0.0.1",
        "ws://evil.127.0.0.1",
        "ws://[::1%25eth0]",
        "ws://[::1]evil.example",
        "ws://evil.example[::1]",
        "ws://[localhost]",
        "ws://[v1.a]",
        "ws://::1",
    ],
)
def test_invalid_gateway_url_is_rejected(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="is no URL"):
        Url.parse(text)


def test_query_is_merged_with_the_existing_one() -> None:
    """Rule 24."""
    url = Url.parse("wss://localhost?a=1&v=6&b=")

    assert url.with_query([("v", "10"), ("encoding", "json")]).target == (
        "/?a=1&b=&v=10&encoding=json"
    )
    assert url.with_query([]) is url


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.8.8.8", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_means_the_local_host(host: str, loopback: bool) -> None:
    assert Url.parse(f"ws://{host}").loopback == loopback


@pytest.mark.parametrize(
    ("configured", "url", "trusted"),
    [
        ("https://discord.com/api", "wss://gateway.discord.gg", True),
        ("https://discord.com/api", "wss://gateway-us-east1-b.discord.gg/?x", True),
        ("https://discord.com/api", "wss://discord.com", True),
        ("https://discord.com/api", "ws://gateway.discord.gg", False),
        ("https://discord.com/api", "wss://evildiscord.gg", False),
        ("https://discord.com/api", "wss://discord.gg.evil.example", False),
        ("https://discord.com/api", "wss://gateway.discord.gg@evil.example", False),
        ("wss://gateway.discord.gg", "wss://gateway-2.discord.gg", True),
        ("https://chat.example/api", "wss://chat.example:444", True),
        ("https://chat.example/api", "wss://gateway.chat.example", True),
        ("https://chat.example/api", "wss://other.example", False),
        ("https://chat.example/api", "wss://listed.example", True),
        ("https://chat.example/api", "wss://below.listed.example", False),
        ("http://localhost/api", "ws://localhost:9", True),
        ("http://localhost/api", "wss://localhost", True),
        ("http://localhost/api", "ws://listed.example", False),
        ("http://localhost/api", "wss://listed.example", True),
        ("http://localhost/api", "no url", False),
    ],
)
def test_token_is_sent_only_to_trusted_urls(configured: str, url: str, trusted: bool) -> None:
    trust = Trust(Url.parse(configured), ["Listed.example"], allow_plaintext=False)

    found, why = trust.check(url)

    assert (found is not None) == trusted
    assert bool(why) != trusted


@pytest.mark.parametrize(
    "url",
    [
        "wss://evil.com\\.discord.gg/",
        "wss://evil.com%2f.discord.gg/",
        "wss://evil.com%00.discord.gg/",
        "wss://evil.com\N{FULLWIDTH SOLIDUS}.discord.gg/",
        "wss://gateway\N{FULLWIDTH FULL STOP}discord.gg/",
        "wss://g\N{CYRILLIC SMALL LETTER A}teway.discord.gg/",
        "wss://evil_com.discord.gg/",
        "wss://evil.com;.discord.gg/",
        "wss://evil.com&.discord.gg/",
        "wss://evil.com,.discord.gg/",
        "wss://evil.com'.discord.gg/",
        "wss://evil.com\t.discord.gg/",
        "wss://gateway.discord.gg./",
        "wss://.discord.gg/",
        "wss://a..discord.gg/",
        "wss://evil.com:443@gateway.discord.gg/",
        "wss://gateway.discord.gg:443:1/",
        "wss://gateway.discord.gg/" + "a" * 2048,
    ],
)
def test_host_with_unusual_characters_is_not_trusted(url: str) -> None:
    trust = Trust(Url.parse("https://discord.com/api"), [], allow_plaintext=False)

    found, why = trust.check(url)

    assert found is None
    assert len(why) < 3000


@pytest.mark.parametrize(
    "url", ["wss://gateway.discord.gg ", " wss://gateway.discord.gg/\r\n", "\twss://discord.com"]
)
def test_whitespace_around_a_url_is_ignored(url: str) -> None:
    trust = Trust(Url.parse("https://discord.com/api"), [], allow_plaintext=False)

    assert trust.check(url)[0] == Url.parse(url.strip())


@pytest.mark.parametrize("host", ["::1", "[::1]", "[0:0::1]", "192.0.2.1", "A.example", "a_b"])
def test_trusted_host_is_compared_in_normalized_form(host: str) -> None:
    trust = Trust(Url.parse("wss://localhost"), [host], allow_plaintext=False)
    named = f"[{host}]" if host == "::1" else host

    assert (trust.check(f"wss://{named.lower()}")[0] is not None) == (host != "a_b")


def test_ws_and_http_urls_of_one_host_are_the_same() -> None:
    url = Url.parse("wss://localhost/?a")

    assert url.same_as(Url.parse("https://LOCALHOST:443/?a"))
    assert not url.same_as(Url.parse("ws://localhost:443/?a"))


def test_plaintext_to_another_host_requires_the_option() -> None:
    url = Url.parse("ws://chat.example")

    with pytest.raises(LocalProtocolError, match="allow_plaintext=True"):
        Trust(url, [], allow_plaintext=False)

    assert Trust(url, [], allow_plaintext=True).check("ws://chat.example/x")[0] is not None


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


# ----- what a config refuses -----


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"encoding": "xml"}, "invalid Config.encoding 'xml': expected one of json, etf"),
        ({"compression": "gzip"}, "invalid Config.compression 'gzip'"),
        ({"encoding": "etf", "compression": "payload"}, "payload compression is for json"),
        ({"dialect": 5, "compression": "zlib-stream"}, "version 5 has no zlib-stream"),
        ({"dialect": 4, "shard": (0, 1), "intents": 1}, "version 4 has no intents"),
        ({"intents": -1}, "invalid Config.intents -1"),
        ({"large_threshold": 5}, "Config.large_threshold 5: expected an int from 50 to 250"),
    ],
)
def test_incompatible_config_fields_are_rejected(options: dict[str, Any], says: str) -> None:
    given = {"token": "t", "intents": 0, **options}

    with pytest.raises(LocalProtocolError, match=says):
        Config(**given)


def test_missing_etf_or_compression_package_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway_proto._layers.etf._erlpack", lambda: None)
    monkeypatch.setattr("gateway_proto._layers.inflate.zstd", lambda: None)

    with pytest.raises(LocalProtocolError, match=r"install gateway-proto\[etf\]"):
        Config(token="t", intents=0, encoding="etf")
    with pytest.raises(LocalProtocolError, match=r"install gateway-proto\[zstd\]"):
        Config(token="t", intents=0, compression="zstd-stream")
    for query, says in (("encoding=etf", "encoding"), ("compress=zstd-stream", "compression")):
        with pytest.raises(LocalProtocolError, match=f"{says} .* is not spoken here"):
            Server().accept(now=0.0, framing=False, target=f"/?v=10&{query}")


@pytest.mark.parametrize("version", DIALECTS)
def test_config_can_be_pickled_and_copied(version: int) -> None:
    intents = 1 if DIALECTS[version].intents else None
    own = {4999: DIALECTS[version].after_close(1000)}
    config = Config(token="t", dialect=version, intents=intents, closes=own)

    for again in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert again == config
        assert again.dialect == DIALECTS[version]
        assert again.after_close(4999) == config.after_close(4999) != config.after_close(4998)
