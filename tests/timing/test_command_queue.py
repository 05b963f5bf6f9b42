"""Command queue: order, rate limits, and slots reserved for heartbeats."""

from __future__ import annotations

from gateway_proto.timing.command_queue import CommandQueue, QueuedCommand


def _outbox(held: dict[str, float] | None = None) -> CommandQueue[str]:
    until = held or {}
    return CommandQueue(
        send_limit=(10, 60.0),
        presence_limit=(2, 20.0),
        not_before=lambda command, now: max(now, until.get(command, now)),
    )


def _put(outbox: CommandQueue[str], *commands: str, since: float = 0.0) -> None:
    for command in commands:
        outbox.put(QueuedCommand(command, command, since))


def _taken(outbox: CommandQueue[str], now: float) -> list[str]:
    taken = []
    while (waiting := outbox.pop_sendable(now)) is not None:
        taken.append(waiting.command)
    return taken


def test_commands_within_the_limit_are_sent_in_order() -> None:
    outbox = _outbox()
    _put(outbox, "a", "b", "c")

    assert outbox.queued_commands == ("a", "b", "c")
    assert _taken(outbox, 0.0) == ["a", "b", "c"]
    assert outbox.queued_commands == ()
    assert outbox.next_slot_at(0.0) is None


def test_take_examines_commands_up_to_the_first_sendable_one() -> None:
    """The cost of a command does not depend on the number of commands before it."""
    looked_at = []

    def held_until(command: str, now: float) -> float:
        looked_at.append(command)
        return 5.0 if command == "held" else now

    outbox = CommandQueue[str](
        send_limit=(4, 60.0), presence_limit=(2, 20.0), not_before=held_until
    )
    _put(outbox, "held", *"abcdefgh")

    assert _taken(outbox, 0.0) == ["a", "b", "c"]
    looked_at.clear()
    assert outbox.next_slot_at(0.0) == 60.0
    assert looked_at == ["held", "d"]
    assert len(outbox.commands) == 6


def test_slots_for_heartbeats_take_at_most_half_the_rate_limit() -> None:
    """Rule 59."""
    for places, room in ((3, 7), (1000, 5)):
        outbox = _outbox()
        outbox.reserve(places)
        _put(outbox, *"abcdefghijkl")
        assert len(_taken(outbox, 0.0)) == room
        assert outbox.next_slot_at(0.0) == 60.0


def test_payloads_sent_past_the_queue_count_for_the_rate_limit() -> None:
    """Rule 58: heartbeats and Identify too."""
    outbox = _outbox()
    for _ in range(8):
        outbox.record_sent(0.0)
    _put(outbox, "a", "b")

    assert _taken(outbox, 1.0) == ["a"]
    assert outbox.next_slot_at(1.0) == 60.0
    assert outbox.next_report_at() == 5.0


def test_command_with_its_own_rate_limit_is_overtaken() -> None:
    outbox = _outbox({"all members": 30.0})
    _put(outbox, "all members", "voice")

    assert _taken(outbox, 0.0) == ["voice"]
    assert outbox.next_slot_at(0.0) == 30.0
    assert _taken(outbox, 30.0) == ["all members"]


def test_earliest_of_several_delayed_commands_sets_the_wait() -> None:
    for held in ({"a": 5.0, "b": 9.0}, {"a": 9.0, "b": 5.0}):
        outbox = _outbox(held)
        _put(outbox, "a", "b")

        assert outbox.next_slot_at(1.0) == 5.0


def test_only_the_last_presence_is_sent() -> None:
    """Rule 62."""
    outbox = _outbox()
    for name in ("p1", "p2"):
        outbox.presence = QueuedCommand(name, name, 0.0)

    assert _taken(outbox, 0.0) == ["p2"]


def test_presences_have_own_rate_limit_that_counts_identify() -> None:
    outbox = _outbox()
    outbox.record_sent(0.0, presence=True)
    outbox.presence = QueuedCommand("p1", "p1", 0.0)
    assert _taken(outbox, 1.0) == ["p1"]

    outbox.presence = QueuedCommand("p2", "p2", 2.0)

    assert _taken(outbox, 2.0) == []
    assert outbox.next_slot_at(2.0) == 20.0
    assert _taken(outbox, 20.0) == ["p2"]


def test_other_payloads_do_not_count_for_presence_rate_limit() -> None:
    outbox = _outbox()
    for _ in range(2):
        outbox.record_sent(0.0)

    outbox.presence = QueuedCommand("p", "p", 0.0)

    assert outbox.next_slot_at(0.0) == 0.0
    assert _taken(outbox, 0.0) == ["p"]


def test_clear_returns_commands_but_not_the_presence() -> None:
    outbox = _outbox()
    _put(outbox, "a")
    outbox.presence = QueuedCommand("p", "p", 0.0)

    assert [waiting.command for waiting in outbox.clear()] == ["a"]
    assert outbox.next_slot_at(0.0) is None
    outbox.presence = QueuedCommand("p", "p", 0.0)
    outbox.presence = None
    assert outbox.pop_sendable(0.0) is None


def test_command_delay_is_reported_once_until_queue_is_empty() -> None:
    outbox = _outbox()
    _put(outbox, "a", "b", since=2.0)

    assert outbox.next_report_at() == 7.0
    assert outbox.report_delay(7.5) == 5.5
    assert outbox.next_report_at() is None
    outbox.clear()
    assert outbox.next_report_at() is None
    _put(outbox, "c", since=9.0)

    assert outbox.next_report_at() == 14.0
