"""TLS with invalid certificates: rejected with the reason; the token is not sent."""

from __future__ import annotations

import asyncio
import datetime
import pathlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trustme

import gateway_asyncio
import gateway_trio
from gateway_proto import (
    Config,
    DialFailed,
    DialPurpose,
    DialScheduled,
    Identify,
    Opened,
    Ready,
    Session,
)
from gateway_proto.server import Server
from gateway_proto.session import token_fingerprint
from tests.adapters.support import PATIENCE

NAMES = ("127.0.0.1", "localhost")
YEAR = datetime.timedelta(days=365)
NOW = datetime.datetime.now(datetime.UTC)
Run = Callable[[Callable[[], Awaitable[None]]], None]
RUNNERS: dict[str, tuple[Any, Run]] = {
    "asyncio": (gateway_asyncio, lambda main: asyncio.run(main())),
    "trio": (gateway_trio, lambda main: trio.run(main)),
}

pytestmark = pytest.mark.parametrize("name", RUNNERS)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _serving(certificate: trustme.LeafCert, path: pathlib.Path, *, chain: int) -> ssl.SSLContext:
    """Return a context with `chain` certificates of the chain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    blobs = [certificate.private_key_pem, *certificate.cert_chain_pems[:chain]]
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    context.load_cert_chain(path)
    return context


def _events(name: str, tls: ssl.SSLContext | None, trusting: ssl.SSLContext) -> list[Any]:
    """Dial a server once; return the events up to READY or the end."""
    adapter, run = RUNNERS[name]
    events: list[Any] = []
    received_data: list[Any] = []

    async def main() -> None:
        async with adapter.serve_gateway(
            Server(), ssl_context=tls, on_event=lambda _, event: received_data.append(event)
        ) as serving:
            config = Config(
                token="never-seen",
                intents=0,
                gateway_url=f"wss://127.0.0.1:{serving.port}",
                dial_attempts=1,
                handshake_timeout=PATIENCE,
            )
            async with adapter.open_gateway(
                config, ssl_context=trusting, raise_on_give_up=False
            ) as gateway:
                async for event in gateway:
                    events.append(event)
                    if isinstance(event, Ready):
                        break

    run(main)
    if not any(isinstance(event, Ready) for event in events):
        assert not any(isinstance(event, Opened | Identify) for event in received_data)
    return events


def _why(events: list[Any]) -> str:
    (failed,) = [event for event in events if isinstance(event, DialFailed)]
    return failed.error


def test_complete_chain_for_the_right_name_is_accepted(
    name: str, authority: trustme.CA, tmp_path: pathlib.Path
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    certificate = authority.create_child_ca().issue_cert(*NAMES)

    events = _events(name, _serving(certificate, tmp_path / "pem", chain=2), trusting)

    assert isinstance(events[-1], Ready)


@pytest.mark.parametrize(
    ("wrong", "expected_text"),
    [
        ("authority", "unable to get local issuer certificate"),
        ("chain", "unable to get local issuer certificate"),
        ("name", "certificate is not valid for '127.0.0.1'"),
        ("expired", "certificate has expired"),
        ("early", "certificate is not yet valid"),
        ("self", "certificate verify failed"),
    ],
)
def test_invalid_certificate_is_rejected_with_the_reason(
    name: str, authority: trustme.CA, wrong: str, expected_text: str, tmp_path: pathlib.Path
) -> None:
    trusting = ssl.create_default_context()
    if wrong != "authority":
        authority.configure_trust(trusting)
    issue = authority.issue_cert
    chain = 2
    match wrong:
        case "chain":  # its intermediate certificate is not sent
            certificate, chain = authority.create_child_ca().issue_cert(*NAMES), 1
        case "name":
            certificate = issue("elsewhere.test")
        case "expired":
            certificate = issue(*NAMES, not_before=NOW - YEAR, not_after=NOW - YEAR / 365)
        case "early":
            certificate = issue(*NAMES, not_before=NOW + YEAR / 365, not_after=NOW + YEAR)
        case "self":  # from an authority of the same name
            certificate = trustme.CA().issue_cert(*NAMES)
        case _:
            certificate = issue(*NAMES)

    events = _events(name, _serving(certificate, tmp_path / "pem", chain=chain), trusting)

    assert expected_text in _why(events)
    assert "could not connect to 127.0.0.1 port" in repr(events[-1])


def test_server_without_tls_is_reported(name: str) -> None:
    events = _events(name, None, ssl.create_default_context())

    assert "does not use TLS" in _why(events) or "reset" in _why(events).lower()


@pytest.mark.parametrize("fault", ["no TLS", "another authority"])
def test_resume_url_with_permanent_tls_failure_is_abandoned(
    name: str, fault: str, authority: trustme.CA, tmp_path: pathlib.Path
) -> None:
    adapter, run = RUNNERS[name]
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    wrong: ssl.SSLContext | None = None
    if fault == "another authority":
        wrong = _serving(trustme.CA().issue_cert(*NAMES), tmp_path / "wrong.pem", chain=1)
    right = _serving(authority.issue_cert(*NAMES), tmp_path / "right.pem", chain=1)
    events: list[Any] = []

    async def main() -> None:
        async with (
            adapter.serve_gateway(Server(), ssl_context=wrong) as resuming,
            adapter.serve_gateway(Server(), ssl_context=right) as serving,
        ):
            config = Config(
                token="never-seen",
                intents=0,
                gateway_url=f"wss://127.0.0.1:{serving.port}",
                backoff_initial=100.0,
                backoff_max=100.0,
                random=lambda: 0.5,
            )
            session = Session(
                id="no server",
                sequence=1,
                resume_url=f"wss://127.0.0.1:{resuming.port}",
                version=10,
                token_fingerprint=token_fingerprint("never-seen"),
            )
            async with adapter.open_gateway(
                config, session=session, ssl_context=trusting
            ) as gateway:
                async for event in gateway:
                    events.append(event)
                    if isinstance(event, Opened):
                        break

    run(main)

    planned = [event for event in events if isinstance(event, DialScheduled)]
    assert [(plan.purpose, plan.delay) for plan in planned] == [(DialPurpose.RESUME, 0.0)] * 2
    assert len([event for event in events if isinstance(event, DialFailed)]) == 1
