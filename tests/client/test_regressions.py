"""Regressions of other client libraries: late messages, flapping networks, shared shards."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import Client, Closed, DialScheduled, Ready, Resumed, State
from gateway_proto.server import Server
from gateway_proto.testing import Link
from tests.client.support import CONFIG, config_with


def test_one_zombie_causes_exactly_one_new_connection() -> None:
    """Rule 8."""
    client = Client(config_with(gateway_url="ws://localhost", api_url=None, random=lambda: 0.5))
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":1000}}', now=0.0)
    client.events()

    for now in (0.5, 1.5, 1.5, 2.5, 9.0):
        connection.handle_timer(now=now)
        connection.receive_eof(now=now) if connection.state is State.CLOSED else None

    plans = [event for event in client.events() if isinstance(event, DialScheduled)]
    assert len(plans) == 1
    assert [event for event in connection.events() if isinstance(event, Closed)][1:] == []


def test_late_input_of_old_connection_has_no_effect_on_the_new() -> None:
    """Rule 46."""
    server = Server()
    link = Link(Client(CONFIG), server)
    old: Any = link.client.connection
    link.cut()
    link.run(5)
    link.client.expect(Resumed)
    new: Any = link.client.connection
    assert old is not new
    before = (new.state, new.session, new.next_timer())

    old.receive_data(b"\x81\x0a" + b'{"op":9   ', now=link.now)
    old.receive_eof(now=link.now)
    old.handle_timer(now=link.now + 1000)

    assert (new.state, new.session, new.next_timer()) == before
    assert old.events() == []
    assert link._client is not None
    assert link._client.connection is new


def test_fatal_close_ends_the_session_and_others_keep_it() -> None:
    """Rule 22."""
    for code, kept in ((4004, False), (4014, False), (4000, True), (4009, True)):
        link = Link(Client(CONFIG), Server())
        connection: Any = link.server.connection
        connection.close(code, now=link.now)
        link.run()
        assert link._client is not None
        assert (link._client.session is not None) is kept, code


def test_state_follows_the_current_connection_after_ready() -> None:
    """Rules 47 and 48."""
    client = Client(CONFIG)
    link = Link(client, Server())
    assert client.connection is not None
    assert client.connection.state is State.READY

    link.dead_hosts.add("localhost")
    link.cut()

    assert client.connection is None
    assert client.gave_up is None
    assert client.next_dial() is not None
    client.stop(keep_session=True, now=link.now)
    assert client.next_dial() is None


def test_failed_dials_back_off_and_keep_the_session() -> None:
    """Rule 57."""
    link = Link(Client(config_with(random=lambda: 0.5)), Server())
    link.client.expect(Ready)
    link.dead_hosts.add("localhost")
    link.cut()
    link.run(240)
    dials = len(link.dials)
    link.dead_hosts.clear()
    link.run(59)

    assert link.client.expect(Resumed)
    assert 8 < dials < 45, "7.5 seconds between dials, after a few shorter waits"


def test_two_clients_may_have_the_same_shard_at_once() -> None:
    """Rule 82: during a hand-over two processes use one shard."""
    server = Server()
    links = [Link(Client(config_with(shard=(0, 1))), server) for _ in range(2)]

    server.dispatch("X", {}, now=0.0)
    for link in links:
        link.run()

    assert all(link.client.expect(Ready).shard == (0, 1) for link in links)
    assert all(any(getattr(e, "name", "") == "X" for e in link.client.events) for link in links)


@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream"])
def test_each_connection_has_its_own_compression_context(compression: str) -> None:
    """Rule 68."""
    server = Server()
    link = Link(Client(config_with(compression=compression)), server)
    for number in range(5):
        link.cut()
        server.dispatch("N", number, now=link.now)
        link.run(10)

    numbers = [e.data for e in link.client.events if getattr(e, "name", "") == "N"]
    assert numbers == list(range(5))
