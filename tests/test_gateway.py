"""Client ↔ an application: events wait in order; the session follows those that were handled."""

from __future__ import annotations

import pytest

from gateway_proto import Client, Config, Dispatch, Ready, RequestError, Server, State
from gateway_proto.gateway import GatewayBase
from gateway_proto.testing import Link

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")


class Gateway(GatewayBase):
    """One that is filled by hand, as an adapter's pump fills it."""

    def fill(self, link: Link) -> None:
        self._queue.extend(link.client.take())

    @property
    def room(self) -> tuple[bool, bool]:
        return self._is_full, self._is_half_empty

    def end(self) -> None:
        self._forget_session()


def _gateway(limit: int = 8) -> tuple[Gateway, Link, Server]:
    server = Server()
    client = Client(CONFIG)
    return Gateway(client, queue_limit=limit), Link(client, server), server


def test_an_event_counts_as_handled_when_the_next_is_asked_for() -> None:
    gateway, link, server = _gateway()
    server.dispatch("X", 1, now=link.now)
    link.run()
    gateway.fill(link)
    while gateway.has_event() and not isinstance(gateway.take(), Ready):
        assert gateway.session is None

    assert gateway.session is None, "READY is being handled"
    assert gateway.has_event()
    assert gateway.session is not None
    assert gateway.session.sequence == 1
    taken = gateway.take()
    assert isinstance(taken, Dispatch)
    assert gateway.session.sequence == 1
    assert not gateway.has_event()
    assert gateway.session.sequence == 2


def test_what_it_shows_is_the_clients() -> None:
    gateway, link, _ = _gateway()
    assert gateway.state is State.READY
    link.run(120)

    assert gateway.latency == 0.0
    assert gateway.waiting == ()
    assert gateway.gave_up is None
    assert gateway.last_closed is None
    assert not gateway.over


def test_without_a_connection_there_is_no_state() -> None:
    gateway = Gateway(Client(CONFIG), queue_limit=1)

    assert gateway.state is None
    assert gateway.latency is None
    assert gateway.waiting == ()
    with pytest.raises(IndexError):
        gateway.take()


def test_a_full_queue_has_room_again_when_half_of_it_is_empty() -> None:
    gateway, link, _ = _gateway(limit=4)
    assert gateway.room == (False, True)

    gateway.fill(link)

    assert gateway.room == (True, False)
    gateway.take()
    gateway.take()
    assert gateway.room == (False, True)


def test_a_session_that_was_ended_on_purpose_is_forgotten() -> None:
    gateway, link, _ = _gateway()
    gateway.fill(link)
    while gateway.has_event():
        gateway.take()
    assert gateway.session is not None

    gateway.end()

    assert gateway.session is None
    assert not gateway.has_event()
    assert gateway.session is None


def test_a_failed_request_says_why_and_when_to_come_again() -> None:
    error = RequestError("the server limits this request", 12.5)

    assert str(error) == "the server limits this request"
    assert error.retry_after == 12.5
