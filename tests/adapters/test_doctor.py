"""`gateway-proto doctor`: steps to a gateway, findings and hints."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import trustme

from gateway_asyncio import serve_gateway
from gateway_cli import doctor_hints
from gateway_cli.doctor_checks import ConnectionCheck, Finding
from gateway_proto import Closed, Config, Initiator, NextAction
from gateway_proto.server import Fault, Scenario, Server, ServerConfig
from tests.adapters.support import DOCTOR_CONFIG, PATIENCE, run_command

ROOT = pathlib.Path(__file__).parents[2]
STEPS = ["name", "connect", "lookup", "name", "connect", "WebSocket", "HELLO", "close"]


async def _examined(**where: Any) -> list[Finding]:
    findings: list[Finding] = []
    config = attrs.evolve(DOCTOR_CONFIG, **{"gateway_url": None, **where})
    good = await ConnectionCheck(config, findings.append, lambda step: None).run()
    assert good == all(finding.good for finding in findings)
    assert all(finding.good for finding in findings[:-1]), "no step follows a failure"
    return findings


def _find(**where: Any) -> list[Finding]:
    return asyncio.run(_examined(**where))


def _find_at(
    server: Server, where: Callable[[Any], dict[str, Any]], **serving: Any
) -> list[Finding]:
    async def main() -> list[Finding]:
        async with serve_gateway(server, **serving) as served:
            return await _examined(**where(served))

    return asyncio.run(main())


@contextlib.contextmanager
def _answering(answer: bytes | None, received_data: bytearray | None = None) -> Iterator[int]:
    """Yield the port of a server with a fixed response; None means no response."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted, _ = listener.accept()
                    kept.append(accepted)
                    if answer is not None:
                        request = accepted.recv(65536)
                        if received_data is not None:
                            received_data.extend(request)
                        accepted.sendall(answer)
                        accepted.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
            for accepted in kept:
                accepted.close()


def _http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


# ----- successful checks -----


@pytest.mark.parametrize("version", [5, 6, 10])
def test_complete_check_succeeds_and_closes_cleanly(version: int) -> None:
    received_data: list[Any] = []
    server = Server()

    async def main() -> list[Finding]:
        async with serve_gateway(
            server, on_event=lambda _, event: received_data.append(event)
        ) as served:
            intents = 0 if version >= 8 else None
            return await _examined(api_url=served.api_url, version=version, intents=intents)

    findings = asyncio.run(main())

    assert [finding.step for finding in findings] == STEPS
    assert all(finding.good for finding in findings)
    kinds = [type(event).__name__ for event in received_data if not isinstance(event, Closed)]
    assert kinds == ["HttpRequested", "Opened"], "no payload was sent"
    assert received_data[-1].code == 1000
    assert "41250 ms" in findings[-2].text


@pytest.mark.parametrize("version", [3, 4])
def test_gateway_without_hello_is_left_before_identify(version: int) -> None:
    received_data: list[Any] = []

    async def main() -> list[Finding]:
        serving = serve_gateway(Server(), on_event=lambda _, event: received_data.append(event))
        async with serving as served:
            findings = await _examined(
                gateway_url=served.url, version=version, intents=None, unix_offset=0.0
            )
            while not received_data or not isinstance(received_data[-1], Closed):
                await asyncio.sleep(0.01)
            return findings

    findings = asyncio.run(main())

    assert [finding.step for finding in findings] == ["name", "connect", "WebSocket", "HELLO"]
    assert "more needs a token" in findings[-1].text
    assert [type(event).__name__ for event in received_data] == ["Opened", "Closed"]


def test_check_without_lookup_skips_its_steps() -> None:
    findings = _find_at(Server(), lambda served: {"gateway_url": served.url})

    assert [finding.step for finding in findings] == [*STEPS[:2], *STEPS[5:]]


def _tls() -> tuple[Any, trustme.CA]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context, authority


def test_trusted_certificate_is_described(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    context, authority = _tls()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    findings = _find_at(Server(), lambda served: {"api_url": served.api_url}, ssl_context=context)

    steps = [finding.step for finding in findings]
    assert steps == ["name", "connect", "TLS", "lookup", *steps[:3], "WebSocket", "HELLO", "close"]
    assert "TLSv1.3; a certificate for 127.0.0.1, localhost by" in findings[2].text


# ----- failed checks -----


def _end(findings: list[Finding]) -> tuple[str, str, str]:
    last = findings[-1]
    assert not last.good
    return last.step, last.text, last.hint


def test_untrusted_certificate_is_rejected_with_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    context, _ = _tls()

    step, text, what_to_do = _end(
        _find_at(Server(), lambda served: {"api_url": served.api_url}, ssl_context=context)
    )

    assert step == "TLS"
    assert text.startswith("certificate refused: ")
    assert "SSL_CERT_FILE" in what_to_do


def test_certificate_of_another_host_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)

    step, text, what_to_do = _end(
        _find_at(Server(), lambda served: {"gateway_url": served.url}, ssl_context=context)
    )

    assert step == "TLS"
    assert "mismatch" in text
    assert "another host" in what_to_do


def test_tls_to_a_port_without_tls_is_reported() -> None:
    step, _, what_to_do = _end(
        _find_at(Server(), lambda served: {"gateway_url": served.url.replace("ws:", "wss:")})
    )

    assert step == "TLS"
    assert "does not use TLS" in what_to_do


def test_plain_text_to_a_tls_port_is_not_a_gateway() -> None:
    context, _ = _tls()

    step, _, what_to_do = _end(
        _find_at(
            Server(),
            lambda served: {"api_url": served.api_url.replace("https:", "http:")},
            ssl_context=context,
        )
    )

    assert step == "lookup"
    assert "not a gateway's API" in what_to_do


def test_port_without_listener_is_rejected() -> None:
    step, text, what_to_do = _end(_find(gateway_url="ws://127.0.0.1:1"))

    assert (step, text) == ("connect", "port 1 of 127.0.0.1: Connection refused")
    assert "Connection refused" in what_to_do


def test_unknown_host_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    step, text, what_to_do = _end(_find(gateway_url="wss://gateway.invalid"))

    assert (step, text) == ("name", "gateway.invalid: Name or service not known")
    assert "spelling" in what_to_do


@pytest.mark.parametrize(
    ("answer", "expected_text", "what_to_do"),
    [
        (_http("503 Busy", b"", "Retry-After: 7"), "HTTP 503", "try again in 7 s"),
        (_http("429 Slow down"), "HTTP 429", "less often"),
        (_http("401 Who?"), "HTTP 401", "gateway-proto tail"),
        (_http("404 Nothing"), "HTTP 404", "before /gateway"),
        (_http("302 Moved", b"", "Location: /x"), "HTTP 302", "redirect"),
        (_http("418 A teapot"), "HTTP 418", "check the URL"),
        (_http("200 OK", b"<html>hello</html>"), "no URL of a gateway", "not a gateway's API"),
        (b"SSH-2.0-x\r\n\r\n", "is not HTTP", "not a gateway's API"),
        (b"", "ended too early", "not a gateway's API"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_lookup_without_a_gateway_is_explained(
    answer: bytes, expected_text: str, what_to_do: str
) -> None:
    with _answering(answer) as port:
        end = _end(_find(api_url=f"http://127.0.0.1:{port}/api"))

    assert end[0] == "lookup"
    assert expected_text in end[1]
    assert what_to_do in end[2]


def test_untrusted_gateway_is_not_connected() -> None:
    with _answering(_http("200 OK", b'{"url": "wss://example.com"}')) as port:
        step, text, what_to_do = _end(_find(api_url=f"http://127.0.0.1:{port}/api"))

    assert step == "trust"
    assert "will not go to wss://example.com: untrusted host" in text
    assert "trusted_hosts" in what_to_do


@pytest.mark.parametrize(
    ("answer", "expected_text", "what_to_do"),
    [
        (_http("503 Busy"), "HTTP 503", "fault of the server"),
        (_http("200 OK", b"hello"), "HTTP 200", "without a WebSocket on this path"),
        (b"SSH-2.0-x\r\n", "closed", "does not support WebSocket"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_failed_upgrade_is_explained(answer: bytes, expected_text: str, what_to_do: str) -> None:
    with _answering(answer) as port:
        end = _end(_find(gateway_url=f"ws://127.0.0.1:{port}"))

    assert end[0] == "WebSocket"
    assert expected_text in end[1]
    assert what_to_do in end[2]


@pytest.mark.parametrize(
    ("url", "step", "what_to_do"),
    [
        ("api_url=http", "lookup", "an HTTP server"),
        ("gateway_url=ws", "WebSocket", "a WebSocket server"),
        ("gateway_url=wss", "TLS", "uses TLS"),
    ],
)
def test_missing_response_is_reported_after_the_timeout(
    url: str, step: str, what_to_do: str
) -> None:
    name, _, scheme = url.partition("=")
    with _answering(None) as port:
        end = _end(_find(**{name: f"{scheme}://127.0.0.1:{port}", "handshake_timeout": 0.3}))

    assert end[0] == step
    assert what_to_do in end[2]


def test_missing_hello_is_distinguished_from_a_close() -> None:
    def at(fault: Fault) -> tuple[str, str, str]:
        server = Server(ServerConfig(scenario=Scenario([fault])))
        return _end(
            _find_at(server, lambda served: {"gateway_url": served.url, "hello_timeout": 0.3})
        )

    silent = at(Fault("silence", on="open"))
    closing = at(Fault("close", on="open", code=4009))

    assert (silent[0], closing[0]) == ("HELLO", "HELLO")
    assert "sends no HELLO" in silent[2]
    assert "4009" in closing[1]
    assert "before HELLO" in closing[2]


# ----- hints for causes that tests cannot create -----


def test_each_cause_has_its_own_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    again = socket.gaierror(socket.EAI_AGAIN, "again")
    texts = [
        doctor_hints.dns_hint(again),
        doctor_hints.connect_hint(TimeoutError()),
        doctor_hints.connect_hint(OSError(101, "unreachable")),
    ]

    assert "online" in texts[0]
    assert "firewall" in texts[1]
    assert "HTTPS_PROXY is set but ignored" in texts[2]


@pytest.mark.parametrize(("code", "word"), [(9, "clock"), (10, "clock"), (1, "OpenSSL")])
def test_expired_certificate_is_distinguished_from_invalid_one(code: int, word: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code = code

    assert word in doctor_hints.tls_hint(error)


def test_own_close_is_not_reported_as_http_status() -> None:
    closed = Closed(
        code=4000, initiator=Initiator.SELF, next_action=NextAction.RESUME, error="no upgrade"
    )

    assert "does not support WebSocket" in doctor_hints.upgrade_hint(closed, silent=False)


# ----- the command -----


def _doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("doctor", *arguments)


@contextlib.contextmanager
def _served() -> Iterator[Any]:
    ready, done = threading.Event(), threading.Event()
    found: list[Any] = []

    async def main() -> None:
        async with serve_gateway(Server()) as served:
            found.append(served)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield found[0]
    finally:
        done.set()
        thread.join(PATIENCE)


def test_successful_check_ends_with_0_and_a_summary() -> None:
    with _served() as served:
        result = _doctor("--api", served.api_url)

    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("gateway_proto 0.")
    assert "Python 3." in lines[0]
    assert "version 10, encoding json, compression none" in lines[1]
    assert [line.split()[:2] for line in lines[2:-1]] == [["ok", step] for step in STEPS]
    assert lines[-1] == "all checks passed: a client can connect"


def test_failed_check_ends_with_1_and_asks_for_a_trace() -> None:
    result = _doctor("--gateway", "ws://127.0.0.1:1")

    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert lines[3].startswith("BAD connect   port 1 of 127.0.0.1: Connection refused")
    assert lines[4].strip().startswith("Connection refused")
    assert "tail --record trace.jsonl" in lines[5]


def test_doctor_json_output_has_the_same_findings() -> None:
    result = _doctor("--gateway", "ws://127.0.0.1:1", "--json")

    head, *findings, end = map(json.loads, result.stdout.splitlines())
    assert head["about"]["api_version"] == 10
    assert [(finding["step"], finding["good"]) for finding in findings] == [
        ("name", True),
        ("connect", False),
    ]
    assert findings[1]["hint"].startswith("Connection refused")
    assert end == {"good": False}
    assert result.returncode == 1


def test_no_authorization_is_sent_even_if_lookup_requires_it() -> None:
    received_data = bytearray()
    with _answering(_http("401 Who?"), received_data) as port:
        result = _doctor("--api", f"http://127.0.0.1:{port}/api", "--api-version", "3")

    assert received_data.startswith(b"GET /api/gateway HTTP/1.1")
    assert b"authorization" not in received_data.lower()
    assert "doctor has none" in result.stdout


def test_conflicting_options_of_doctor_get_one_line() -> None:
    result = _doctor("--gateway", "ws://127.0.0.1:1", "--api", "http://127.0.0.1:1")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "gateway-proto: --api and --gateway exclude each other: leave out one of them\n"
    )


def test_server_that_ignores_the_encoding_fails_the_check() -> None:
    pytest.importorskip("erlpack")

    async def main() -> list[Finding]:
        findings: list[Finding] = []
        async with serve_gateway(Server()) as serving:
            config = attrs.evolve(DOCTOR_CONFIG, encoding="etf", gateway_url=serving.url)
            with contextlib.ExitStack() as stack:
                patch = stack.enter_context(pytest.MonkeyPatch.context())
                patch.setattr(Config, "query", (("v", "10"), ("encoding", "json")))
                await ConnectionCheck(config, findings.append, lambda _: None).run()
        return findings

    last = asyncio.run(main())[-1]

    assert (last.step, last.good) == ("encoding", False)
    assert last.text == "the server sends json instead of the requested etf"
    assert "use --encoding json" in last.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("could not connect to http://h/: Connection refused", "Connection refused: check that"),
        ("could not connect to http://h/: Name or service not known", "Check the host of --api"),
        ("connection closed without a close code by transport", "The server is not a gateway's"),
        ("HTTP exchange ended with status 404", "Wrong path: --api is the URL before"),
        ("HTTP exchange ended with status 503", "A fault of the server: try again later"),
    ],
)
def test_lookup_that_is_tried_again_has_a_hint(text: str, hint: str) -> None:
    shown = doctor_hints.retry_hint(text, api="http://h/api")

    assert shown is not None
    assert shown.startswith(hint)
    assert shown.endswith(
        "until it answers; gateway-proto doctor --api http://h/api checks each step."
    )
    assert "doctor checks" in str(doctor_hints.retry_hint(text, api=None))


def test_lookup_that_is_given_up_has_no_hint() -> None:
    text = "HTTP exchange ended with status 401"

    assert doctor_hints.retry_hint(text, api=None) is None
