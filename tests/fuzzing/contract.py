"""Assertions of the contract of a connection, for malicious input."""

from __future__ import annotations

from typing import Any

from gateway_proto import Closed, Connection, Initiator, State

__all__ = ["check", "finish"]


def check(connection: Connection[Any, Any], now: float) -> list[Any]:
    """Take the events of a connection that was called at `now`, and check its attributes."""
    events = connection.events()
    ends = [index for index, event in enumerate(events) if isinstance(event, Closed)]
    is_closed = connection.state is State.CLOSED
    assert ends in ([], [len(events) - 1]), "Closed is reported once, as the last event"
    assert not ends or is_closed, "Closed is reported at the end"
    timer = connection.next_timer()
    assert timer is None or (not is_closed and timer >= now), "all timers are cleared"
    for event in events:
        hash(type(event)), repr(event)
    return events


def finish(connection: Connection[Any, Any], now: float) -> list[Any]:
    """End the transport: exactly one `Closed` follows, and no output after it."""
    was_closed = connection.state is State.CLOSED
    connection.receive_eof(now=now)
    events = check(connection, now)
    assert connection.state is State.CLOSED
    assert [isinstance(event, Closed) for event in events[-1:]] == [not was_closed][: len(events)]
    assert was_closed == (events == []), "the end is reported once"
    assert was_closed or events[-1].initiator in Initiator
    connection.receive_eof(now=now + 1)
    connection.handle_timer(now=now + 1e6)
    assert connection.events() == [] and connection.next_timer() is None
    return events
