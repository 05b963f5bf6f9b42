"""Stop of a client in every state, and data kept between connections."""

from __future__ import annotations

import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    DialScheduled,
    Identify,
    Initiator,
    NextAction,
    RequestFailed,
    RequestGuildMembers,
    SessionInvalidated,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server
from gateway_proto.testing import Link
from tests.client.support import CONFIG, SESSION, config_with


@pytest.mark.parametrize(("keep_session", "code"), [(True, 4000), (False, 1000)])
def test_stop_keeps_or_ends_the_session_by_its_close_code(keep_session: bool, code: int) -> None:
    server = Server()
    client = Client(CONFIG)
    link = Link(client, server)

    client.stop(keep_session=keep_session, now=link.now)
    link.run()

    closed = link.server.events[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.initiator) == (code, Initiator.PEER)
    assert client.next_dial() is None
    assert client.gave_up is None
    assert (client.session is not None) == keep_session
    assert bool(server.sessions) == keep_session


@pytest.mark.parametrize("keep_session", [True, False])
def test_stop_between_connections_plans_no_further_dial(keep_session: bool) -> None:
    client = Client(CONFIG, session=SESSION)

    client.stop(keep_session=keep_session, now=0.0)

    assert client.next_dial() is None
    assert (client.session is not None) == keep_session
    assert [type(event) for event in client.events()] == [DialScheduled], "reported events are kept"


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("stopped", "the client was stopped"),
        ("gave up", "could not connect to localhost port 80: refused"),
    ],
)
def test_pending_request_between_connections_fails_with_client(end: str, why: str) -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost", dial_attempts=1))
    link = Link(client, Server())
    connection = link.client.connection
    assert isinstance(connection, ClientConnection)
    number = connection.request(RequestGuildMembers("1", "a", 5), now=link.now)
    connection.receive_eof(now=link.now)

    if end == "stopped":
        client.stop(keep_session=True, now=link.now)
    else:
        client.dial_failed("refused", now=link.now)

    (failed,) = [event for event in client.events() if isinstance(event, RequestFailed)]
    assert (failed.number, failed.reason) == (number, why)


def test_stop_during_a_lookup_ends_the_lookup() -> None:
    client = Client(CONFIG)
    connection = client.dial_succeeded(now=0.0)

    client.stop(keep_session=True, now=0.0)

    assert connection.state is State.CLOSED
    assert client.next_dial() is None


def test_close_of_the_lookup_ends_the_client() -> None:
    client = Client(CONFIG)

    client.dial_succeeded(now=0.0).close(now=0.0)

    assert client.next_dial() is None
    assert client.gave_up is None


def test_stop_during_the_upgrade_sends_no_close_frame() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0)
    connection.data_to_send()

    client.stop(keep_session=True, now=0.0)

    assert connection.state is State.CLOSED
    assert connection.data_to_send() == b""


def test_unanswered_close_ends_by_timeout() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0, framing=False)
    assert isinstance(connection, ClientConnection)
    client.stop(keep_session=True, now=1.0)
    assert connection.state is State.CLOSING

    connection.handle_timer(now=6.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.initiator, closed.next_action) == (
        4000,
        Initiator.SELF,
        NextAction.STOP,
    )


def test_close_of_the_connection_ends_the_client() -> None:
    client = Client(CONFIG)
    link = Link(client, Server())
    assert link.client.connection is not None

    link.client.connection.close(1000, "bye", now=link.now)
    link.run()

    assert link.server.events[-1].reason == "bye"
    assert client.next_dial() is None
    assert client.gave_up is None
    assert client.session is None


def test_configured_presence_is_sent_with_identify() -> None:
    link = Link(Client(config_with(presence=UpdatePresence(since=1))), Server())

    assert link.server.expect(Identify).presence == UpdatePresence(since=1)


def test_presence_is_sent_again_with_the_next_identify() -> None:
    link = Link(Client(CONFIG), Server())
    link.client.send(UpdatePresence(since=1))
    link.server.send(SessionInvalidated())
    link.run(10)

    identify = [event for event in link.server.events if isinstance(event, Identify)][-1]

    assert identify.presence == UpdatePresence(since=1)


def test_latency_is_that_of_the_current_connection() -> None:
    client = Client(CONFIG)
    assert client.latency is None
    link = Link(client, Server(), delay=0.05)
    link.run(60)

    assert client.latency == pytest.approx(0.1)
    link.cut()
    assert client.latency is None
