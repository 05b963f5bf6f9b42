"""Event queue of a gateway: handled session, read pauses, round robin."""

from __future__ import annotations

from gateway_proto import (
    Client,
    Dispatch,
    Event,
    Ready,
    State,
)
from gateway_proto.driver import RoundRobin
from gateway_proto.driver.event_queue import BaseGateway
from gateway_proto.server import Server
from gateway_proto.testing import Link
from tests.driver.support import CONFIG, take_all


class Gateway(BaseGateway):
    """A gateway that a test fills as an adapter's driver does."""

    reads = True

    def fill(self, link: Link) -> None:
        self._enqueue(link.client.take())
        self.reads = self._has_capacity()

    def _resume_reading(self) -> None:
        self.reads = True

    def put(self, *events: Event, size: int = 0) -> None:
        self._enqueue(events, size)

    def has_room(self) -> bool:
        return self._has_capacity()

    def end(self) -> None:
        self._forget_session()


def _gateway(limit: int = 8, round_robin: RoundRobin | None = None) -> tuple[Gateway, Link, Server]:
    server = Server()
    client = Client(CONFIG)
    return Gateway(client, queue_limit=limit, round_robin=round_robin), Link(client, server), server


def test_event_is_handled_when_the_next_is_requested() -> None:
    gateway, link, server = _gateway()
    server.dispatch("X", 1, now=link.now)
    link.run()
    gateway.fill(link)
    while not isinstance(gateway._next_event(), Ready):
        assert gateway.session is None

    assert gateway.session is None, "READY is being handled"
    taken = gateway._next_event()
    assert gateway.session is not None
    assert gateway.session.sequence == 1
    assert isinstance(taken, Dispatch)
    assert gateway.session.sequence == 1
    assert gateway._next_event() is None
    assert gateway.session.sequence == 2


def test_unhandled_events_count_the_one_that_is_handled() -> None:
    gateway, _, _ = _gateway()
    gateway.put(Dispatch("A", b"1", 1), Dispatch("B", b"2", 2))

    assert gateway.unhandled_events == 2
    gateway._next_event()
    assert gateway.unhandled_events == 2
    gateway._next_event()
    assert gateway.unhandled_events == 1
    gateway.handled()
    assert gateway.unhandled_events == 0


def test_dispatch_without_sequence_keeps_the_session() -> None:
    gateway, link, _ = _gateway()
    gateway.fill(link)
    take_all(gateway)
    before = gateway.session

    gateway.put(Dispatch.of("X", 1))
    take_all(gateway)

    assert gateway.session == before


def test_new_session_resets_the_sequence() -> None:
    gateway, link, server = _gateway()
    server.dispatch("X", 1, now=link.now)
    link.run()
    gateway.fill(link)
    gateway.put(Ready("READY", 1, session_id="new", version=10))

    take_all(gateway)

    assert gateway.session is not None
    assert (gateway.session.id, gateway.session.sequence) == ("new", 1)


def test_gateway_has_the_properties_of_its_client() -> None:
    gateway, link, _ = _gateway()
    assert gateway.state is State.READY
    link.run(120)

    assert gateway.latency == 0.0
    assert gateway.queued_commands == ()
    assert gateway.gave_up is None
    assert gateway.last_closed is None
    assert not gateway._is_finished


def test_gateway_without_connection_has_no_state() -> None:
    gateway = Gateway(Client(CONFIG), queue_limit=1)

    assert gateway.state is None
    assert gateway.latency is None
    assert gateway.queued_commands == ()
    assert gateway._next_event() is None


def test_reading_continues_after_a_large_batch_is_taken() -> None:
    gateway, link, _ = _gateway(limit=1000)
    gateway.fill(link)
    take_all(gateway)
    limit = CONFIG.events_limit

    gateway.put(*[Dispatch.of("X", 1)] * 3, size=limit - 1)
    assert gateway.has_room()
    gateway.put(Dispatch.of("X", 2), size=1)
    assert not gateway.has_room()

    gateway.reads = False
    for _ in range(3):
        gateway._next_event()
        assert not gateway.reads
    gateway._next_event()
    assert gateway.reads
    assert gateway._next_event() is None


def test_reading_continues_when_the_queue_is_half_empty() -> None:
    gateway, link, _ = _gateway(limit=4)
    assert gateway.reads

    gateway.fill(link)

    assert not gateway.reads
    gateway._next_event()
    assert not gateway.reads
    gateway._next_event()
    assert gateway.reads


def test_timer_does_not_end_the_read_pause() -> None:
    gateway, link, _ = _gateway(limit=4)
    gateway.fill(link)
    gateway._next_event()

    gateway.fill(link)  # no events: called for a timer

    assert not gateway.reads
    gateway._next_event()
    assert gateway.reads


def test_deliberately_ended_session_is_dropped() -> None:
    gateway, link, _ = _gateway()
    gateway.fill(link)
    take_all(gateway)
    assert gateway.session is not None

    gateway.end()

    assert gateway.session is None
    assert gateway._next_event() is None
    assert gateway.session is None


def test_session_that_ended_while_ready_is_handled_is_dropped() -> None:
    gateway, link, _ = _gateway()
    gateway.fill(link)
    while not isinstance(gateway._next_event(), Ready):
        pass

    gateway.end()
    gateway.handled()

    assert gateway.session is None


def test_reading_continues_after_a_large_batch_is_taken_at_once() -> None:
    gateway, _, _ = _gateway(limit=1000)
    gateway.put(*[Dispatch.of("X", 1)] * 3, size=CONFIG.events_limit)
    assert not gateway.has_room()
    gateway.reads = False

    gateway._next_events(2)
    assert not gateway.reads
    gateway._next_events(2)

    assert gateway.reads
    assert gateway.has_room()


def test_events_of_gateways_are_taken_round_robin() -> None:
    round_robin = RoundRobin()
    (busy, *_), (other, *_), (idle, *_) = (_gateway(round_robin=round_robin) for _ in range(3))
    busy.put(*(Dispatch.of("BUSY", n, n) for n in range(3)))
    other.put(Dispatch.of("OTHER", 0, 1))

    taken = list(iter(round_robin.next_event, None))

    assert [gateway for gateway, _ in taken] == [busy, other, busy, busy]
    assert idle not in dict(taken)
    busy.put(Dispatch.of("BUSY", 3, 4))
    assert round_robin.next_event() == (busy, Dispatch.of("BUSY", 3, 4))


def test_round_robin_event_is_handled_at_the_next_take() -> None:
    round_robin = RoundRobin()
    (first, link, _), (second, *_) = (
        _gateway(round_robin=round_robin),
        _gateway(round_robin=round_robin),
    )
    first.fill(link)
    while not isinstance((round_robin.next_event() or (first, None))[1], Ready):
        pass
    second.put(Dispatch.of("X", 1, 1))
    assert first.session is None

    round_robin.next_event()

    assert first.session is not None


def test_events_taken_directly_skip_the_round_robin() -> None:
    round_robin = RoundRobin()
    (first, *_), (second, *_) = (_gateway(round_robin=round_robin) for _ in range(2))
    first.put(Dispatch.of("X", 1, 1))
    second.put(Dispatch.of("Y", 1, 1))

    first._next_event()

    assert round_robin.next_event() == (second, Dispatch.of("Y", 1, 1))
    assert second._next_event() is None
    assert round_robin.next_event() is None
