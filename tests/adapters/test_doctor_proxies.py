"""`gateway-proto doctor` through proxies, with several addresses, and with other certificates."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import attrs
import pytest

from gateway_asyncio import serve_gateway
from gateway_cli.doctor_checks import ConnectionCheck, Finding
from gateway_cli.opening import _of_session
from gateway_proto.server import Server
from tests.adapters.proxies import HttpProxy, running
from tests.adapters.support import DOCTOR_CONFIG, PATIENCE, run_command


def test_check_through_a_proxy_names_a_rejecting_proxy() -> None:
    with running(HttpProxy()) as proxy, running(HttpProxy(user=("u", "right"))) as refusing:
        good = _findings_through(proxy.url())
        bad = _findings_through(refusing.url("u:wrong-word@"))

    assert [finding.step for finding in good][:1] == ["proxy"]
    assert all(finding.good for finding in good)
    assert good[0].text == f"a tunnel through {proxy.url()}"
    assert (bad[-1].step, bad[-1].good) == ("proxy", False)
    assert "refused with HTTP 407 Proxy Authentication Required" in bad[-1].text
    assert "--no-proxy" in bad[-1].hint
    assert "wrong-word" not in repr(bad)


def test_check_tries_a_second_address_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    unresponsive = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = unresponsive.getsockname()[1]
    filling = [socket.socket() for _ in range(4)]
    for one in filling:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("two.localhost", b"two.localhost"):
            return real(host, *args, **kwargs)
        addresses = ("127.0.0.1", "127.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    found = _findings_through(None, host="127.0.0.2", port=port, name="two.localhost")
    for one in (unresponsive, *filling):
        one.close()

    (connected,) = [finding for finding in found if finding.step == "connect"]
    assert connected.good
    assert "127.0.0.2" in connected.text
    assert "not 127.0.0.1" in connected.text
    assert connected.milliseconds < PATIENCE * 1000 / 2


def _findings_through(
    proxy: Any, *, host: str = "127.0.0.1", port: int = 0, name: str | None = None
) -> list[Finding]:
    """Return the findings for a working server behind a proxy."""
    findings: list[Finding] = []

    async def main() -> None:
        async with serve_gateway(Server(), host, port) as serving:
            url = f"ws://{name or host}:{serving.port}"
            config = attrs.evolve(DOCTOR_CONFIG, gateway_url=url)
            await ConnectionCheck(config, findings.append, lambda _: None, proxy=proxy).run()

    asyncio.run(main())
    return findings


@pytest.mark.parametrize("command", ["tail", "doctor"])
def test_proxy_and_no_proxy_exclude_each_other(command: str) -> None:
    options = ["--gateway", "ws://127.0.0.1:1", "--proxy", "http://127.0.0.1:2", "--no-proxy"]

    result = run_command(command, *options)

    assert result.returncode == 2
    assert "exclude each other" in result.stderr


def test_certificate_with_the_name_of_a_directory_is_described() -> None:
    class Tls:
        def version(self) -> str:
            return "TLSv1.3"

        def getpeercert(self) -> dict[str, object]:
            directory = ("DirName", ((("commonName", "x"),),))
            return {"subjectAltName": (directory, ("DNS", "localhost")), "notAfter": "today"}

    text = _of_session(Tls())  # type: ignore[arg-type]

    assert text == "TLSv1.3; a certificate for localhost by nobody, until today"
