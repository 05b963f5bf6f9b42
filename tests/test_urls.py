"""Parsing of URLs, and which of them may receive the token."""

from __future__ import annotations

import ipaddress

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto.urls import Url, UrlPolicy

MAPPED = str(ipaddress.ip_address("::ffff:127.0.0.1"))  # formatted differently by Python 3.13


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
    with pytest.raises(LocalProtocolError, match=r"invalid (gateway )?URL"):
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
        ("https://api.chat.example", "wss://gateway.api.chat.example", True),
        ("https://api.chat.example", "wss://gateway.chat.example", False),
        ("https://api.chat.example", "wss://evilapi.chat.example", False),
        ("https://api.chat.example", "wss://chat.example", False),
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
    trust = UrlPolicy(Url.parse(configured), ["Listed.example"], allow_plaintext=False)

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
    trust = UrlPolicy(Url.parse("https://discord.com/api"), [], allow_plaintext=False)

    found, why = trust.check(url)

    assert found is None
    assert len(why) < 3000


@pytest.mark.parametrize(
    "url", ["wss://gateway.discord.gg ", " wss://gateway.discord.gg/\r\n", "\twss://discord.com"]
)
def test_whitespace_around_a_url_is_ignored(url: str) -> None:
    trust = UrlPolicy(Url.parse("https://discord.com/api"), [], allow_plaintext=False)

    assert trust.check(url)[0] == Url.parse(url.strip())


@pytest.mark.parametrize("host", ["::1", "[::1]", "[0:0::1]", "192.0.2.1", "A.example", "a_b"])
def test_trusted_host_is_compared_in_normalized_form(host: str) -> None:
    trust = UrlPolicy(Url.parse("wss://localhost"), [host], allow_plaintext=False)
    named = f"[{host}]" if host == "::1" else host

    assert (trust.check(f"wss://{named.lower()}")[0] is not None) == (host != "a_b")


def test_ws_and_http_urls_of_one_host_are_the_same() -> None:
    url = Url.parse("wss://localhost/?a")

    assert url.same_as(Url.parse("https://LOCALHOST:443/?a"))
    assert not url.same_as(Url.parse("ws://localhost:443/?a"))


def test_plaintext_to_another_host_requires_the_option() -> None:
    url = Url.parse("ws://chat.example")

    with pytest.raises(LocalProtocolError, match="allow_plaintext=True"):
        UrlPolicy(url, [], allow_plaintext=False)

    assert UrlPolicy(url, [], allow_plaintext=True).check("ws://chat.example/x")[0] is not None


@pytest.mark.parametrize(
    "url",
    [
        "ws://me:hunter2@host",
        "ftp://me:hunter2@host",
        "ws://me:hunter2@host:99999",
        "ws://me:hun@ter2@host:0",
        "ws://me:hunter2@ho st",
        "ws://me:hunter2@host/é",
    ],
)
def test_error_of_a_url_has_no_password(url: str) -> None:
    with pytest.raises(LocalProtocolError) as raised:
        Url.parse(url)

    assert "ter2" not in str(raised.value)
    assert "//ho" in str(raised.value)
