"""Shards of one process: one lookup, identify slots, and independent clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from gateway_proto import (
    Activity,
    Client,
    ClientConnection,
    GatewayFound,
    GaveUp,
    Identify,
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    LocalProtocolError,
    Ready,
    Resume,
    Resumed,
    Session,
    SessionIgnored,
    State,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import token_fingerprint
from gateway_proto.shards import IdentifyQueue, ShardManager
from gateway_proto.testing import Link
from tests.shards.running import CONFIG, Running, received


def test_shards_of_the_lookup_identify_one_after_another() -> None:
    """Rules 52 and 55: after HELLO, one every five seconds, with heartbeats meanwhile."""
    config = attrs.evolve(CONFIG, gateway_url=None, api_url="http://localhost/api/v10")
    running = Running(config, count=4)

    assert running.manager.lookup is not None
    assert running.manager.lookup.next_dial() is None
    assert running.identified() == [0]
    assert running.woken >= 3
    assert running.manager.queue.waiting_shards == (1, 2, 3)
    assert all(running.links[n].client.expect(IdentifySlotNeeded) for n in range(4))
    running.run(5.25)
    assert running.identified() == [0, 1]
    running.run(10.5)
    assert running.identified() == [0, 1, 2, 3]
    for n, link in running.links.items():
        assert link.client.expect(Ready).shard == (n, 4)


def test_heartbeats_continue_while_waiting_for_identify_slot() -> None:
    """Rule 10."""
    running = Running(count=8)
    running.run(34.0)

    heartbeats = [e for e in running.links[7].server.events if type(e).__name__ == "Heartbeat"]

    assert running.identified() == list(range(7))
    assert len(heartbeats) == 3
    assert running.links[7].client.connection is not None
    assert running.links[7].client.connection.state is State.AWAITING_HELLO


def test_resume_of_a_stored_session_needs_no_identify_slot() -> None:
    """Rule 52: Resume needs no slot."""
    first = Running(count=2)
    first.run(6.0)
    sessions = {n: client.session for n, client in first.manager.clients.items()}
    for link in first.links.values():
        link.cut()

    manager = ShardManager(CONFIG, count=2, sessions=sessions)  # type: ignore[arg-type]
    manager.start(now=0.0)
    links = [Link(client, first.server) for client in manager.clients.values()]

    assert all(link.client.expect(Resumed) for link in links)
    assert not any(received(link, Identify) for link in links)
    assert all(received(link, Resume) for link in links)


def test_shard_that_disconnects_while_queued_rejoins_in_front() -> None:
    """Rule 54."""
    running = Running(count=4)
    running.links[3].cut()
    running.links[2].cut()

    running.links[3].run(2.0)

    assert running.manager.queue.waiting_shards == (3, 1, 2)
    running.run(5.25)
    running.links[2].run(2.0)
    running.run(6.0)
    assert running.identified() == [0, 2, 3]


def test_identify_slot_of_a_lost_connection_goes_to_the_next() -> None:
    running = Running(count=3)
    running.links[1].cut()

    running.manager.handle_timer(now=5.25)
    running.links[2].run()

    assert running.identified() == [0, 2]


def test_closing_connection_gets_no_identify_slot() -> None:
    running = Running(count=2)
    connection: Any = running.manager.clients[1].connection
    connection.close(4000, now=1.0)
    connection.data_to_send()

    running.manager.handle_timer(now=5.25)

    assert connection.state is State.CLOSING
    assert connection.data_to_send() == b""
    assert running.manager.queue.waiting_shards == ()


def test_quickly_replaced_connection_stays_in_front() -> None:
    running = Running(count=3)

    running.links[2].cut()
    running.links[2].run(2.0)

    assert running.manager.queue.waiting_shards == (2, 1)


def test_other_shards_continue_after_one_gives_up() -> None:
    running = Running(count=2)
    running.run(6.0)
    connection: Any = running.links[0].server.connection

    connection.close(4014, now=running.links[0].now)
    running.run(1.0)

    assert running.links[0].client.expect(GaveUp)
    assert "portal" in (running.manager.clients[0].gave_up or "")
    assert running.manager.clients[1].connection is not None
    assert running.manager.clients[1].connection.state is State.READY


def test_gateway_url_with_count_and_ids_needs_no_lookup() -> None:
    manager = ShardManager(CONFIG, count=16, ids=range(4, 8))

    plan = manager.start(now=0.0)

    assert manager.lookup is None
    assert (plan.count, plan.ids) == (16, (4, 5, 6, 7))
    assert list(manager.clients) == [4, 5, 6, 7]


def test_invalid_shard_manager_config_is_rejected() -> None:
    with pytest.raises(LocalProtocolError, match=r"invalid Config\.shard \(0, 1\)"):
        ShardManager(attrs.evolve(CONFIG, shard=(0, 1)))
    with pytest.raises(LocalProtocolError, match="version 3 has no shards that could wait"):
        ShardManager(attrs.evolve(CONFIG, version=3, intents=None))


def test_stored_session_of_another_shard_count_is_ignored() -> None:
    stored = Session(
        id="s", sequence=1, shard=(0, 9), version=10, token_fingerprint=token_fingerprint("t")
    )
    manager = ShardManager(CONFIG, count=2, sessions={0: stored, 7: stored})

    manager.start(now=0.0)

    reason = "session has another shard (0, 9): expected (0, 2)"
    assert manager.clients[0].events()[0] == SessionIgnored(reason)
    assert manager.clients[0].session is None


def test_begin_without_a_lookup_result_raises() -> None:
    config = attrs.evolve(CONFIG, gateway_url=None, api_url="http://localhost/api/v10")
    manager = ShardManager(config)
    with pytest.raises(LocalProtocolError, match="the lookup has no answer: drive it first"):
        manager.start(now=0.0)

    assert manager.lookup is not None
    Link(manager.lookup, Server(ServerConfig(tokens=frozenset({"other"}))))

    with pytest.raises(LocalProtocolError, match="is the token right"):
        manager.start(now=0.0)


@pytest.mark.slow
def test_identify_queue_uses_the_budget_of_the_lookup() -> None:
    """Rule 49; the reserve is available again after the reset."""
    config = attrs.evolve(
        CONFIG, gateway_url=None, api_url="http://localhost/api/v10", identify_reserve=999
    )
    running = Running(config, count=3)
    running.run(60.0)

    assert running.identified() == [0]
    assert running.manager.next_timer() == 86400.0
    reason = (
        "999 of 1000 sessions remain, and Config.identify_reserve keeps 999; the next Identify is "
        "possible in 86400 s"
    )
    spent = IdentifyBudgetSpent(86400.0, reason)
    assert running.manager.events() == [(1, spent), (2, spent)]
    assert running.manager.events() == []
    running.run(86400.0 - 60.0)
    assert running.identified() == [0, 1]


def test_lookup_only_client_ends_with_the_response() -> None:
    config = attrs.evolve(CONFIG, gateway_url=None, api_url="http://localhost/api/v10")
    client = Client(config, lookup_only=True)
    Link(client, Server(ServerConfig(url="ws://localhost:99")))

    assert client.next_dial() is None
    assert client.gave_up is None
    assert client.lookup_answer is not None
    assert client.lookup_answer.url == "ws://localhost:99"


def test_identify_slot_without_on_wake_is_granted_on_next_call() -> None:
    manager = ShardManager(CONFIG, count=2)
    manager.start(now=0.0)
    links = [Link(client, Server()) for client in manager.clients.values()]

    manager.handle_timer(now=5.25)
    links[1].run()

    links[1].client.expect(Ready)


# ----- the caller grants the slots -----


def test_caller_grants_identify_slots_with_ask_to_identify() -> None:
    running = Running(attrs.evolve(CONFIG, wait_for_identify_slot=True), count=2)
    running.run(30.0)
    assert running.identified() == []
    assert running.manager.next_timer() is None
    connection: Any = running.manager.clients[1].connection
    assert connection.awaiting_identify_slot

    connection.grant_identify(now=30.0)
    running.run(1.0)

    assert running.identified() == [1]
    assert not connection.awaiting_identify_slot
    assert running.manager.budget.next_slot_at(31.0) == 31.0


# ----- shards that come and go -----


def test_added_shard_waits_for_its_identify_slot() -> None:
    running = Running(count=4, ids=[0, 1])
    running.run(6.0)

    client = running.manager.add(3)

    assert running.manager.clients[3] is client
    assert running.manager.plan.ids == (0, 1, 3)
    running.links[3] = link = Link(client, running.server)
    link.run(6.0)
    assert running.manager.queue.waiting_shards == (3,)
    running.run(6.0)
    assert link.client.expect(Ready).shard == (3, 4)


def test_replaced_shard_gets_a_new_client() -> None:
    running = Running(count=2)
    running.run(12.0)
    former = running.manager.clients[1]

    client = running.manager.replace(1, session=former.session)

    assert client is not former
    assert running.manager.clients[1] is client
    assert client.session == former.session
    assert running.manager.plan.ids == (0, 1)


def test_removed_shard_can_be_added_again_with_its_session() -> None:
    running = Running(count=3)
    running.run(6.0)
    session = running.manager.clients[1].session

    waiting = running.manager.remove(2)
    removed = running.manager.remove(1)
    removed.stop(keep_session=True, now=6.0)
    running.links[1].run()
    running.run(20.0)

    assert waiting.connection is not None
    assert running.identified() == [0, 1]
    assert running.manager.plan.ids == (0,)
    link = Link(running.manager.add(1, session=session), running.server)
    link.client.expect(Resumed)


def test_removed_shard_does_not_join_the_identify_queue() -> None:
    running = Running(count=2)
    client = running.manager.remove(1)
    running.manager.add(1)

    running.links[1].cut()
    running.links[1].run(2.0)

    assert client.connection is not None
    assert running.manager.queue.waiting_shards == ()


def test_invalid_add_or_remove_raises_without_effect() -> None:
    manager = ShardManager(CONFIG, count=4, ids=[0])
    for call in (lambda: manager.add(1), lambda: manager.plan):
        with pytest.raises(LocalProtocolError, match="no plan yet"):
            call()
    manager.start(now=0.0)
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: manager.start(now=0.0), "start was called before"),
        (lambda: manager.add(0), "invalid shard_id 0: it is here already"),
        (lambda: manager.add(4), "invalid shard_id 4: expected an int from 0 to 3"),
        (lambda: manager.add("1"), "invalid shard_id '1'"),  # type: ignore[arg-type]
        (lambda: manager.add(1, session={}), "invalid session {}: expected a Session"),  # type: ignore[arg-type]
        (lambda: manager.remove(1), "invalid shard_id 1: it is not here"),
        (lambda: manager.remove([]), "invalid shard_id"),  # type: ignore[arg-type]
    ]

    for call, error_text in wrong:
        with pytest.raises(LocalProtocolError, match=error_text):
            call()

    assert list(manager.clients) == [0]


@pytest.mark.parametrize(
    ("options", "error_text"),
    [
        ({"ids": [0, 1]}, r"ids \(0, 1\) without count: pass count"),
        ({"count": 0}, "invalid count 0"),
        ({"count": 2, "ids": [2]}, r"invalid ids \(2,\): expected ids from 0 to 1"),
        ({"ids": "01"}, "invalid ids '01'"),
        ({"sessions": [1]}, r"invalid sessions \[1\]: expected Sessions by shard id"),
        ({"sessions": {0: "x"}}, r"invalid sessions\[0\] 'x': expected a Session"),
    ],
)
def test_invalid_arguments_raise_before_a_dial(options: Any, error_text: str) -> None:
    with pytest.raises(LocalProtocolError, match=error_text):
        ShardManager(CONFIG, **options)


def test_huge_shard_count_of_the_lookup_raises() -> None:
    config = attrs.evolve(CONFIG, gateway_url=None, api_url="http://localhost/api/v10")
    manager = ShardManager(config)
    assert manager.lookup is not None
    manager.lookup.lookup_answer = GatewayFound("ws://localhost", 10**9)

    with pytest.raises(LocalProtocolError, match="the lookup asks for 1000000000 shards"):
        manager.start(now=0.0)

    assert manager.clients == {}


def test_managers_of_two_processes_share_an_identify_queue() -> None:
    queue = IdentifyQueue()
    server = Server(ServerConfig())
    links = {}
    for shard_id in range(2):
        manager = ShardManager(CONFIG, count=2, ids=(), identify_queue=queue)
        assert manager.start(now=0.0).ids == ()
        links[shard_id] = Link(manager.add(shard_id), server)
    assert [bool(received(link, Identify)) for link in links.values()] == [True, False]

    for link in links.values():
        link.run(5.3)
    assert manager.next_timer() == 5.25
    manager.handle_timer(now=5.3)
    links[1].run()

    assert links[1].client.expect(Ready).shard == (1, 2)


def test_shared_slot_is_not_used_while_own_budget_is_spent() -> None:
    config = attrs.evolve(CONFIG, identify_budget=1)
    server = Server(ServerConfig())
    manager = ShardManager(config, count=3, ids=(), identify_queue=IdentifyQueue(seconds=0.0))
    manager.start(now=0.0)
    links = [Link(manager.add(shard_id), server) for shard_id in range(3)]
    manager.handle_timer(now=1.0)

    assert manager.queue.waiting_shards == ()
    assert manager.next_timer() == 86_400.0
    manager.remove(2)
    for link in links[:2]:
        link.run(86_400.0)
    manager.handle_timer(now=86_400.0)
    links[1].run()
    assert links[1].client.expect(Ready).shard == (1, 3)
    assert manager.next_timer() is None


def test_invalid_identify_queue_raises() -> None:
    with pytest.raises(LocalProtocolError, match="invalid identify_queue 5: expected an Identify"):
        ShardManager(CONFIG, count=1, identify_queue=5)  # type: ignore[arg-type]
    config = attrs.evolve(CONFIG, wait_for_identify_slot=True)
    with pytest.raises(LocalProtocolError, match="identify_queue grants the slots"):
        ShardManager(config, count=1, identify_queue=IdentifyQueue())


class _Uncounted(dict[int, Client]):
    def __iter__(self) -> Iterator[int]:
        raise AssertionError("the cost of one shard grows with the number of shards")


def test_cost_of_one_shard_is_that_of_any_number_of_shards() -> None:
    manager = ShardManager(CONFIG, count=3, ids=[0])
    manager.start(now=0.0)
    manager.clients = _Uncounted(manager.clients)

    manager.add(2)
    manager.add(1)
    manager.replace(2)
    manager.remove(0)

    assert list(manager.clients.keys()) == [1, 2]


@pytest.mark.parametrize("is_closed", [False, True])
def test_replaced_shard_keeps_presence_and_voice_states(is_closed: bool) -> None:
    running = Running(attrs.evolve(CONFIG, restore_voice_states=True), count=1)
    former = running.links[0].client
    presence, voice = UpdatePresence([Activity("chess")]), UpdateVoiceState("1", "2")
    assert isinstance(former.connection, ClientConnection)
    former.connection.send(presence, now=0.0)
    former.connection.send(voice, now=0.0)
    running.run(1.0)
    if is_closed:
        running.manager.clients[0].stop(keep_session=False, now=1.0)
        running.run(1.0)

    running.links[0] = Link(running.manager.replace(0), running.server)
    running.run(12.0)

    events = running.links[0].server.events
    assert [e.presence for e in events if isinstance(e, Identify)] == [presence]
    assert [e for e in events if isinstance(e, UpdateVoiceState)] == [voice]
