"""Fallback after a lost connection: resume URL, main URL, Identify; reasons to give up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    DialPurpose,
    DialScheduled,
    GaveUp,
    Identify,
    IdentifyBudgetSpent,
    LocalProtocolError,
    NextAction,
    Ready,
    Resumed,
    SessionInvalidated,
    State,
)
from gateway_proto.client.connection import close_policy
from gateway_proto.server import Server, ServerConfig
from gateway_proto.testing import Link
from tests.client.support import (
    CONFIG,
    SESSION,
    answer_dial,
    answer_lookup,
    config_with,
    dial_purposes,
)


def test_unreachable_resume_url_falls_back_to_main_url() -> None:
    server = Server(ServerConfig(url="ws://resume.localhost"))
    link = Link(Client(config_with(api_url=None, gateway_url="ws://localhost")), server)
    link.client.expect(Ready)
    link.dead_hosts.add("resume.localhost")

    link.cut()
    link.run(30)

    assert dial_purposes(link)[1:] == [
        *[(DialPurpose.RESUME, "resume.localhost")] * 3,
        (DialPurpose.RESUME, "localhost"),
    ]
    link.client.expect(Resumed)


def test_unreachable_network_never_loses_the_session() -> None:
    server = Server(ServerConfig(url="ws://resume.localhost", session_lifetime=10**6))
    link = Link(Client(config_with(api_url=None, gateway_url="ws://localhost")), server)
    link.dead_hosts |= {"resume.localhost", "localhost"}
    link.cut()
    link.run(3600)
    assert len(link.dials) > 50

    link.dead_hosts.clear()
    link.run(120)

    link.client.expect(Resumed)
    assert sum(isinstance(event, Identify) for event in link.server.events) == 1


def test_unanswered_resume_falls_back_to_main_url_then_identify() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"), session=SESSION)
    purposes = []
    for _ in range(7):
        dial = client.next_dial()
        assert dial is not None
        purposes.append((dial.purpose, dial.host))
        # The WebSocket opens; HELLO never comes.
        connection = client.dial_succeeded(now=dial.at, framing=False)
        at = connection.next_timer()
        assert at is not None
        connection.handle_timer(now=at)
        assert connection.state is State.CLOSED

    assert purposes == [
        *[(DialPurpose.RESUME, "resume.localhost")] * 3,
        *[(DialPurpose.RESUME, "localhost")] * 3,
        (DialPurpose.IDENTIFY, "localhost"),
    ]
    last = [event for event in client.events() if isinstance(event, DialScheduled)][-2]
    assert last.reason == "waited too long for HELLO; the session is given up"


def test_identifies_without_ready_end_the_client_with_a_reason() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost", identify_attempts=3))
    for _ in range(3):
        dial = client.next_dial()
        assert dial is not None
        connection = client.dial_succeeded(now=dial.at, framing=False)
        assert isinstance(connection, ClientConnection)
        now = max(dial.at, 0.0)
        connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=now)
        connection.receive_close(4000, "no", now=now)

    assert client.next_dial() is None
    assert client.gave_up is not None
    assert client.gave_up == (
        "3 connections in a row did not become ready, the last because: the server closed with "
        "4000 'no' (unknown error); it came in answer to Identify: is the token right?"
    )
    assert client.events()[-1] == GaveUp(client.gave_up)


def test_spent_identify_budget_delays_the_next_identify() -> None:
    """Rule 49: the gateway resets the token after too many identifies."""
    client = Client(config_with(identify_budget=3))
    link = Link(client, Server())
    while client.next_dial() is None:
        link.server.send(SessionInvalidated())
        link.run(60)

    assert sum(isinstance(event, Identify) for event in link.server.events) == 3
    dial, spent = client.next_dial(), link.client.expect(IdentifyBudgetSpent)
    assert spent.seconds is not None
    assert spent.reason.startswith("3 Identifies in 24 hours, as many as Config.identify_budget")
    assert dial is not None
    assert dial.at == 86400.0
    assert client.gave_up is None


def test_identify_budget_is_renewed_after_a_day() -> None:
    hourly = ServerConfig(
        heartbeat_interval=3_600_000
    )  # few heartbeats, so a day of virtual time runs faster
    link = Link(Client(config_with(identify_budget=2)), Server(hourly))
    for _ in range(4):
        link.server.send(SessionInvalidated())
        link.run(86400)

    assert sum(isinstance(event, Identify) for event in link.server.events) == 5


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
def test_fatal_close_ends_the_client_with_its_reason(code: int) -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0, framing=False)
    assert isinstance(connection, ClientConnection)

    connection.receive_close(code, "the reason", now=1.0)

    assert client.next_dial() is None
    meaning = close_policy(CONFIG, code).meaning
    assert client.gave_up == (
        f"the server closed with {code} 'the reason' ({meaning}), after which no reconnect helps"
    )
    assert client.last_closed is not None
    assert client.last_closed.next_action is NextAction.STOP


def _lose(client: Client, now: float, *, ready: bool) -> None:
    """Open a connection that resumes or receives no data, and drop it."""
    connection: Any = client.dial_succeeded(now=now, framing=False)
    if ready:
        connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=now)
        connection.receive_message('{"op":0,"t":"RESUMED","s":8,"d":{}}', now=now)
        assert connection.state is State.READY
    connection.receive_eof(now=now)


@pytest.mark.parametrize(
    ("losses", "lost_at"),
    [
        ([(100.0, False)], 100.0),
        ([(100.0, True), (106.0, False)], 100.0),
        ([(100.0, True), (108.0, True)], 108.0),
    ],
)
def test_session_age_counts_from_the_last_ready_state(
    losses: list[tuple[float, bool]], lost_at: float
) -> None:
    """Rule 23; the age of a stored session counts from its first connection."""
    client = Client(
        config_with(
            api_url=None, gateway_url="ws://localhost", resume_within=10.0, random=lambda: 0.0
        ),
        session=SESSION,
    )
    for now, ready in losses:
        _lose(client, now, ready=ready)

    client.dial_failed("refused", now=lost_at + 10.0)
    assert client.session is not None
    client.dial_failed("refused", now=lost_at + 10.5)

    assert client.session is None
    planned = client.events()[-1]
    assert isinstance(planned, DialScheduled)
    assert planned.purpose is DialPurpose.IDENTIFY
    assert planned.reason.endswith("; the session was lost more than 10 s ago")


def test_session_age_counts_at_the_time_of_the_next_dial() -> None:
    client = Client(
        config_with(
            api_url=None,
            gateway_url="ws://localhost",
            resume_within=10.0,
            backoff_initial=8.0,
            backoff_max=8.0,
            dial_backoff_max=8.0,
            random=lambda: 0.5,
        ),
        session=SESSION,
    )
    _lose(client, 0.0, ready=False)

    client.dial_failed("refused", now=5.0)
    assert client.session is not None
    client.dial_failed("refused", now=7.0)

    assert client.session is None


def test_resume_at_the_main_url_is_tried_as_often_as_configured() -> None:
    session = msgspec.structs.replace(SESSION, resume_url="ws://localhost")
    client = Client(
        config_with(api_url=None, gateway_url="ws://localhost", resume_attempts=2), session=session
    )
    for now in (0.0, 100.0, 200.0):
        _lose(client, now, ready=False)

    planned = [event for event in client.events() if isinstance(event, DialScheduled)]
    assert [(plan.purpose, plan.reason.endswith("given up")) for plan in planned] == [
        (DialPurpose.RESUME, False),
        (DialPurpose.RESUME, False),
        (DialPurpose.IDENTIFY, True),
        (DialPurpose.IDENTIFY, False),
    ]


def test_tries_to_resume_are_counted_from_the_last_ready_state() -> None:
    session = msgspec.structs.replace(SESSION, resume_url="ws://localhost")
    client = Client(
        config_with(api_url=None, gateway_url="ws://localhost", resume_attempts=2), session=session
    )
    _lose(client, 0.0, ready=False)

    for now, ready in ((100.0, True), (200.0, False), (300.0, False)):
        _lose(client, now, ready=ready)

    planned = [event for event in client.events() if isinstance(event, DialScheduled)]
    resume, identify = DialPurpose.RESUME, DialPurpose.IDENTIFY
    assert [plan.purpose for plan in planned] == [resume, resume, resume, resume, identify]


@pytest.mark.parametrize(
    ("opened", "purpose"), [(True, DialPurpose.IDENTIFY), (False, DialPurpose.RESUME)]
)
def test_only_opened_connections_count_as_tries_to_resume(
    opened: bool, purpose: DialPurpose
) -> None:
    """The lookup names the resume URL, which failed twice."""
    session = msgspec.structs.replace(SESSION, resume_url="ws://localhost")
    client = Client(config_with(resume_attempts=2), session=session)
    for now in (0.0, 100.0):
        if opened:
            _lose(client, now, ready=False)
        else:
            answer_dial(client, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", now)

    answer_lookup(client, "localhost")

    dial = client.next_dial()
    assert dial is not None
    assert dial.purpose is purpose


def test_rejected_upgrade_after_a_redirect_is_no_try_to_resume() -> None:
    session = msgspec.structs.replace(SESSION, version=4, resume_url=None)
    client = Client(
        config_with(api_url=None, gateway_url="ws://localhost", version=4, resume_attempts=1),
        session=session,
    )
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=0.0)
    connection.receive_message('{"op":0,"t":"RESUMED","s":8,"d":{}}', now=0.0)
    connection.receive_message('{"op":7,"d":{"url":"ws://localhost:81"}}', now=0.0)
    redirected = client.next_dial()
    assert redirected is not None
    assert redirected.port == 81

    answer_dial(client, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    dial = client.next_dial()
    assert dial is not None
    assert (dial.port, dial.purpose) == (80, DialPurpose.RESUME)


def test_permanent_failure_of_the_resume_url_is_reported() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"), session=SESSION)

    client.dial_failed("bad certificate", permanent=True, now=5.0)

    planned = client.events()[-1]
    assert isinstance(planned, DialScheduled)
    assert (planned.purpose, planned.delay) == (DialPurpose.RESUME, 0.0)
    assert planned.url.startswith("ws://localhost/")
    assert planned.reason == "could not connect to resume.localhost port 80: bad certificate"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ws://gateway.localhost", ("gateway.localhost", 80, False)),
        ("wss://localhost:444/path", ("localhost", 444, True)),
    ],
)
def test_dial_has_the_parts_of_its_url(url: str, parts: tuple[str, int, bool]) -> None:
    client = Client(config_with(api_url=None, gateway_url=url))

    dial = client.next_dial()

    assert dial is not None
    assert (dial.host, dial.port, dial.tls) == parts
    assert dial.url.startswith(url)
    assert isinstance(dial.tls, bool)


def test_lookup_cannot_be_dialled_without_framing() -> None:
    client = Client(CONFIG)

    error_text = r"^invalid framing False: a lookup is HTTP, expected True$"
    with pytest.raises(LocalProtocolError, match=error_text):
        client.dial_succeeded(now=0.0, framing=False)
    assert client.next_dial() is not None
