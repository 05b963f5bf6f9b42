"""Many shards in one process: one lookup, turns to identify, and each life its own."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gateway_proto import (
    Client,
    Config,
    Fleet,
    GaveUp,
    Identify,
    IdentifySlotNeeded,
    LocalProtocolError,
    Ready,
    Resume,
    Resumed,
    Server,
    ServerConfig,
    Session,
    State,
    fingerprint,
)
from gateway_proto.testing import Link

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost", random=lambda: 0.5)


class Running:
    """A fleet, a server, and a link for each shard; one clock."""

    def __init__(self, config: Config = CONFIG, **options: Any) -> None:
        self.server = Server(ServerConfig(heartbeat_interval=10_000))
        self.fleet = Fleet(config, **options)
        if self.fleet.lookup is not None:
            Link(self.fleet.lookup, self.server)
        self.fleet.begin(now=0.0)
        self.woken = 0
        self.fleet.on_wake = self._wake
        self.links = {n: Link(client, self.server) for n, client in self.fleet.clients.items()}

    def _wake(self) -> None:
        self.woken += 1

    def run(self, seconds: float) -> None:
        end = min(link.now for link in self.links.values()) + seconds
        while True:
            now = min(link.now for link in self.links.values())
            at = self.fleet.next_timer()
            step = min(end, now + 1.0 if at is None else max(at, now))
            for link in self.links.values():
                link.run(max(0.0, step - link.now))
            self.fleet.handle_timer(now=step)
            for link in self.links.values():
                link.run()
            if step >= end:
                return

    def identified(self) -> list[int]:
        return [n for n, link in self.links.items() if any(_is(link, Identify))]


def _is(link: Link, type_: type[Any]) -> list[Any]:
    return [event for event in link.server.events if isinstance(event, type_)]


def test_the_lookup_says_how_many_and_each_identifies_in_its_turn() -> None:
    """Rules 52 and 55: after HELLO, one every five seconds, and beating meanwhile."""
    config = attrs.evolve(CONFIG, gateway_url=None, api_url="http://localhost/api/v10")
    running = Running(config, count=4)

    assert running.fleet.lookup is not None
    assert running.fleet.lookup.next_dial() is None
    assert running.identified() == [0]
    assert running.woken >= 3
    assert running.fleet.queue.waiting == (1, 2, 3)
    assert all(running.links[n].client.expect(IdentifySlotNeeded) for n in range(4))
    running.run(5.25)
    assert running.identified() == [0, 1]
    running.run(10.5)
    assert running.identified() == [0, 1, 2, 3]
    for n, link in running.links.items():
        assert link.client.expect(Ready).shard == (n, 4)


def test_who_waits_for_its_turn_beats_meanwhile() -> None:
    """Rule 10."""
    running = Running(count=8)
    running.run(34.0)

    beats = [e for e in running.links[7].server.events if type(e).__name__ == "Heartbeat"]

    assert running.identified() == list(range(7))
    assert len(beats) == 3
    assert running.links[7].client.connection is not None
    assert running.links[7].client.connection.state is State.GREETING


def test_a_stored_session_takes_no_turn() -> None:
    """Rule 52: Resume takes no slot."""
    first = Running(count=2)
    first.run(6.0)
    sessions = {n: client.session for n, client in first.fleet.clients.items()}
    for link in first.links.values():
        link.cut()

    fleet = Fleet(CONFIG, count=2, sessions=sessions)  # type: ignore[arg-type]
    fleet.begin(now=0.0)
    links = [Link(client, first.server) for client in fleet.clients.values()]

    assert all(link.client.expect(Resumed) for link in links)
    assert not any(_is(link, Identify) for link in links)
    assert all(_is(link, Resume) for link in links)


def test_one_that_lost_its_connection_while_it_waited_gives_up_its_place_and_comes_back_first() -> (
    None
):
    """Rule 54."""
    running = Running(count=4)
    running.links[3].cut()
    running.fleet.handle_timer(now=0.0)
    assert running.fleet.queue.waiting == (1, 2)

    running.links[3].run(2.0)

    assert running.fleet.queue.waiting == (3, 1, 2)


def test_a_connection_that_is_replaced_before_anybody_looked_keeps_its_place_at_the_front() -> None:
    running = Running(count=3)

    running.links[2].cut()
    running.links[2].run(2.0)

    assert running.fleet.queue.waiting == (2, 1)


def test_one_shards_end_is_not_anothers() -> None:
    running = Running(count=2)
    running.run(6.0)
    connection: Any = running.links[0].server.connection

    connection.close(4014, now=running.links[0].now)
    running.run(1.0)

    assert running.links[0].client.expect(GaveUp)
    assert "portal" in (running.fleet.clients[0].gave_up or "")
    assert running.fleet.clients[1].connection is not None
    assert running.fleet.clients[1].connection.state is State.READY


def test_a_gateway_url_needs_no_lookup_and_a_range_is_a_process_of_several() -> None:
    fleet = Fleet(CONFIG, count=16, ids=range(4, 8))

    plan = fleet.begin(now=0.0)

    assert fleet.lookup is None
    assert (plan.count, plan.ids) == (16, (4, 5, 6, 7))
    assert list(fleet.clients) == [4, 5, 6, 7]


def test_what_is_no_fleet_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match=r"Config\.shard is for one shard"):
        Fleet(attrs.evolve(CONFIG, shard=(0, 1)))
    with pytest.raises(LocalProtocolError, match="version 3 has no shards that could take turns"):
        Fleet(attrs.evolve(CONFIG, dialect=3, intents=None))
    stored = Session(id="s", sequence=1, shard=(0, 9), dialect=10, fingerprint=fingerprint("t"))
    with pytest.raises(LocalProtocolError, match="another shard"):
        Fleet(CONFIG, count=2, sessions={0: stored}).begin(now=0.0)


def test_a_lookup_that_failed_or_was_not_made_is_said() -> None:
    config = attrs.evolve(CONFIG, gateway_url=None, api_url="http://localhost/api/v10")
    fleet = Fleet(config)
    with pytest.raises(LocalProtocolError, match="there is no lookup: drive it"):
        fleet.begin(now=0.0)

    assert fleet.lookup is not None
    Link(fleet.lookup, Server(ServerConfig(tokens=frozenset({"other"}))))

    with pytest.raises(LocalProtocolError, match="is the token right"):
        fleet.begin(now=0.0)


def test_the_lookups_budget_is_the_queues() -> None:
    """Rule 49; what the reserve forbids today is allowed tomorrow."""
    config = attrs.evolve(
        CONFIG, gateway_url=None, api_url="http://localhost/api/v10", identify_reserve=999
    )
    running = Running(config, count=2)
    running.run(60.0)

    assert running.identified() == [0]
    assert running.fleet.next_timer() == 86400.0


def test_a_client_that_only_looks_up_ends_with_the_answer() -> None:
    config = attrs.evolve(CONFIG, gateway_url=None, api_url="http://localhost/api/v10")
    client = Client(config, only_look_up=True)
    Link(client, Server(ServerConfig(url="ws://localhost:99")))

    assert client.next_dial() is None
    assert client.gave_up is None
    assert client.found is not None
    assert client.found.url == "ws://localhost:99"


def test_without_anybody_to_wake_a_turn_is_given_at_the_next_look() -> None:
    fleet = Fleet(CONFIG, count=2)
    fleet.begin(now=0.0)
    links = [Link(client, Server()) for client in fleet.clients.values()]

    fleet.handle_timer(now=5.25)
    links[1].run()

    links[1].client.expect(Ready)
