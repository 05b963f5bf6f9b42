"""What ends a client, and what does not; hints at a wrong token."""

from __future__ import annotations

import random

import pytest

from gateway_proto import Client, Closed, DialScheduled, GaveUp, Ready, SessionInvalidated, State
from gateway_proto.server import Fault, Scenario, Server
from gateway_proto.testing import Link
from tests.client.support import (
    CONFIG,
    HELLO,
    SESSION,
    config_with,
    lose,
    make_client,
    open_dial,
    scheduled,
)

# ----- giving up -----

_SHAPES = [
    [Fault("close", on="open", connection=None, code=1001)],
    [Fault("drop", on="identify", connection=None), Fault("drop", on="resume", connection=None)],
    [Fault("close", on=on, connection=None, code=4002) for on in ("identify", "resume")],
    [Fault("invalidate", on=on, connection=None) for on in ("identify", "resume")],
    [Fault("silence", on="open", connection=None)],
    [Fault("refuse", on="upgrade", connection=None, status=404)],
    [Fault("refuse", on="upgrade", connection=None, status=401)],
    [Fault("garbage", on="identify", connection=None)],
    [Fault("reconnect", on="open", connection=None)],
]


@pytest.mark.parametrize("faults", _SHAPES, ids=lambda faults: f"{faults[0].what} {faults[0].on}")
def test_outages_never_end_the_client(faults: list[Fault]) -> None:
    server = Server()
    link = Link(Client(config_with(random=random.Random(1).random)), server)
    link.client.expect(Ready)
    server.set_scenario(Scenario(faults))
    link.cut()
    link.run(7200)
    assert not [event for event in link.client.events if isinstance(event, GaveUp)]

    server.set_scenario(Scenario([]))
    link.run(200)

    assert link.client.connection is not None
    assert link.client.connection.state is State.READY


def test_only_connections_with_identify_count_as_failed_ones() -> None:
    client = make_client(identify_attempts=2)
    for _ in range(20):
        lose(client)
    assert client.gave_up is None

    for _ in range(2):
        lose(client, HELLO)

    assert client.gave_up is not None
    assert client.gave_up.startswith("2 connections in a row did not become ready")


def test_identify_on_the_connection_of_a_resume_counts() -> None:
    client = make_client(session=SESSION, identify_on_same_connection=True, identify_attempts=2)
    connection, _ = open_dial(client, HELLO, '{"op":9,"d":false}')
    connection.handle_timer(now=5.0)
    assert len(connection._outcome.identified_at) == 1
    connection.receive_eof(now=6.0)
    lose(client, HELLO)

    assert client.gave_up is not None


# ----- hints about the token -----


@pytest.mark.parametrize("code", [None, 1000, 1008, 4000, 4003, 4999])
def test_close_right_after_identify_suggests_a_wrong_token(code: int | None) -> None:
    client = make_client()

    connection, now = open_dial(client, HELLO)
    connection.receive_close(code, now=now)

    assert scheduled(client)[-1].reason.endswith(
        "it came in answer to Identify: is the token right?"
    )


def test_eof_right_after_identify_suggests_a_wrong_token() -> None:
    client = make_client()

    lose(client, HELLO)

    assert "is the token right?" in scheduled(client)[-1].reason


@pytest.mark.parametrize(("version", "code"), [(10, 4006), (10, 4015), (3, 4012), (5, 4014)])
def test_undocumented_code_suggests_a_wrong_token(version: int, code: int) -> None:
    intents = 0 if version >= 8 else None
    client = make_client(version=version, intents=intents, unix_offset=0.0)

    connection, now = open_dial(client, HELLO)
    connection.receive_close(code, now=now)

    assert "is the token right?" in scheduled(client)[-1].reason


@pytest.mark.parametrize("code", [4001, 4002, 4008, 4009])
def test_close_code_with_its_own_cause_suggests_no_wrong_token(code: int) -> None:
    client = make_client()

    connection, now = open_dial(client, HELLO)
    connection.receive_close(code, now=now)

    assert "is the token right?" not in scheduled(client)[-1].reason


def test_accepted_token_is_never_suggested_as_wrong() -> None:
    link = Link(Client(CONFIG), Server())
    link.client.expect(Ready)
    link.server.send(SessionInvalidated())
    server = link._server
    assert isinstance(server, Server)
    server.set_scenario(Scenario([Fault("close", on="identify", connection=None)]))
    link.run(60)

    closed = [event for event in link.client.events if isinstance(event, Closed)]
    assert closed[-1].code == 4000
    plans = [event for event in link.client.events if isinstance(event, DialScheduled)]
    assert "is the token right?" not in plans[-1].reason
