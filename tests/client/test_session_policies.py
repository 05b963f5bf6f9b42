"""Policies on session age, identify budgets and limits."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gateway_proto import (
    Activity,
    Client,
    ClientConnection,
    Closed,
    DialPurpose,
    DialScheduled,
    Identify,
    IdentifyBudgetSpent,
    IdentifyProperties,
    LocalProtocolError,
    RawCommand,
    Ready,
    Resumed,
    SessionInvalidated,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server, ServerConfig
from gateway_proto.testing import Link
from gateway_proto.versions import VERSIONS
from tests.client.policy_connections import (
    SESSION,
    VOICE,
    config_with,
    connection_with,
    ready_with,
    receive_hello,
    sent_ops,
)
from tests.connections import close_event, receive


def test_session_older_than_resume_within_is_not_resumed() -> None:
    """Rule 23, as an option."""
    link = Link(Client(config_with(resume_within=30.0)), Server())
    link.cut()
    link.run(2)
    link.client.expect(Resumed)
    link.dead_hosts.add("localhost")
    link.cut()
    link.run(40)
    link.dead_hosts.clear()
    link.run(60)

    plans = [e for e in link.client.events if isinstance(e, DialScheduled)]
    assert plans[-1].purpose is DialPurpose.IDENTIFY
    assert [plan.reason for plan in plans if "more than" in plan.reason] == [
        "could not connect to localhost port 80: refused; the session was lost more than 30 s ago"
    ]


def test_stored_session_is_resumed_despite_resume_within() -> None:
    client = Client(config_with(resume_within=1.0), session=SESSION)

    dial = client.next_dial()

    assert dial is not None
    assert dial.purpose is DialPurpose.RESUME


def test_identify_is_not_repeated_within_five_seconds() -> None:
    """Rules 32 and 52."""
    link = Link(Client(config_with(random=lambda: 0.0)), Server())
    link.client.expect(Ready)
    connection: Any = link.server.connection

    connection.close(4007, now=link.now)
    link.run()

    planned = link.client.expect(DialScheduled)
    assert (planned.purpose, planned.delay) == (DialPurpose.IDENTIFY, 5.25)


@pytest.mark.parametrize(("total", "identifies"), [(1, 1), (20, 18), (1000, 900)])
def test_identify_reserve_is_kept(total: int, identifies: int) -> None:
    """Rule 49."""
    client = _after_lookup(total, remaining=total - identifies + 1)
    client.dial_succeeded(now=1.0, framing=False).receive_close(1000, now=2.0)
    assert not [e for e in client.events() if isinstance(e, IdentifyBudgetSpent)]

    client = _after_lookup(total, remaining=total - identifies)

    (spent,) = [e for e in client.events() if isinstance(e, IdentifyBudgetSpent)]
    dial = client.next_dial()
    assert dial is not None
    assert (spent.seconds, dial.at) == (3600.0, 3601.0)
    assert "the next Identify is possible in 3600 s" in spent.reason
    assert client.gave_up is None


def _after_lookup(total: int, *, remaining: int) -> Any:
    client = Client(
        config_with(gateway_url=None, api_url="http://localhost/api/v10", use_gateway_bot=True)
    )
    limit = b'{"total":%d,"remaining":%d,"reset_after":3600000}' % (total, remaining)
    body = b'{"url":"ws://localhost","session_start_limit":%s}' % limit
    lookup = client.dial_succeeded(now=0.0)
    lookup.receive_data(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, now=1.0
    )
    return client


def test_identify_reduces_the_budget_of_the_lookup() -> None:
    config = attrs.evolve(
        config_with(gateway_url=None, api_url="http://localhost/api/v10", use_gateway_bot=True),
        identify_reserve=998,
    )
    link = Link(Client(config), Server())
    for _ in range(2):
        link.server.send(SessionInvalidated())
        link.run(10)

    assert "998 of 1000 sessions remain" in link.client.expect(IdentifyBudgetSpent).reason
    assert sum(isinstance(event, Identify) for event in link.server.events) == 2


def test_spent_budget_ends_identify_on_the_same_connection() -> None:
    config = config_with(identify_on_same_connection=True, identify_budget=2, identify_attempts=100)
    client = Client(config)
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=1.0)
    connection.receive_message('{"op":9,"d":false}', now=2.0)
    connection.handle_timer(now=10.0)
    assert connection._outcome.identified_at == [1.0, 10.0]

    connection.receive_message('{"op":9,"d":false}', now=11.0)
    connection.receive_close(None, now=12.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 86401.0
    assert any(isinstance(event, IdentifyBudgetSpent) for event in client.events())


@pytest.mark.parametrize("status", [401, 403])
def test_repeated_upgrade_rejection_is_backed_off(status: int) -> None:
    """Rule 56: repeated 401 and 403 do not mean an outage."""
    client = Client(config_with(random=lambda: 0.0))
    delays = []
    for _ in range(3):
        connection = client.dial_succeeded(now=0.0)
        connection.receive_data(
            f"HTTP/1.1 {status} No\r\nContent-Length: 5\r\ncf-ray: abc\r\n\r\nsorry".encode(),
            now=0.0,
        )
        closed = connection.events()[-1]
        assert isinstance(closed, Closed)
        assert closed.reason == "sorry"
        assert closed.error == f"the upgrade was answered with HTTP {status} (cf-ray abc)"
        dial = client.next_dial()
        assert dial is not None
        delays.append(dial.at)

    assert delays == [0.0, 60.0, 60.0]


def test_configured_payload_limit_is_enforced() -> None:
    """Rule 61."""
    connection = ready_with(payload_limit=300)

    with pytest.raises(LocalProtocolError, match="more than the 300 that a gateway takes"):
        connection.send(RawCommand(60, "x" * 300), now=0.0)
    ready_with(payload_limit=10_000).send(RawCommand(60, "x" * 5000), now=0.0)


def test_oversized_identify_is_rejected_before_the_first_dial() -> None:
    """Rule 61: not while data is received."""
    with pytest.raises(LocalProtocolError, match=r"Identify has .* more than the 4096"):
        connection_with(properties=IdentifyProperties("x" * 4096))
    with pytest.raises(LocalProtocolError, match=r"Identify has .* more than the 4096"):
        ready_with(properties=IdentifyProperties("x" * 3800)).send(
            UpdatePresence([Activity("x" * 100)]), now=0.0
        )


@pytest.mark.parametrize("length", [256, 257, 5000])
def test_session_id_too_long_for_resume_is_rejected(length: int) -> None:
    connection = receive_hello(connection_with())

    receive(connection, 0, {"session_id": "x" * length}, s=1, t="READY")

    if length <= 256:
        assert connection.state is State.READY
    else:
        assert "a session id of" in (close_event(connection).error or "")


def test_missing_version_means_the_lowest_supported() -> None:
    server = Server(ServerConfig(versions=(9, 10)))

    assert server.accept(now=0.0, framing=False, target="/").version.number == 9


@pytest.mark.parametrize("version", VERSIONS)
def test_presence_sent_during_identify_is_kept(version: int) -> None:
    """A presence is a state: the last one is used, at whatever time it was set."""
    config = config_with(version=version, unix_offset=0.0, presence=UpdatePresence())
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    if config.version.sends_hello:
        receive_hello(connection)
    assert sent_ops(connection) == [2]

    connection.send(UpdatePresence((), 5), now=1.0)
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": 9e9}, s=1, t="READY", now=2.0)

    assert sent_ops(connection) == [3]


def test_second_ready_drops_the_queued_commands() -> None:
    """Rule 35."""
    connection = ready_with()
    for _ in range(130):
        connection.send(VOICE, now=0.0)

    receive(connection, 0, {"session_id": "t"}, s=1, t="READY", now=1.0)
    assert connection.queued_commands == ()
    connection.receive_eof(now=2.0)

    assert set(close_event(connection).unsent) == {VOICE}
