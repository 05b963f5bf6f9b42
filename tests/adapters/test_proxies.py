"""Dials through proxies: HTTP CONNECT and SOCKS, TLS, credentials, rejections."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trustme

import gateway_asyncio
import gateway_trio
from gateway_dialing import HttpTunnel, Proxy, proxy_for
from gateway_proto import Config, DialFailed, LocalProtocolError, Ready
from gateway_proto.server import Server
from tests.adapters.proxies import HttpProxy, SocksProxy, running
from tests.adapters.support import PATIENCE

Run = Callable[[Callable[[], Awaitable[None]]], None]
RUNNERS: dict[str, tuple[Any, Run]] = {
    "asyncio": (gateway_asyncio, lambda main: asyncio.run(main())),
    "trio": (gateway_trio, lambda main: trio.run(main)),
}
each_loop = pytest.mark.parametrize("name", RUNNERS)
SECRET = "s3cr3t-word"
VARIABLES = ("ws", "wss", "http", "https", "all", "no", "socks")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for variable in VARIABLES:
        monkeypatch.delenv(f"{variable}_proxy", raising=False)
        monkeypatch.delenv(f"{variable.upper()}_PROXY", raising=False)
    return monkeypatch


@attrs.define
class Came:
    """Result of one dial."""

    ready: bool = False
    error: str = ""
    seconds: float = 0.0


@attrs.frozen
class Tls:
    """Contexts of both sides, of one authority."""

    serving: ssl.SSLContext
    trusting: ssl.SSLContext


@pytest.fixture(scope="module")
def tls() -> Tls:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "gateway.invalid").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return Tls(serving, trusting)


def _dial(
    name: str,
    proxy: Any,
    *,
    host: str = "127.0.0.1",
    tls: Tls | None = None,
    timeout: float = PATIENCE,
) -> Came:
    """Dial a server once through a proxy, up to READY or the failure."""
    adapter, run = RUNNERS[name]
    came = Came()

    async def main() -> None:
        server_side = tls.serving if tls else None
        async with adapter.serve_gateway(Server(), ssl_context=server_side) as serving:
            config = Config(
                token="t",
                intents=0,
                gateway_url=f"ws{'s' if tls else ''}://{host}:{serving.port}",
                allow_plaintext=True,
                handshake_timeout=timeout,
            )
            began = time.monotonic()
            trusting = tls.trusting if tls else None
            async with adapter.open_gateway(config, ssl_context=trusting, proxy=proxy) as gateway:
                async for event in gateway:
                    if isinstance(event, Ready):
                        came.ready = True
                        break
                    if isinstance(event, DialFailed):
                        came.error = event.error
                        break
            came.seconds = time.monotonic() - began

    run(main)
    gc.collect()  # a socket that was left open is a ResourceWarning
    return came


# ----- tunnels -----


@each_loop
@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("encrypted", [False, True])
def test_http_proxy_opens_a_tunnel(name: str, tls: Tls, encrypted: bool, in_bytes: bool) -> None:
    proxy = HttpProxy(in_bytes=in_bytes, names={"gateway.invalid": "127.0.0.1"})

    with running(proxy):
        came = _dial(name, proxy.url(), host="gateway.invalid", tls=tls if encrypted else None)

    assert came.ready, came.error
    assert proxy.asked[0][0] == "gateway.invalid"
    assert b"Proxy-Authorization" not in proxy.heads[0]


@each_loop
@pytest.mark.parametrize("encrypted", [False, True])
def test_https_proxy_opens_a_tunnel(name: str, tls: Tls, encrypted: bool) -> None:
    proxy = HttpProxy(tls=tls.serving)

    with running(proxy):
        adapter, run = RUNNERS[name]
        ready = []

        async def main() -> None:
            server_side = tls.serving if encrypted else None
            async with adapter.serve_gateway(Server(), ssl_context=server_side) as serving:
                config = Config(token="t", intents=0, gateway_url=serving.url)
                async with adapter.open_gateway(
                    config, ssl_context=tls.trusting, proxy=proxy.url()
                ) as gateway:
                    async for event in gateway:
                        if isinstance(event, Ready | DialFailed):
                            ready.append(event)
                            return

        run(main)

    assert isinstance(ready[0], Ready), ready


@each_loop
@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    ("scheme", "host", "version"),
    [
        ("socks5h", "gateway.invalid", 5),
        ("socks5", "127.0.0.1", 5),
        ("socks4a", "gateway.invalid", 4),
        ("socks4", "127.0.0.1", 4),
    ],
)
def test_socks_proxy_opens_a_tunnel(
    name: str, tls: Tls, scheme: str, host: str, version: int, encrypted: bool, in_bytes: bool
) -> None:
    proxy = SocksProxy(in_bytes=in_bytes, names={"gateway.invalid": "127.0.0.1"})

    with running(proxy):
        came = _dial(name, proxy.url(scheme=scheme), host=host, tls=tls if encrypted else None)

    assert came.ready, came.error
    assert proxy.versions == [version]
    assert proxy.asked[0][0] == host


@each_loop
@pytest.mark.parametrize(("scheme", "asked"), [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
def test_socks5_resolves_locally_and_socks5h_at_the_proxy(
    name: str, scheme: str, asked: str
) -> None:
    proxy = SocksProxy()

    with running(proxy):
        came = _dial(name, proxy.url(scheme=scheme), host="localhost")

    assert came.ready or "refused" in came.error
    assert proxy.asked[0][0] in (asked, "::1" if asked == "127.0.0.1" else asked)


# ----- user and password -----


@each_loop
@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
@pytest.mark.parametrize("right", [True, False])
def test_proxy_credentials_are_sent_only_to_the_proxy(
    name: str, kind: Any, right: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = kind(user=("a user", SECRET if right else "another"))

    with running(proxy):
        came = _dial(name, proxy.url(f"a%20user:{SECRET}@"))

    assert came.ready is right
    assert SECRET not in came.error + caplog.text
    if not right:
        assert f"proxy {proxy.url()}" in came.error
        assert ("407" if kind is HttpProxy else "authentication failure") in came.error


@each_loop
def test_socks_proxy_that_requires_a_password_is_named(name: str) -> None:
    with running(SocksProxy(user=("user", SECRET))) as proxy:
        came = _dial(name, proxy.url())

    assert "No acceptable authentication methods" in came.error


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@host:port",
        f"ftp://user:{SECRET}@host",
        f"http://user:{SECRET}@",
        f"http://user:{SECRET}@host/path",
        f"http://user:{SECRET}@host?query",
        f"http://user:{SECRET}/@host",
        f"user:{SECRET}@host:1",
        f"http://{SECRET}@host",
        f"http://user:%ff{SECRET}@host",
        f"http://us%3aer:{SECRET}@host",
        f"socks5://user:{SECRET}%c3%a4@host",
        f"socks5://user:{SECRET * 30}@host",
        f"http://user:{SECRET}@ho st",
        f"http://user:{SECRET}@[::1",
        f"http://user:{SECRET}@{'x' * 64}.example",
        "",
    ],
)
def test_invalid_proxy_is_rejected_without_its_password(url: str) -> None:
    with pytest.raises(LocalProtocolError, match="invalid proxy") as caught:
        Proxy.parse(url)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("setting", [False, 3128, b"http://host", ["http://host"]])
def test_proxy_that_is_not_a_url_is_rejected(setting: Any) -> None:
    with pytest.raises(LocalProtocolError, match="expected a URL, True or None"):
        proxy_for(setting, "wss://gateway.example")


def test_proxy_repr_shows_no_credentials() -> None:
    proxy = Proxy.parse(f"socks5h://a-user:{SECRET}@[::1]:9")

    assert (proxy.username, proxy.password, proxy.host, proxy.port) == ("a-user", SECRET, "::1", 9)
    assert str(proxy) == "socks5h://[::1]:9"
    assert SECRET not in repr(proxy) and "a-user" not in repr(proxy)


# ----- rejections -----


@each_loop
def test_proxy_that_cannot_connect_is_named(name: str) -> None:
    with running(HttpProxy()) as http, running(SocksProxy()) as socks:
        errors = [
            _dial(name, url, host="nowhere.invalid").error for url in (http.url(), socks.url())
        ]

    assert f"proxy {http.url()}: asking for a tunnel to nowhere.invalid:" in errors[0]
    assert errors[0].endswith("refused with HTTP 502 Bad Gateway")
    assert f"proxy {socks.url()}: asking for a tunnel to nowhere.invalid:" in errors[1]
    assert "refused by destination host" in errors[1]


@each_loop
@pytest.mark.parametrize("kind", [HttpProxy, SocksProxy])
def test_unresponsive_proxy_is_named_after_the_timeout(name: str, kind: Any) -> None:
    with running(kind(unresponsive=True)) as proxy:
        came = _dial(name, proxy.url(), timeout=1)

    assert came.error.startswith(
        f"proxy {proxy.url()}: timed out after 1 s: asking for a tunnel to 127.0.0.1:"
    )
    assert came.seconds < PATIENCE


@each_loop
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks4"])
def test_proxy_that_does_not_listen_is_named(name: str, scheme: str) -> None:
    came = _dial(name, f"{scheme}://127.0.0.1:1")

    assert came.error == f"proxy {scheme}://127.0.0.1:1: Connection refused"


@each_loop
def test_https_proxy_with_an_untrusted_certificate_is_rejected(name: str, tls: Tls) -> None:
    with running(HttpProxy(tls=tls.serving)) as proxy:
        came = _dial(name, proxy.url())

    assert came.error.startswith(f"proxy {proxy.url()}: TLS handshake with '127.0.0.1': ")
    assert "certificate verify failed" in came.error
    assert not proxy.heads


@each_loop
def test_tls_through_a_proxy_verifies_the_target_host(name: str, tls: Tls) -> None:
    with running(HttpProxy(names={"other.invalid": "127.0.0.1"})) as proxy:
        came = _dial(name, proxy.url(), host="other.invalid", tls=tls)

    assert "TLS handshake with 'other.invalid': " in came.error
    assert "not valid for 'other.invalid'" in came.error


GARBAGE = [
    b"",
    b"\x00\x01\x02\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"HTTP/1.1 200\x00\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 999 \x1b[31mno\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    b"x" * 300_000,
    b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
]


@each_loop
@pytest.mark.parametrize("answer", GARBAGE, ids=range(len(GARBAGE)))
def test_invalid_response_of_an_http_proxy_fails_the_dial(name: str, answer: bytes) -> None:
    with running(HttpProxy(answer=answer)) as proxy:
        came = _dial(name, proxy.url())

    assert came.error.startswith(f"proxy {proxy.url()}: asking for a tunnel to 127.0.0.1:")
    assert came.error.isprintable()
    assert len(came.error) < 500
    assert came.seconds < PATIENCE / 2


REPLIES = [
    b"\x04\x00\x00\x01" + bytes(6),
    b"\x05\x63\x00\x01" + bytes(6),
    b"\x05\x00\x07\x01" + bytes(6),
    b"\x05\x00\x00\x09" + bytes(6),
    b"\x05\x00\x00\x03\x02\xff\xfe\x00\x00",
    b"\x05\x00",
    b"\x05\x02\x00\x01" + bytes(6),
]


@each_loop
@pytest.mark.parametrize("reply", REPLIES, ids=range(len(REPLIES)))
def test_invalid_reply_of_a_socks_proxy_fails_the_dial(name: str, reply: bytes) -> None:
    with running(SocksProxy(reply=reply)) as proxy:
        came = _dial(name, proxy.url())

    assert came.error.startswith(f"proxy {proxy.url()}: asking for a tunnel to 127.0.0.1:")
    assert came.error.isprintable()


def test_tunnel_skips_informational_responses() -> None:
    tunnel = HttpTunnel(Proxy.parse("http://host"), "::1", 443)

    assert tunnel.request.startswith(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n")
    assert not tunnel.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert tunnel.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")


# ----- the environment -----


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "wss://gateway.example", None),
        ({"https_proxy": "http://a:1"}, "wss://gateway.example", "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1"}, "https://gateway.example/api", "http://a:1"),
        ({"http_proxy": "http://a:1"}, "wss://gateway.example", None),
        ({"http_proxy": "http://a:1"}, "ws://gateway.example", "http://a:1"),
        ({"http_proxy": "http://a:1", "https_proxy": "http://b:1"}, "ws://x", "http://b:1"),
        ({"wss_proxy": "http://a:1", "https_proxy": "http://b:1"}, "wss://x", "http://a:1"),
        ({"ws_proxy": "http://a:1", "https_proxy": "http://b:1"}, "wss://x", "http://b:1"),
        ({"socks_proxy": "http://a:1", "https_proxy": "http://b:1"}, "wss://x", "socks5h://a:1"),
        ({"https_proxy": "socks5h://a"}, "wss://x", "socks5h://a:1080"),
        ({"https_proxy": "http://a:1", "no_proxy": "*"}, "wss://x", None),
        ({"https_proxy": "http://a:1", "no_proxy": "x.example"}, "wss://x.example", None),
        ({"https_proxy": "http://a:1", "no_proxy": ".example"}, "wss://x.example:9", None),
        ({"https_proxy": "http://a:1", "no_proxy": "y.example"}, "wss://x.example", "http://a:1"),
        ({"https_proxy": ""}, "wss://x", None),
    ],
)
def test_environment_names_the_proxy(
    variables: dict[str, str], url: str, proxy: str | None, environment: pytest.MonkeyPatch
) -> None:
    for variable, value in variables.items():
        environment.setenv(variable, value)

    found = proxy_for(True, url)

    assert (None if found is None else str(found)) == proxy
    assert proxy_for(None, url) is None


@each_loop
def test_proxy_of_the_environment_is_used_by_default(
    name: str, environment: pytest.MonkeyPatch
) -> None:
    with running(HttpProxy()) as proxy:
        environment.setenv("HTTP_PROXY", proxy.url())
        used = _dial(name, True)
        direct = _dial(name, None)

    assert used.ready
    assert direct.ready
    assert len(proxy.asked) == 1


@each_loop
def test_invalid_proxy_is_rejected_before_the_first_dial(
    name: str, environment: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LocalProtocolError, match="invalid proxy 'ftp://host'"):
        _dial(name, "ftp://host")

    environment.setenv("HTTP_PROXY", "proxy.example:3128")
    with pytest.raises(LocalProtocolError, match="invalid http_proxy of the environment"):
        _dial(name, True)


@each_loop
def test_socks_proxy_without_its_library_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(LocalProtocolError, match=r"install gateway-proto\[proxy\]"):
        _dial(name, "socks5://127.0.0.1:1")
    with running(HttpProxy()) as proxy:
        assert _dial(name, proxy.url()).ready
