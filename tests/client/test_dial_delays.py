"""Delays between dials, and the limit on dials."""

from __future__ import annotations

import pytest

from gateway_proto import Client, DialFailed, Resumed, State
from gateway_proto.server import Server
from gateway_proto.testing import Link
from tests.client.support import CONFIG, config_with


def test_backoff_doubles_up_to_its_limit_with_full_jitter() -> None:
    draws = iter([0.5, 0.5, 0.5, 0.25, 0.0, 0.5, 0.5, 0.5])
    client = Client(
        config_with(
            api_url=None,
            gateway_url="ws://localhost",
            backoff_initial=1.0,
            backoff_max=10.0,
            random=lambda: next(draws),
        )
    )
    delays = []
    for _ in range(8):
        client.dial_failed("refused", now=50.0)
        dial = client.next_dial()
        assert dial is not None
        delays.append(dial.at - 50.0)

    assert delays == [0.5, 1.0, 2.0, 2.0, 0.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(("ready_for", "delay"), [(59.0, 0.5 * 1.3), (60.0, 0.5)])
def test_backoff_restarts_only_after_a_stable_time(ready_for: float, delay: float) -> None:
    link = Link(Client(CONFIG), Server())
    link.run(70)
    for _ in range(2):
        link.cut()
        link.run(0.5)
        link.client.expect(Resumed)

        link.run(ready_for)
    link.cut()

    assert link.client.events[-1].delay == delay


def test_dial_limit_ends_the_client() -> None:
    client = Client(config_with(dial_attempts=2))

    client.dial_failed("refused", now=0.0)
    client.dial_failed("refused", now=1.0)

    assert client.next_dial() is None
    assert client.gave_up == "could not connect to localhost port 80: refused"
    failed = [event for event in client.events() if isinstance(event, DialFailed)]
    assert failed == [DialFailed("http://localhost/api/v10/gateway", "refused")] * 2


def test_dial_limit_counts_consecutive_dials() -> None:
    link = Link(Client(config_with(dial_attempts=2)), Server())
    for _ in range(3):
        link.dead_hosts.add("localhost")
        link.cut()
        link.run(0.6)
        link.dead_hosts.clear()
        link.run(60)

    assert link.client.connection is not None
    assert link.client.connection.state is State.READY
