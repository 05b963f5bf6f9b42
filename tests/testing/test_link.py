"""The in-memory link of a client and a server in virtual time."""

from __future__ import annotations

import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Config,
    DialFailed,
    Dispatch,
    HeartbeatAcked,
    Ready,
    Resumed,
    State,
    UpdatePresence,
)
from gateway_proto.server import Server
from gateway_proto.testing import Link

CONFIG = Config(token="t", intents=0, api_url="http://localhost/api")


def test_time_advances_only_by_run() -> None:
    link = Link(Client(CONFIG), Server(), now=5.0)
    assert link.now == 5.0

    link.run(1.5)

    assert link.now == 6.5


def test_two_connections_without_client_and_server_are_linked() -> None:
    client = ClientConnection(CONFIG, "ws://localhost", now=0.0)

    link = Link(client, Server().accept(now=0.0))

    link.client.expect(Ready)
    assert link.client.connection is client


def test_client_without_a_server_to_dial_is_rejected() -> None:
    with pytest.raises(AssertionError, match="needs a Server"):
        Link(Client(CONFIG), Server().accept(now=0.0))


def test_data_may_be_split_into_any_chunks() -> None:
    sizes: list[int] = []

    def bytewise(data: bytes) -> list[bytes]:
        sizes.append(len(data))
        return [data[at : at + 1] for at in range(len(data))]

    link = Link(Client(CONFIG), Server(), chop=bytewise)

    link.client.expect(Ready)
    assert max(sizes) > 100


def test_delay_applies_in_each_direction() -> None:
    link = Link(Client(CONFIG), Server(), delay=0.25)

    link.run(60)

    acked = link.client.expect(HeartbeatAcked)
    assert acked.latency == pytest.approx(0.5)


def test_drop_is_noticed_by_both_and_loses_data_in_transit() -> None:
    server = Server()
    link = Link(Client(CONFIG), server, delay=0.1)
    link.run(2)
    link.client.expect(Ready)
    assert link.client.connection is not None
    link.client.connection.send(UpdatePresence(), now=link.now)
    link.run()

    link.cut()

    assert isinstance(link.client.events[-2], Closed)
    link.server.expect(Closed)
    with pytest.raises(AssertionError):
        link.server.expect(UpdatePresence)
    link.run(10)
    link.client.expect(Resumed)


def test_dead_host_refuses_every_dial() -> None:
    client = Client(CONFIG)
    link = Link(client, Server())
    link.dead_hosts.add("localhost")
    link.cut()

    link.run(30)

    link.client.expect(DialFailed)
    assert link.client.connection is not None
    assert link.client.connection.state is State.CLOSED


def test_run_until_stops_when_the_condition_holds() -> None:
    link = Link(Client(CONFIG), Server())

    link.run_until(lambda: any(isinstance(e, HeartbeatAcked) for e in link.client.events))

    assert link.now == 41.25 / 2


def test_run_until_an_impossible_condition_raises() -> None:
    link = Link(Client(CONFIG), Server())

    with pytest.raises(AssertionError, match="within 100 s"):
        link.run_until(lambda: False, within=100)


def test_expect_skips_earlier_events_and_take_returns_the_rest() -> None:
    server = Server()
    link = Link(Client(CONFIG), server)
    for number in range(3):
        server.dispatch("N", number, now=link.now)
    link.run()
    link.client.expect(Ready)

    assert link.client.expect(Dispatch.of("N", 1, 3)).data == 1
    assert [event.data for event in link.client.take()] == [2]
    assert link.client.take() == []


def test_expect_of_a_missing_event_raises_with_received_events() -> None:
    link = Link(Client(CONFIG), Server())

    with pytest.raises(AssertionError, match="the client did not receive"):
        link.client.expect(Resumed)
    link.client.take()
    with pytest.raises(AssertionError, match="nothing"):
        link.client.expect(Resumed)
