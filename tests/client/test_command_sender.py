"""Command sender: queue, requests and voice states of one connection."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import (
    Command,
    CommandsDelayed,
    Config,
    Heartbeat,
    LocalProtocolError,
    RawCommand,
    Request,
    RequestChannelInfo,
    RequestFailed,
    RequestGuildMembers,
    RequestSoundboardSounds,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.client.command_encoding import encode_command
from gateway_proto.client.command_sender import CommandSender
from gateway_proto.client.requests import PendingRequests
from gateway_proto.timing.timers import Timer
from gateway_proto.timing.voice_states import VoiceStates

CONFIG = Config(token="t", intents=0, random=lambda: 0.5)
SOUNDS = RequestSoundboardSounds(["1"])
JOIN = UpdateVoiceState("1", "2")


def sender(
    voice_states: VoiceStates[UpdateVoiceState] | None = None, **changes: Any
) -> CommandSender:
    config = Config(**{"token": "t", "intents": 0, "random": lambda: 0.5} | changes)
    return CommandSender(config, PendingRequests(config.version), voice_states)


def put(sender: CommandSender, *commands: Command, now: float = 0.0) -> None:
    for command in commands:
        sender.put(command, encode_command(CONFIG, command), now)


def raw(number: int) -> RawCommand:
    return RawCommand(100, number)


def messages(*commands: Command, intents: int = 0) -> list[str | bytes]:
    config = Config(token="t", intents=intents)
    return [encode_command(config, command) for command in commands]


# ----- capacity -----


def test_full_queue_accepts_no_command() -> None:
    full = sender(command_queue_limit=2)
    put(full, raw(1))
    full.check_capacity(raw(2))
    put(full, raw(2))

    with pytest.raises(LocalProtocolError) as caught:
        full.check_capacity(raw(3))

    text = "2 commands are queued already: Config.command_queue_limit allows no more"
    assert str(caught.value) == text


def test_queue_limit_bounds_the_guilds_of_voice_states() -> None:
    full = sender(command_queue_limit=2, restore_voice_states=True)
    full.put(UpdateVoiceState("1", "2"), "", 0.0)
    full.put(UpdateVoiceState("2", "2"), "", 0.0)
    full.pop_messages(0.0)

    full.check_capacity(UpdateVoiceState("2", "3"))
    full.check_capacity(UpdateVoiceState("3", None))
    full.check_capacity(raw(1))
    with pytest.raises(LocalProtocolError) as caught:
        full.check_capacity(UpdateVoiceState("3", "3"))

    assert str(caught.value) == (
        "too many voice states to restore: 2 guilds have one, and Config.command_queue_limit "
        "allows no more"
    )


# ----- commands and presence -----


def test_commands_are_sent_in_order_and_recorded() -> None:
    one = sender()
    commands = [raw(number) for number in range(6)]
    put(one, *commands)

    assert one.pop_messages(0.0) == messages(*commands)
    assert one.pop_messages(0.0) == []
    assert one.last_sent == tuple(commands[2:])


def test_commands_sent_by_the_owner_are_recorded() -> None:
    one = sender()

    one.record_sent(raw(1))
    one.record_sent(Heartbeat(None))

    assert one.last_sent == (raw(1), Heartbeat(None))


def test_queued_presence_is_replaced_and_encoded() -> None:
    one = sender()
    first, second = UpdatePresence(status="idle"), UpdatePresence(status="dnd")

    one.put_presence(first, 0.0)
    one.put_presence(second, 1.0)

    assert one.queue.presence is not None
    assert one.queue.presence.queued_at == 1.0
    assert one.pop_messages(1.0) == messages(second)
    assert one.last_sent == (second,)


def test_limit_of_the_version_keeps_a_slot_for_a_heartbeat() -> None:
    one = sender()
    limit, seconds = CONFIG.version.send_limit
    put(one, *map(raw, range(limit + 5)))

    assert len(one.pop_messages(0.0)) == limit - 1
    assert dict(one.timers(0.0))[Timer.SEND] == seconds


def test_presences_have_a_limit_of_their_own() -> None:
    one = sender()
    sent = []

    for since in range(10):
        one.put_presence(UpdatePresence(since=since), 0.0)
        sent += one.pop_messages(0.0)

    assert len(sent) == CONFIG.version.presence_limit[0]
    assert dict(one.timers(0.0))[Timer.SEND] == CONFIG.version.presence_limit[1]


# ----- requests -----


def test_request_gets_a_number_and_a_nonce() -> None:
    one = sender(intents=2)

    number = one.put_request(RequestGuildMembers("1"), 30.0, 0.0)

    assert number == 1
    assert one.put_request(SOUNDS, 30.0, 0.0) == 2
    members = RequestGuildMembers("1", nonce="80000000-1")
    assert one.queue.queued_commands == (members, SOUNDS)
    assert one.pop_messages(0.0) == messages(members, SOUNDS, intents=2)


def test_timeout_of_a_request_begins_when_it_is_sent() -> None:
    one = sender()
    one.put_request(SOUNDS, 30.0, 0.0)
    assert dict(one.timers(0.0))[Timer.REQUEST] is None

    one.pop_messages(5.0)

    assert dict(one.timers(5.0))[Timer.REQUEST] == 35.0


def test_command_without_an_answer_starts_no_timeout() -> None:
    one = sender()
    put(one, SOUNDS)

    one.pop_messages(5.0)

    assert dict(one.timers(5.0))[Timer.REQUEST] is None


def test_request_for_all_members_waits_for_its_own_limit() -> None:
    one = sender(intents=2)
    _, wait = CONFIG.version.members_limit or pytest.fail("no limit")
    for _ in range(2):
        one.put_request(RequestGuildMembers("1"), 30.0, 0.0)

    assert len(one.pop_messages(0.0)) == 1
    assert dict(one.timers(0.0))[Timer.SEND] == wait
    assert len(one.pop_messages(wait)) == 1


# ----- timers -----


def test_timers_of_an_empty_sender_are_cleared() -> None:
    assert sender().timers(3.0) == (
        (Timer.SEND, None),
        (Timer.REQUEST, None),
        (Timer.COMMAND_DELAY, None),
    )


def test_delayed_commands_are_reported_once() -> None:
    one = sender(command_delay_threshold=7.0)
    put(one, raw(1), now=2.0)
    put(one, raw(2), now=3.0)
    assert dict(one.timers(3.0))[Timer.COMMAND_DELAY] == 9.0

    report = one.report_delay(10.0)

    assert report == CommandsDelayed(2, 8.0)
    assert dict(one.timers(10.0))[Timer.COMMAND_DELAY] is None
    assert dict(one.timers(10.0))[Timer.SEND] == 10.0


# ----- the end of a session and of the connection -----


def test_lost_session_drops_commands_and_fails_requests() -> None:
    one = sender()
    put(one, raw(1))
    one.put_request(SOUNDS, 30.0, 0.0)
    one.pop_messages(0.0)
    put(one, raw(2))

    failed = one.drop_queued("the session was invalidated")
    put(one, raw(3))

    assert failed == [RequestFailed(1, SOUNDS, "the session was invalidated", None)]
    assert one.unsent == (raw(2),)
    assert one.drop_queued("again") == []
    assert one.unsent == (raw(2), raw(3))
    assert one.pop_messages(1.0) == []


def test_unsent_commands_are_collected_and_unsent_requests_fail() -> None:
    one = sender()
    put(one, raw(1))
    one.drop_queued("lost")
    sent = RequestChannelInfo("1", ["status"])
    one.put_request(sent, 30.0, 0.0)
    one.pop_messages(0.0)
    one.put_request(SOUNDS, 30.0, 0.0)
    put(one, raw(2))

    unsent, failed = one.collect_unsent()

    assert unsent == (raw(1), SOUNDS, raw(2))
    assert failed == [RequestFailed(2, SOUNDS, "the connection ended before it was sent", None)]
    assert list(one.requests.pending) == [1], "an answer may come over the next connection"
    assert one.collect_unsent() == ((raw(1),), [])


# ----- voice states -----


def test_without_restoring_voice_states_are_commands_like_others() -> None:
    one = sender()
    put(one, JOIN)
    one.start_session()
    one.restore_voice_states(0.0)

    assert one.voice_states == ()
    assert one.queue.queued_commands == (JOIN,)
    assert one.collect_unsent() == ((JOIN,), [])


def test_voice_states_are_sent_again_in_a_new_session() -> None:
    one = sender(restore_voice_states=True)
    put(one, JOIN, UpdateVoiceState("2", "5"), UpdateVoiceState("1", "3"))
    one.pop_messages(0.0)

    one.start_session()
    one.restore_voice_states(4.0)

    wanted = (UpdateVoiceState("2", "5"), UpdateVoiceState("1", "3"))
    assert one.voice_states == wanted
    assert [entry.queued_at for entry in one.queue.commands] == [4.0, 4.0]
    assert one.pop_messages(4.0) == messages(*wanted)
    assert one.last_sent[-2:] == wanted
    one.restore_voice_states(5.0)
    assert one.pop_messages(5.0) == []


def test_unsent_voice_state_is_restored_and_not_returned() -> None:
    shared: VoiceStates[UpdateVoiceState] = VoiceStates(limit=10)
    first = sender(shared, restore_voice_states=True)
    put(first, raw(1), JOIN)
    assert first.collect_unsent() == ((raw(1),), [])

    second = sender(shared, restore_voice_states=True)
    second.restore_voice_states(1.0)

    assert second.voice_states == (JOIN,)
    assert second.pop_messages(1.0) == messages(JOIN)


@pytest.mark.parametrize("request_", [SOUNDS, RequestChannelInfo("1", ["status"])])
def test_requests_are_no_voice_states(request_: Request) -> None:
    one = sender(restore_voice_states=True)

    put(one, request_)

    assert one.voice_states == ()
    assert one.collect_unsent() == ((request_,), [])
