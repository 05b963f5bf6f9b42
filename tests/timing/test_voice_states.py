"""Voice states: those that the caller asked for, and those that a session does not know."""

from __future__ import annotations

from gateway_proto import UpdateVoiceState
from gateway_proto.timing.voice_states import VoiceStates

FIRST = UpdateVoiceState("1", "10")
SECOND = UpdateVoiceState("2", "20")
LEFT = UpdateVoiceState("1", None)


def _states(*commands: UpdateVoiceState, limit: int = 2) -> VoiceStates[UpdateVoiceState]:
    states: VoiceStates[UpdateVoiceState] = VoiceStates(limit=limit)
    for command in commands:
        states.record(command)
    return states


def test_voice_state_replaces_that_of_its_guild() -> None:
    moved = UpdateVoiceState("1", "11")

    assert _states(FIRST, SECOND, moved).wanted == (SECOND, moved)
    assert _states(FIRST, SECOND, LEFT).wanted == (SECOND,)


def test_voice_state_limit_excludes_known_guilds_and_leaving() -> None:
    states = _states(FIRST, limit=1)

    assert states.has_capacity(FIRST)
    assert states.has_capacity(LEFT)
    assert not states.has_capacity(SECOND)


def test_new_session_gets_all_voice_states_once() -> None:
    states = _states(FIRST, SECOND)
    states.start_session()

    assert states.take_unsent() == [FIRST, SECOND]
    assert states.take_unsent() == []


def test_resumed_session_gets_the_last_unsent_voice_state() -> None:
    states = _states(FIRST)
    states.record_unsent(FIRST)
    states.record_unsent(LEFT)

    assert states.take_unsent() == [LEFT]


def test_unsent_voice_states_keep_the_order_of_the_commands() -> None:
    moved = UpdateVoiceState("1", "11")
    states = _states(FIRST, SECOND)
    for command in (FIRST, SECOND, moved):
        states.record_unsent(command)

    assert states.take_unsent() == [SECOND, moved]
