"""Shards of one process share one identify budget for their token."""

from __future__ import annotations

import math

import attrs

from gateway_proto import (
    DialPurpose,
    Identify,
    IdentifyBudgetSpent,
    SessionInvalidated,
    State,
)
from gateway_proto.server import Server
from gateway_proto.shards import IdentifyQueue, ShardManager
from gateway_proto.testing import Link
from tests.shards.running import CONFIG, Running, received


def test_configured_max_concurrency_is_used_without_a_lookup() -> None:
    manager = ShardManager(attrs.evolve(CONFIG, max_concurrency=2), count=3)
    assert manager.start(now=0.0).max_concurrency == 2
    links = [Link(client, Server()) for client in manager.clients.values()]

    assert [len(received(link, Identify)) for link in links] == [1, 1, 0]


def test_shards_without_a_lookup_share_the_identify_budget() -> None:
    """Rule 49: for any number of shards."""
    running = Running(attrs.evolve(CONFIG, identify_budget=4), count=3)
    running.run(11.0)
    for _ in range(3):
        for link in running.links.values():
            if link.client.connection is not None and link.client.connection.state is State.READY:
                link.server.send(SessionInvalidated())
        running.run(30.0)

    identifies = sum(len(received(link, Identify)) for link in running.links.values())
    assert identifies == 4
    events = running.manager.events()
    assert events
    assert all(isinstance(event, IdentifyBudgetSpent) for _, event in events)


def test_shard_that_waits_for_a_spent_budget_is_reported() -> None:
    manager = ShardManager(attrs.evolve(CONFIG, identify_budget=1), count=2)
    manager.start(now=0.0)
    links = [Link(client, Server()) for client in manager.clients.values()]
    assert [n for n, _ in manager.events()] == [1]

    links[1].cut()
    links[1].run(3.0)

    assert [n for n, _ in manager.events()] == [1]
    assert manager.queue.waiting_shards == (1,)


def test_lost_connection_with_a_spent_budget_is_not_reported() -> None:
    manager = ShardManager(attrs.evolve(CONFIG, identify_budget=2), count=3)
    manager.start(now=0.0)
    links = [Link(client, Server()) for client in manager.clients.values()]
    links[2].cut()

    manager.budget.record(1.0)
    manager.handle_timer(now=6.0)

    assert [n for n, _ in manager.events()] == [1]


def test_removed_shard_with_a_spent_budget_is_not_reported() -> None:
    manager = ShardManager(attrs.evolve(CONFIG, identify_budget=2), count=3)
    manager.start(now=0.0)
    for client in manager.clients.values():
        Link(client, Server())
    manager.budget.record(1.0)

    manager.remove(2)
    manager.handle_timer(now=6.0)

    assert [n for n, _ in manager.events()] == [1]


def test_identify_budget_of_zero_ends_every_shard() -> None:
    manager = ShardManager(attrs.evolve(CONFIG, identify_budget=0), count=2)

    manager.start(now=0.0)

    for client in manager.clients.values():
        assert client.gave_up == "invalid Config.identify_budget 0: it allows no Identify"


def test_new_lookup_of_one_shard_updates_the_shared_budget() -> None:
    config = attrs.evolve(
        CONFIG, gateway_url=None, api_url="http://localhost/api/v10", gateway_attempts=1
    )
    running = Running(config, count=2)
    client = running.manager.clients[1]
    running.links[1].cut()
    client.dial_failed("no route", now=1.0)
    dial = client.next_dial()
    assert dial is not None
    assert dial.purpose is DialPurpose.LOOKUP
    lookup = client.dial_succeeded(now=2.0)
    body = b'{"url":"ws://localhost","session_start_limit":{"total":1000,"remaining":50,"reset_after":9}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)

    lookup.receive_data(head + body, now=3.0)

    assert running.manager.budget.remaining(3.0) == 50


class _UsedUp(IdentifyQueue):
    """Queue of several processes, whose Identifies others use up."""

    is_spent = False

    def spent(self, now: float) -> tuple[float, str] | None:
        return (100.0 - now, "used up") if self.is_spent else None


def test_shard_is_reported_if_others_use_up_the_identifies() -> None:
    queue = _UsedUp()
    manager = ShardManager(CONFIG, count=3, ids=(), identify_queue=queue)
    manager.start(now=0.0)
    links = [Link(manager.add(shard_id), Server()) for shard_id in range(3)]
    assert len(received(links[0], Identify)) == 1
    assert (manager.events(), manager.next_timer()) == ([], 5.0)

    queue.is_spent = True
    links[1].cut()
    manager.handle_timer(now=5.0)

    assert manager.events() == [(2, IdentifyBudgetSpent(95.0, "used up"))]
    assert manager.next_timer() == 5.25


def test_lost_shards_cause_no_more_checks_of_a_shared_queue() -> None:
    manager = ShardManager(CONFIG, count=2, ids=(), identify_queue=_UsedUp())
    manager.start(now=0.0)
    links = [Link(manager.add(shard_id), Server()) for shard_id in range(2)]
    links[1].dead_hosts.add("localhost")
    links[1].cut()
    assert manager.next_timer() == 5.0

    manager.handle_timer(now=5.0)

    assert (manager.next_timer(), manager.events()) == (5.25, [])


def test_infinite_time_leaves_no_infinite_timer() -> None:
    manager = ShardManager(CONFIG, count=3, ids=(), identify_queue=_UsedUp())
    manager.start(now=0.0)
    for shard_id in range(3):
        Link(manager.add(shard_id), Server())
    assert manager.next_timer() == 5.0

    manager.handle_timer(now=math.inf)

    assert manager.next_timer() == 2.0**40 + 5.0
