"""The session of a client: in which process it goes on, and of whom it is."""

from __future__ import annotations

import msgspec
import pytest

from gateway_proto import (
    Client,
    Dispatch,
    LocalProtocolError,
    Resumed,
    Server,
    Session,
    UrlRefused,
    session_after,
)
from gateway_proto.testing import Link
from tests.client.lives import CONFIG, SESSION, config_with, hosts_dialled


def test_a_new_process_resumes_where_the_last_one_had_handled_events() -> None:
    server = Server()
    link = Link(Client(CONFIG), server)
    for number in range(5):
        server.dispatch("N", number, now=link.now)
    link.run()
    handled: list[int] = []
    session: Session | None = None
    for event in link.client.events:
        session = session_after(session, event)
        if isinstance(event, Dispatch) and event.name == "N":
            handled.append(event.data)
            if len(handled) == 3:
                break
    assert session is not None
    link.cut()

    stored = session.to_json()
    again = Link(Client(CONFIG, session=Session.from_json(stored)), server)

    again.client.expect(Resumed)
    replayed = [e.data for e in again.client.events if isinstance(e, Dispatch) and e.name == "N"]
    assert handled + replayed == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"token": "other"}, "another token"),
        ({"shard": (0, 2)}, r"another shard \(None, not \(0, 2\)\)"),
        ({"dialect": 3, "unix_offset": 0.0, "api_url": None}, r"another version \(10, not 3\)"),
    ],
)
def test_a_session_of_another_token_shard_or_version_is_refused(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        Client(config_with(**changes), session=SESSION)


def test_the_clients_session_is_that_of_the_last_event_received() -> None:
    server = Server()
    client = Client(CONFIG)
    link = Link(client, server)
    server.dispatch("N", 1, now=0.0)
    link.run()

    assert client.session is not None
    assert client.session.sequence == 2
    link.cut()
    assert client.session.sequence == 2


def test_a_resume_url_that_is_refused_is_refused_once() -> None:
    client = Client(
        config_with(api_url=None, gateway_url="ws://localhost"),
        session=msgspec.structs.replace(SESSION, resume_url="ws://evil.example"),
    )

    assert hosts_dialled(client, 2) == ["localhost"] * 2

    assert client.session == msgspec.structs.replace(SESSION, resume_url=None)
    assert sum(isinstance(event, UrlRefused) for event in client.events()) == 1
