"""Start-up of a client: lookup, dial, Identify, and a reason for each decision."""

from __future__ import annotations

import pytest

from gateway_proto import (
    Client,
    DialPurpose,
    DialScheduled,
    GatewayFound,
    GaveUp,
    LocalProtocolError,
    Ready,
    SessionInvalidated,
)
from gateway_proto.server import Server
from gateway_proto.testing import Link
from tests.client.support import CONFIG, answer_lookup, config_with


def test_lookup_result_is_reused_for_the_next_identify() -> None:
    link = Link(Client(CONFIG), Server())
    link.client.expect(Ready)
    link.server.send(SessionInvalidated())
    link.run(10)

    assert [dial.purpose for dial in link.dials] == [
        DialPurpose.LOOKUP,
        DialPurpose.IDENTIFY,
        DialPurpose.IDENTIFY,
    ]


def test_new_client_has_one_planned_dial_and_no_other_event() -> None:
    client = Client(CONFIG)

    assert client.events() == [
        DialScheduled(
            purpose=DialPurpose.LOOKUP,
            url="http://localhost/api/v10/gateway",
            delay=0.0,
            reason="the client starts",
        )
    ]
    assert (client.connection, client.last_closed, client.lookup_answer, client.session) == (
        None,
    ) * 4
    assert (client.gave_up, client.latency, client.queued_commands) == (None, None, ())


def test_client_without_identify_budget_plans_no_dial() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost", identify_budget=0))

    assert client.next_dial() is None
    assert [type(event) for event in client.events()] == [GaveUp]


def test_lookup_only_client_ends_with_the_response() -> None:
    client = Client(CONFIG, lookup_only=True)

    answer_lookup(client, "localhost")

    assert client.next_dial() is None
    assert (client.gave_up, client.lookup_answer) == (None, GatewayFound("ws://localhost"))


def test_configured_gateway_url_needs_no_lookup() -> None:
    link = Link(Client(config_with(api_url=None, gateway_url="ws://localhost:1/x")), Server())

    assert [dial.url for dial in link.dials] == ["ws://localhost:1/x?v=10&encoding=json"]


def test_each_decision_is_an_event_with_its_reason() -> None:
    link = Link(Client(CONFIG), Server())
    link.cut()
    link.run(10)

    planned = [event for event in link.client.events if isinstance(event, DialScheduled)]

    assert [(plan.purpose, plan.reason) for plan in planned] == [
        (DialPurpose.LOOKUP, "the client starts"),
        (DialPurpose.IDENTIFY, "the lookup named the gateway"),
        (DialPurpose.RESUME, "the transport ended without a close frame"),
    ]


def test_second_dial_during_an_open_dial_raises_local_error() -> None:
    client = Client(CONFIG)
    client.dial_succeeded(now=0.0)

    assert client.next_dial() is None
    expected_text = r"^no dial was asked for: next_dial\(\) is None$"
    with pytest.raises(LocalProtocolError, match=expected_text):
        client.dial_succeeded(now=0.0)
    with pytest.raises(LocalProtocolError, match=expected_text):
        client.dial_failed("x", now=0.0)
