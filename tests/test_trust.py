"""The token is sent only to trusted URLs: malicious URLs, sizes and texts."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Config,
    DialPurpose,
    DialScheduled,
    GatewayFound,
    GaveUp,
    LocalProtocolError,
    Ready,
    Session,
    SessionIgnored,
    UrlRejected,
)
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import token_fingerprint
from gateway_proto.testing import Link

TOKEN = "very-secret-token"
HOSTILE = [
    "ws://gateway.discord.gg",  # downgrade from TLS to plaintext
    "wss://evil.example",
    "wss://evildiscord.gg",
    "wss://discord.gg.evil.example",
    "wss://gateway.discord.gg@evil.example",
    "wss://evil.example/gateway.discord.gg",
    "wss://evil.example?.discord.gg",
    "wss://evil.example#.discord.gg",
    "wss://[::1]",
    "wss://127.0.0.1",
    "wss://gateway.discord.gg\n.evil.example",
    "wss://ev\N{CYRILLIC SMALL LETTER I}l.example",
    "wss://discord\N{FULLWIDTH FULL STOP}gg.evil.example",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//evil.example",
    "",
    "wss://",
    "wss://gateway.discord.gg:99999",
    "wss://a\0.discord.gg",
    "wss://a\x0b.discord.gg",
    "wss://gateway.discord.gg/\r\nHost: evil.example",
    "wss://" + "a" * 10_000 + ".evil.example",
    "wss://evil.example\\.discord.gg/",
    "wss://evil.example\\@gateway.discord.gg/",
    "wss://evil.example%2f.discord.gg",
    "wss://evil.example%00.discord.gg",
    "wss://evil_example.discord.gg",
    "wss://evil.example;.discord.gg",
    "wss://evil.example,.discord.gg",
    "wss://(evil.example).discord.gg",
    "wss://evil.example..discord.gg",
    "wss://.discord.gg",
    "wss://gateway.discord.gg.",
    "wss://[fe80::1%25.discord.gg]",
    "wss://[::ffff:1.2.3.4]",
    "wss://:443",
    "wss://[v1.discord.gg]",
]
CONFIG = Config(token=TOKEN, intents=0)


def _dials_of(client: Client) -> str:
    dial = client.next_dial()
    assert dial is not None
    assert dial.tls
    return dial.host


def _closed(client: Client, payload: dict[str, Any], version: int = 10) -> list[Any]:
    """Open the gateway connection, pass a payload, close it, and return the events."""
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    if version >= 5:
        connection.receive_message('{"op":10,"d":{"heartbeat_interval":1000}}', now=0.0)
    connection.receive_message(json.dumps(payload), now=0.0)
    connection.receive_eof(now=1.0)
    return [*connection.events(), *client.events()]


def _word(url: str) -> str:
    """Return a test id that pytest accepts as an argument: ASCII, without `::`."""
    return re.sub("[^a-z0-9]+", "-", url)[:40] or "nothing"


def _looked_up(config: Config, url: str) -> Client:
    client = Client(config)
    connection = client.dial_succeeded(now=0.0)
    connection.data_to_send()
    body = json.dumps({"url": url}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    connection.receive_data(head + body, now=0.0)
    return client


@pytest.mark.parametrize("url", HOSTILE, ids=_word)
def test_lookup_with_an_untrusted_gateway_url_ends_the_client(url: str) -> None:
    client = _looked_up(CONFIG, url)

    assert client.next_dial() is None
    events = client.events()
    assert any(isinstance(event, UrlRejected) for event in events)
    assert isinstance(events[-1], GaveUp)
    assert TOKEN not in repr(events)


@pytest.mark.parametrize("url", HOSTILE, ids=_word)
def test_untrusted_resume_url_is_replaced_by_the_main_url(url: str) -> None:
    client = _looked_up(CONFIG, "wss://gateway.discord.gg")
    ready = {"session_id": "s", "resume_gateway_url": url}

    events = _closed(client, {"op": 0, "t": "READY", "s": 1, "d": ready})

    assert any(isinstance(event, UrlRejected) for event in events)
    assert _dials_of(client) == "gateway.discord.gg"
    dial = client.next_dial()
    assert dial is not None
    assert dial.purpose is DialPurpose.RESUME


@pytest.mark.parametrize("url", HOSTILE, ids=_word)
@pytest.mark.parametrize("version", [3, 4])
def test_untrusted_redirect_is_replaced_by_a_lookup(url: str, version: int) -> None:
    config = attrs.evolve(CONFIG, version=version, unix_offset=0.0)
    client = _looked_up(config, "wss://gateway.discord.gg")

    events = _closed(client, {"op": 7, "d": {"url": url}}, version)

    assert any(isinstance(event, UrlRejected) for event in events)
    assert _dials_of(client) in ("discordapp.com", "gateway.discord.gg")


@pytest.mark.parametrize("url", HOSTILE, ids=_word)
def test_untrusted_resume_url_of_a_stored_session_is_rejected(url: str) -> None:
    session = Session(
        id="s", sequence=1, resume_url=url, version=10, token_fingerprint=token_fingerprint(TOKEN)
    )

    client = Client(CONFIG, session=session)

    assert _dials_of(client) == "discord.com"
    assert any(isinstance(event, UrlRejected) for event in client.events())


def test_trusted_host_does_not_include_subdomains() -> None:
    config = attrs.evolve(CONFIG, trusted_hosts=("proxy.example",))

    assert _dials_of(_looked_up(config, "wss://proxy.example:9000")) == "proxy.example"
    assert _looked_up(config, "wss://below.proxy.example").next_dial() is None
    assert _looked_up(config, "ws://proxy.example").next_dial() is None


def test_plaintext_to_another_host_requires_the_option() -> None:
    with pytest.raises(LocalProtocolError, match="allow_plaintext=True"):
        Config(token=TOKEN, intents=0, gateway_url="ws://chat.example")

    allowed = Config(token=TOKEN, intents=0, gateway_url="ws://chat.example", allow_plaintext=True)

    dial = Client(allowed).next_dial()
    assert dial is not None
    assert not dial.tls


def test_session_of_another_token_is_ignored() -> None:
    """Rule 20."""
    session = Session(
        id="s", sequence=1, version=10, token_fingerprint=token_fingerprint("another")
    )

    client = Client(CONFIG, session=session)

    ignored, planned = client.events()
    assert ignored == SessionIgnored("session has another token: expected that of Config.token")
    assert isinstance(planned, DialScheduled) and planned.purpose is not DialPurpose.RESUME
    assert client.session is None
    assert TOKEN not in repr((ignored, planned))


@pytest.mark.parametrize("version", range(3, 11))
@pytest.mark.parametrize("end", ["4004", "cut", "stop"])
def test_events_session_errors_and_reasons_have_no_token(version: int, end: str) -> None:
    """Rule 85: only the transport contains it, not events, session, errors or reasons."""
    config = Config(
        token=TOKEN,
        version=version,
        intents=0,
        unix_offset=0.0,
        api_url="http://localhost/api",
    )
    link = Link(Client(config), Server(ServerConfig(tokens=frozenset({TOKEN}))))
    link.client.expect(Ready)
    core: Any = link._client
    connection: Any = link.server.connection
    match end:
        case "4004":
            connection.close(4004, TOKEN[:3], now=link.now)
        case "cut":
            link.cut()
        case _:
            core.stop(keep_session=False, now=link.now)
    link.run(5)

    shown = [link.client.events, link.server.events, link.dials, core, core.session, config]
    shown += [core.gave_up, core.last_closed, link.client.connection, link.server.connection]
    stored = "" if core.session is None else core.session.to_json()

    assert TOKEN not in repr(shown) + stored
    assert len(link.client.events) > 3


def test_error_about_a_token_does_not_contain_it() -> None:
    for token in (TOKEN + " ", TOKEN + "\n", "", "t" * 5000):
        with pytest.raises(LocalProtocolError) as caught:
            Config(token=token, intents=0)
        assert "secret" not in str(caught.value)
        assert "tttt" not in str(caught.value)


# ----- sizes -----


@pytest.mark.parametrize("compression", ["none", "payload", "zlib-stream", "zstd-stream"])
def test_message_over_the_limit_ends_connection_but_not_session(
    compression: str,
) -> None:
    """Rule 74."""
    config = Config(
        token=TOKEN,
        intents=0,
        gateway_url="ws://localhost",
        message_limit=10_000,
        compression=compression,
    )
    server = Server()
    link = Link(Client(config), server)
    link.client.expect(Ready)

    server.dispatch("BOMB", "x" * 20_000, now=link.now)
    link.run()

    closed = link.client.expect(Closed)
    assert " 10000 bytes" in (closed.error or "")
    assert closed.next_action.value == "resume"


def test_endless_lookup_response_ends_the_lookup() -> None:
    client = Client(CONFIG)
    connection = client.dial_succeeded(now=0.0)
    connection.receive_data(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000, now=0.0)

    closed = connection.events()[-1]

    assert isinstance(closed, Closed)
    assert "more than 65536 bytes" in (closed.error or "")


# ----- a peer that repeats the token -----

LONG_TOKEN = "secret-" + "q" * 60
_OK_HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
ECHOING_ANSWERS = {
    "missing URL": _OK_HEAD + b'{"authorization":"Bot %s"}',
    "untrusted URL": _OK_HEAD + b'{"url":"wss://evil.example/%s"}',
    "a broken header line": b"HTTP/1.1 200 OK\r\nAuthorization Bot %s\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/%s\r\n\r\n",
    "invalid HTTP": b"401 %s\r\n\r\n",
}


@pytest.mark.parametrize("answer", ECHOING_ANSWERS.values(), ids=ECHOING_ANSWERS)
def test_token_in_a_lookup_response_is_redacted(answer: bytes) -> None:
    client = Client(attrs.evolve(CONFIG, token=LONG_TOKEN, use_gateway_bot=True))
    connection = client.dial_succeeded(now=0.0)

    connection.receive_data(answer.replace(b"%s", LONG_TOKEN.encode()), now=0.0)
    connection.receive_eof(now=0.0)

    events = [e for e in connection.events() if not isinstance(e, GatewayFound)]
    shown = repr([events, client.events(), client.gave_up, client.last_closed])
    assert "token" in shown
    assert "secret-" not in shown


@pytest.mark.parametrize("before", [0, 150, 170, 195])
@pytest.mark.parametrize("name", ["Location", "CF-RAY"])
def test_token_in_an_upgrade_response_is_redacted(name: str, before: int) -> None:
    client = Client(attrs.evolve(CONFIG, token=LONG_TOKEN, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0)

    value = "x" * before + LONG_TOKEN
    answer = f"HTTP/1.1 302 Found\r\n{name}: {value}\r\nContent-Length: 300\r\n\r\n{value}"
    connection.receive_data(answer.encode(), now=0.0)
    connection.receive_eof(now=0.0)

    shown = repr([connection.events(), client.events(), client.last_closed])
    assert "302" in shown
    assert "secre" not in shown


@pytest.mark.parametrize("escape", ["%{:02x}", "%{:02X}", "\\u{:04x}", "\\u{:04X}"])
@pytest.mark.parametrize("escaped", [".-_", LONG_TOKEN], ids=["marks", "all"])
@pytest.mark.parametrize("before", [0, 70, 150, 250])
def test_escaped_token_is_redacted(escape: str, escaped: str, before: int) -> None:
    spelling = "".join(escape.format(ord(x)) if x in escaped else x for x in LONG_TOKEN)
    client = Client(attrs.evolve(CONFIG, token=LONG_TOKEN, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0)

    answer = f"HTTP/1.1 302 Found\r\nLocation: {'x' * before}{spelling}\r\n\r\n"
    connection.receive_data(answer.encode(), now=0.0)
    connection.receive_eof(now=0.0)

    shown = repr([connection.events(), client.events(), client.last_closed])
    assert f"{'x' * before}<token>"[:200] in shown
    assert spelling[:6] not in shown.replace("\\\\", "\\")


@pytest.mark.parametrize("code", [4000, 4002, 4004, 1000])
def test_token_in_a_close_reason_is_redacted(code: int) -> None:
    client, connection = _after_hello()

    connection.receive_close(code, f"bad token {LONG_TOKEN}", now=0.0)

    shown = repr([connection.events(), client.events(), client.gave_up, client.last_closed])
    assert "bad token <token>" in shown
    assert LONG_TOKEN not in shown


@pytest.mark.parametrize(
    "message",
    [
        LONG_TOKEN,
        " " * 70 + LONG_TOKEN,  # the excerpt ends within the token
        '{"op":"' + LONG_TOKEN + '"}',
        '{"op":null,"message":"' + LONG_TOKEN + '"}',
        '{"op":99,"t":"' + LONG_TOKEN + '"}',
        '{"op":0,"t":"READY","s":1,"d":{"session_id":"s","resume_gateway_url":"wss://'
        + LONG_TOKEN
        + "x" * 9000
        + '"}}',
        '{"op":0,"t":"READY","s":1,"d":{"session_id":"s","resume_gateway_url":"wss://'
        + LONG_TOKEN
        + r'\ud800"}}',
    ],
)
def test_token_in_a_message_is_redacted(message: str) -> None:
    client, connection = _after_hello()

    connection.receive_message(message, now=0.0)
    connection.receive_eof(now=0.0)

    shown = repr([connection.events(), client.events()])
    assert "secret-q" not in shown


def test_token_in_a_dial_error_is_redacted() -> None:
    client = Client(attrs.evolve(CONFIG, token=LONG_TOKEN))

    client.dial_failed(f"a proxy says {LONG_TOKEN}", now=0.0)

    shown = repr(client.events())
    assert "a proxy says <token>" in shown
    assert LONG_TOKEN not in shown


def _after_hello() -> tuple[Client, ClientConnection]:
    config = Config(token=LONG_TOKEN, intents=0, gateway_url="ws://localhost")
    client = Client(config)
    connection = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":40000}}', now=0.0)
    return client, connection
