"""Builders of client configs and sessions, and HTTP responses for clients under test."""

from __future__ import annotations

from typing import Any

import attrs

from gateway_proto import Client, Config, DialPurpose, DialScheduled, Session, State
from gateway_proto.session import token_fingerprint
from gateway_proto.testing import Link

CONFIG = Config(token="t0ken", intents=0, api_url="http://localhost/api/v10")
SESSION = Session(
    id="s1",
    sequence=7,
    resume_url="ws://resume.localhost",
    version=10,
    token_fingerprint=token_fingerprint("t0ken"),
)
HELLO = '{"op":10,"d":{"heartbeat_interval":41250}}'


def config_with(**changes: object) -> Config:
    return attrs.evolve(CONFIG, **changes)


def make_client(**changes: Any) -> Client:
    """Return a client without a lookup: `session`, and fields of its config."""
    session = changes.pop("session", None)
    config = config_with(api_url=None, gateway_url="ws://localhost", **changes)
    return Client(config, session=session)


def due_at(client: Client) -> float:
    dial = client.next_dial()
    assert dial is not None
    return max(dial.at, 0.0)


def open_dial(client: Client, *messages: str) -> tuple[Any, float]:
    """Open the WebSocket of the next dial when due, receive messages; return it with its time."""
    now = due_at(client)
    connection: Any = client.dial_succeeded(now=now, framing=False)
    for message in messages:
        connection.receive_message(message, now=now)
    return connection, now


def lose(client: Client, *messages: str) -> float:
    """Open the WebSocket of the next dial, receive messages, lose it; return the time."""
    connection, now = open_dial(client, *messages)
    connection.receive_eof(now=now)
    return now


def scheduled(client: Client) -> list[DialScheduled]:
    return [event for event in client.events() if isinstance(event, DialScheduled)]


def dial_purposes(link: Link) -> list[tuple[DialPurpose, str]]:
    return [(dial.purpose, dial.host) for dial in link.dials]


def answer_dial(client: Client, response: bytes, now: float = 0.0) -> None:
    connection = client.dial_succeeded(now=now)
    connection.data_to_send()
    connection.receive_data(response, now=now)
    connection.receive_eof(now=now)
    assert connection.state is State.CLOSED


def answer_lookup(client: Client, host: str) -> None:
    body = b'{"url":"ws://%s"}' % host.encode()
    answer_dial(client, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def hosts_dialled(client: Client, times: int) -> list[str]:
    hosts = []
    for _ in range(times):
        dial = client.next_dial()
        assert dial is not None
        hosts.append(dial.host)
        client.dial_failed("no such host", now=max(dial.at, 0.0))
    return hosts
