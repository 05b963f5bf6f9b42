"""Reasons of failed dials as text, and whether a failure is permanent."""

from __future__ import annotations

import errno
import socket
import ssl

import anyio
import pytest
import trio

from gateway_dialing import Address, Attempt, DialError, in_order, is_permanent, reason


def _tls(text: str, name: str | None, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, f"[SSL: {name}] {text} (_ssl.c:1006)")
    error.reason = name or ""
    return error


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


REFUSED = OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)")
OF_TRIO = OSError(errno.ECONNREFUSED, "Error connecting to ('::1', 1): Connection refused")
CASES = [
    (REFUSED, "Connection refused"),
    (OF_TRIO, "Connection refused"),
    (OSError(errno.ENETUNREACH, ""), "Network is unreachable"),
    (OSError(errno.EPIPE, "the tunnel broke"), "the tunnel broke: Broken pipe"),
    (OSError("no words of the system"), "no words of the system"),
    (OSError(), "OSError"),
    (TimeoutError(), "timed out"),
    (trio.TooSlowError(), "timed out"),
    (ConnectionResetError(), "connection closed by the peer"),
    (EOFError(), "connection closed by the peer"),
    (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
    (UnicodeError("label too long"), "label too long"),
    (
        _tls("wrong version number", "WRONG_VERSION_NUMBER"),
        "the server does not use TLS at this port",
    ),
    (_tls("bad certificate", "SSLV3_ALERT_BAD_CERTIFICATE"), "bad certificate"),
    (_tls("EOF occurred", None, ssl.SSLEOFError), "connection closed by the peer"),
    (_caused(trio.BrokenResourceError(), _tls("bad", "X")), "[SSL: X] bad"),
    (_caused(trio.BrokenResourceError(), REFUSED), "Connection refused"),
    (trio.BrokenResourceError(), "connection closed by the peer"),
    (anyio.EndOfStream(), "connection closed by the peer"),
    (ssl.SSLError(1, "raised by Python code"), "raised by Python code"),
    (ExceptionGroup("two", [REFUSED, OF_TRIO]), "Connection refused"),
    (
        _caused(OSError("all failed"), ExceptionGroup("", [REFUSED, OSError("other")])),
        "Connection refused; other",
    ),
    (DialError("as it is"), "as it is"),
    (OSError("two\nlines\x1b[0m"), "two\\nlines\\x1b[0m"),
]


@pytest.mark.parametrize(
    ("error", "expected_text"), CASES, ids=[repr(error)[:40] for error, _ in CASES]
)
def test_failure_reason_is_one_line_and_never_empty(
    error: BaseException, expected_text: str
) -> None:
    assert expected_text in reason(error)
    assert "sub-exception" not in reason(error)
    assert "_ssl.c" not in reason(error)


def test_failure_reason_names_the_schemes_of_the_protocol() -> None:
    error = _tls("wrong version number", "WRONG_VERSION_NUMBER")

    assert reason(error).endswith("URLs begin with ws or http")
    assert reason(ExceptionGroup("", [error]), schemes="redis").endswith("URLs begin with redis")


def test_long_failure_reason_is_shortened() -> None:
    assert len(reason(OSError("x" * 10_000))) < 400


@pytest.mark.parametrize(
    "name",
    ["WRONG_VERSION_NUMBER", "SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_PROTOCOL_VERSION"],
)
def test_tls_error_about_versions_is_permanent(name: str) -> None:
    error = _tls("words", name)

    assert is_permanent(error)
    assert is_permanent(_caused(trio.BrokenResourceError(), error))
    assert is_permanent(ExceptionGroup("", [error, error]))
    assert is_permanent(Attempt().failed(error))


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        TimeoutError(),
        socket.gaierror(-2, "Name or service not known"),
        _tls("EOF occurred", None, ssl.SSLEOFError),
        _tls("internal error", "TLSV1_ALERT_INTERNAL_ERROR"),
        ssl.SSLError(1, "raised by Python code"),  # it has no attribute `reason`
        ExceptionGroup("", [REFUSED, _tls("words", "WRONG_VERSION_NUMBER")]),
        DialError("words"),
    ],
    ids=repr,
)
def test_temporary_error_is_not_permanent(error: BaseException) -> None:
    assert not is_permanent(error)


def _found(*hosts: str) -> list[tuple[object, ...]]:
    families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
    return [
        (family, socket.SOCK_STREAM, 6, "", (host, 1))
        for host, family in zip(hosts, families, strict=True)
    ]


def test_address_families_alternate_without_repeats() -> None:
    found = in_order(_found("::1", "::1", "::2", "::3", "10.0.0.1", "10.0.0.2"))

    hosts = [address.sockaddr[0] for address in found]
    assert hosts == ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("10.0.0.2", "Connection refused"),
        ("gateway.example", "10.0.0.2 port 443: Connection refused"),
    ],
)
def test_host_equal_to_its_only_address_is_not_repeated(host: str, text: str) -> None:
    attempt = Attempt()
    address = Address(2, 1, 6, ("10.0.0.2", 443))

    attempt.connecting(host)
    attempt.trying(address)
    attempt.refused(address, REFUSED)

    assert str(attempt.no_address_answers()) == text


def test_timeout_names_the_step_and_each_address() -> None:
    attempt = Attempt()
    first, second = Address(2, 1, 6, ("10.0.0.1", 443)), Address(2, 1, 6, ("10.0.0.2", 443))

    attempt.connecting("gateway.example")
    attempt.trying(first)
    attempt.trying(second)
    attempt.refused(second, REFUSED)
    text = str(attempt.timed_out(2.5))

    assert text == (
        "timed out after 2.5 s: connecting to 'gateway.example' "
        "(10.0.0.1 port 443: no answer; 10.0.0.2 port 443: Connection refused)"
    )


def test_failure_after_the_tunnel_does_not_name_the_proxy() -> None:
    attempt = Attempt()
    attempt.through("http://proxy.example")
    attempt.tunnelling("gateway.example:443")
    assert str(attempt.failed(ConnectionResetError())).startswith("proxy http://proxy.example: ")

    attempt.tunnelled()
    attempt.encrypting("gateway.example")

    assert str(attempt.timed_out(5.0)) == (
        "timed out after 5 s: TLS handshake with 'gateway.example'"
    )
