"""Presence of a client as the server shows it."""

from __future__ import annotations

from gateway_proto import State
from gateway_proto.server import ServerConnection
from tests.server.support import accept_connection, identify_on, ready_connection, send_payload


def _shows(connection: ServerConnection) -> str | None:
    assert connection.session is not None
    presence = connection.session.presence
    return None if presence is None else presence.activities[0].name


def _play(connection: ServerConnection, name: str, *, now: float) -> None:
    activities = [{"name": name, "type": 0}]
    d = {"since": None, "activities": activities, "status": "online", "afk": False}
    send_payload(connection, 3, d, now=now)


def test_presence_of_identify_is_shown_until_the_next() -> None:
    connection = accept_connection()
    activities = [{"name": "first", "type": 0}]
    presence = {"since": None, "activities": activities, "status": "online", "afk": False}
    identify_on(connection, presence=presence)

    assert _shows(connection) == "first"
    _play(connection, "second", now=1.0)
    assert _shows(connection) == "second"


def test_presences_over_the_rate_limit_are_dropped() -> None:
    """At most 5 in any 20 seconds; the connection stays open."""
    connection = ready_connection()
    assert _shows(connection) is None

    for number in range(7):
        _play(connection, str(number), now=float(number))

    assert _shows(connection) == "4"
    _play(connection, "too soon", now=19.9)
    assert _shows(connection) == "4"
    _play(connection, "in time", now=20.0)
    assert _shows(connection) == "in time"
    assert connection.state is State.READY
