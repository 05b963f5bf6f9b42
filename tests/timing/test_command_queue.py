"""Command queue: order, rate limits, and slots reserved for heartbeats."""

from __future__ import annotations

from gateway_proto.timing.command_queue import CommandQueue, QueuedCommand


def _queue(held: dict[str, float] | None = None) -> CommandQueue[str]:
    until = held or {}
    return CommandQueue(
        send_limit=(10, 60.0),
        presence_limit=(2, 20.0),
        not_before=lambda command, now: max(now, until.get(command, now)),
    )


def _put(queue: CommandQueue[str], *commands: str, since: float = 0.0) -> None:
    for command in commands:
        queue.put(QueuedCommand(command, command, since))


def _taken(queue: CommandQueue[str], now: float) -> list[str]:
    taken = []
    while (waiting := queue.pop_sendable(now)) is not None:
        taken.append(waiting.command)
    return taken


def test_commands_within_the_limit_are_sent_in_order() -> None:
    queue = _queue()
    _put(queue, "a", "b", "c")

    assert queue.queued_commands == ("a", "b", "c")
    assert _taken(queue, 0.0) == ["a", "b", "c"]
    assert queue.queued_commands == ()
    assert queue.next_slot_at(0.0) is None


def test_take_examines_commands_up_to_the_first_sendable_one() -> None:
    """The cost of a command does not depend on the number of commands before it."""
    looked_at = []

    def held_until(command: str, now: float) -> float:
        looked_at.append(command)
        return 5.0 if command == "held" else now

    queue = CommandQueue[str](send_limit=(4, 60.0), presence_limit=(2, 20.0), not_before=held_until)
    _put(queue, "held", *"abcdefgh")

    assert _taken(queue, 0.0) == ["a", "b", "c"]
    looked_at.clear()
    assert queue.next_slot_at(0.0) == 60.0
    assert looked_at == ["held", "d"]
    assert len(queue.commands) == 6


def test_slots_for_heartbeats_take_at_most_half_the_rate_limit() -> None:
    """Rule 59."""
    for slots, expected in ((3, 7), (1000, 5)):
        queue = _queue()
        queue.reserve(slots)
        _put(queue, *"abcdefghijkl")
        assert len(_taken(queue, 0.0)) == expected
        assert queue.next_slot_at(0.0) == 60.0


def test_payloads_sent_past_the_queue_count_for_the_rate_limit() -> None:
    """Rule 58: heartbeats and Identify too."""
    queue = _queue()
    for _ in range(8):
        queue.record_sent(0.0)
    _put(queue, "a", "b")

    assert _taken(queue, 1.0) == ["a"]
    assert queue.next_slot_at(1.0) == 60.0
    assert queue.next_report_at() == 5.0


def test_command_with_its_own_rate_limit_is_overtaken() -> None:
    queue = _queue({"all members": 30.0})
    _put(queue, "all members", "voice")

    assert _taken(queue, 0.0) == ["voice"]
    assert queue.next_slot_at(0.0) == 30.0
    assert _taken(queue, 30.0) == ["all members"]


def test_earliest_of_several_delayed_commands_sets_the_wait() -> None:
    for held in ({"a": 5.0, "b": 9.0}, {"a": 9.0, "b": 5.0}):
        queue = _queue(held)
        _put(queue, "a", "b")

        assert queue.next_slot_at(1.0) == 5.0


def test_slot_of_a_further_command_obeys_all_limits() -> None:
    queue = _queue({"held": 5.0})

    assert queue.slot_at("a", 0.0) == 0.0
    assert queue.slot_at("held", 0.0) == 5.0
    _put(queue, *"abcdefghi")
    assert queue.slot_at("a", 0.0) is None, "others are first"
    _taken(queue, 1.0)
    assert queue.slot_at("a", 2.0) == 61.0


def test_only_the_last_presence_is_sent() -> None:
    """Rule 62."""
    queue = _queue()
    for name in ("p1", "p2"):
        queue.presence = QueuedCommand(name, name, 0.0)

    assert _taken(queue, 0.0) == ["p2"]


def test_presences_have_own_rate_limit_that_counts_identify() -> None:
    queue = _queue()
    queue.record_sent(0.0, presence=True)
    queue.presence = QueuedCommand("p1", "p1", 0.0)
    assert _taken(queue, 1.0) == ["p1"]

    queue.presence = QueuedCommand("p2", "p2", 2.0)

    assert _taken(queue, 2.0) == []
    assert queue.next_slot_at(2.0) == 20.0
    assert _taken(queue, 20.0) == ["p2"]


def test_other_payloads_do_not_count_for_presence_rate_limit() -> None:
    queue = _queue()
    for _ in range(2):
        queue.record_sent(0.0)

    queue.presence = QueuedCommand("p", "p", 0.0)

    assert queue.next_slot_at(0.0) == 0.0
    assert _taken(queue, 0.0) == ["p"]


def test_clear_returns_commands_but_not_the_presence() -> None:
    queue = _queue()
    _put(queue, "a")
    queue.presence = QueuedCommand("p", "p", 0.0)

    assert [waiting.command for waiting in queue.clear()] == ["a"]
    assert queue.next_slot_at(0.0) is None
    queue.presence = QueuedCommand("p", "p", 0.0)
    queue.presence = None
    assert queue.pop_sendable(0.0) is None


def test_command_delay_is_reported_once_until_queue_is_empty() -> None:
    queue = _queue()
    _put(queue, "a", "b", since=2.0)

    assert queue.next_report_at() == 7.0
    assert queue.report_delay(7.5) == 5.5
    assert queue.next_report_at() is None
    queue.clear()
    assert queue.next_report_at() is None
    _put(queue, "c", since=9.0)

    assert queue.next_report_at() == 14.0
