"""Builders of client configs and sessions, and HTTP responses for clients under test."""

from __future__ import annotations

import attrs

from gateway_proto import Client, Config, DialPurpose, Session, State
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


def config_with(**changes: object) -> Config:
    return attrs.evolve(CONFIG, **changes)


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
