"""Texts of a client's events: reasons of dials, rejected URLs, and invalid arguments."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Activity,
    Client,
    DialPurpose,
    DialScheduled,
    GaveUp,
    LocalProtocolError,
    UpdatePresence,
    UrlRejected,
)
from gateway_proto.urls import MAX_URL_LENGTH
from tests.client.support import CONFIG, SESSION, answer_lookup, config_with

HELLO = '{"op":10,"d":{"heartbeat_interval":41250}}'
HINT = "; it came in answer to Identify: is the token right?"


def _close_after_identify(client: Client, code: int | None, now: float) -> str:
    """Identify, receive a close, and return the reason of the next dial."""
    connection: Any = client.dial_succeeded(now=now, framing=False)
    connection.receive_message(HELLO, now=now)
    connection.receive_close(code, now=now)
    planned = client.events()[-1]
    assert isinstance(planned, DialScheduled)
    return planned.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, f"the server closed without a code{HINT}"),
        (4000, f"the server closed with 4000 '' (unknown error){HINT}"),
        (4002, "the server closed with 4002 '' (undecodable payload)"),
        (4015, f"the server closed with 4015 '' (an undocumented code){HINT}"),
    ],
)
def test_reason_of_the_next_dial_describes_the_close(code: int | None, reason: str) -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"))

    assert _close_after_identify(client, code, 0.0) == reason


def test_rejected_identifies_name_no_command() -> None:
    """An outage may reject each Identify: it is the client's own command."""
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"))

    for now in (0.0, 1000.0, 2000.0, 3000.0):
        _close_after_identify(client, 4000, now)

    assert client.gave_up is None


def test_identify_budget_of_zero_ends_the_client_with_its_reason() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost", identify_budget=0))

    reason = "invalid Config.identify_budget 0: it allows no Identify"
    assert client.gave_up == reason
    assert client.events() == [GaveUp(reason)]


def test_close_code_that_ends_the_client_is_reported() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"))
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    client.events()

    connection.receive_close(4004, now=0.0)

    assert client.gave_up is not None
    assert client.events() == [GaveUp(client.gave_up)]


@pytest.mark.parametrize("length", [MAX_URL_LENGTH, MAX_URL_LENGTH + 1])
def test_long_rejected_url_is_shortened(length: int) -> None:
    client = Client(CONFIG)
    host = "x" * (length - len("ws://"))

    answer_lookup(client, host)

    (rejected,) = [event for event in client.events() if isinstance(event, UrlRejected)]
    whole = f"ws://{host}"
    assert rejected.url == (whole if length == MAX_URL_LENGTH else f"{whole[:200]}...")


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("session", {"session": "s1"}),
        ("gateway", {"gateway": "wss://localhost"}),
        ("on_slot_needed", {"on_slot_needed": 5}),
    ],
)
def test_argument_of_another_type_is_rejected(field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match=f"^invalid {field} "):
        Client(CONFIG, **arguments)


def test_too_large_presence_is_rejected_before_the_dial() -> None:
    presence = UpdatePresence((Activity("x" * 5000),))

    with pytest.raises(LocalProtocolError, match="4096"):
        Client(config_with(presence=presence), session=SESSION)


@pytest.mark.parametrize(("version", "delay"), [(4, 0.0), (10, 1.0)])
def test_delay_after_a_refused_resume_depends_on_the_version(version: int, delay: float) -> None:
    client = Client(
        config_with(
            api_url=None, gateway_url="ws://localhost", version=version, random=lambda: 0.0
        ),
        session=msgspec.structs.replace(SESSION, version=version),
    )
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message(HELLO, now=0.0)

    connection.receive_message('{"op":9,"d":false}', now=0.0)

    planned = client.events()[-1]
    assert isinstance(planned, DialScheduled)
    assert (planned.purpose, planned.delay) == (DialPurpose.IDENTIFY, delay)
