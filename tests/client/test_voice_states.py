"""Voice states with `Config.restore_voice_states`: sent again in a new session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Config,
    LocalProtocolError,
    RawCommand,
    UpdateVoiceState,
)

NO_REPLY_YET = 10**9
CAPACITY = 120 - 1 - 2  # Identify and the reserve for heartbeats


class Talk:
    """A client, and a server whose payloads the test sends."""

    def __init__(self, *, version: int = 10, **changes: Any) -> None:
        values: dict[str, Any] = {"restore_voice_states": True, **changes}
        if version >= 8:
            values["intents"] = 0
        config = Config(
            token="t", version=version, gateway_url="ws://localhost", unix_offset=0.0, **values
        )
        self.sends_hello = config.version.sends_hello
        self.client = Client(config)
        self.now = 0.0
        self.sequence = 0

    def dial(self) -> ClientConnection:
        dial = self.client.next_dial()
        assert dial is not None
        self.now = max(self.now, dial.at)
        connection = self.client.dial_succeeded(now=self.now, framing=False)
        assert isinstance(connection, ClientConnection)
        self.connection = connection
        if self.sends_hello:
            self.receive(10, {"heartbeat_interval": NO_REPLY_YET})
        return connection

    def receive(self, op: int, d: Any = None, **rest: Any) -> None:
        self.connection.receive_message(json.dumps({"op": op, "d": d, **rest}), now=self.now)

    def dispatch(self, name: str, d: Any) -> None:
        self.sequence += 1
        self.receive(0, d, t=name, s=self.sequence)

    def ready(self) -> None:
        self.dispatch("READY", {"session_id": "s", "heartbeat_interval": NO_REPLY_YET})

    def resumed(self) -> None:
        self.dispatch("RESUMED", {"heartbeat_interval": NO_REPLY_YET})

    def send(self, *commands: UpdateVoiceState | RawCommand) -> None:
        for command in commands:
            self.connection.send(command, now=self.now)

    def sent(self) -> list[tuple[str | None, str | None]]:
        payloads = [json.loads(message) for message in self.connection.messages_to_send()]
        return [(p["d"]["guild_id"], p["d"]["channel_id"]) for p in payloads if p["op"] == 4]

    def lose(self) -> Closed:
        self.connection.receive_eof(now=self.now)
        closed = self.connection.events()[-1]
        assert isinstance(closed, Closed)
        return closed

    def fill(self) -> None:
        """Use the whole capacity of the rate limit."""
        self.send(*(RawCommand(60, n) for n in range(CAPACITY)))


def _in_channels(*, version: int = 10, **changes: Any) -> Talk:
    """Return a client in channel 10 of guild 1 and channel 20 of guild 2."""
    talk = Talk(version=version, **changes)
    talk.dial()
    talk.ready()
    talk.send(UpdateVoiceState("2", "21"), UpdateVoiceState("1", "10"), UpdateVoiceState("2", "20"))
    talk.sent()
    return talk


@pytest.mark.parametrize("version", range(3, 11))
def test_voice_states_are_restored_in_a_new_session(version: int) -> None:
    talk = _in_channels(version=version)
    talk.receive(9, False)

    talk.dial()
    assert talk.sent() == []
    talk.ready()

    assert talk.sent() == [("1", "10"), ("2", "20")]
    assert [state.guild_id for state in talk.connection.voice_states] == ["1", "2"]


def test_voice_states_are_not_restored_by_default() -> None:
    talk = _in_channels(restore_voice_states=False)
    talk.receive(9, False)

    talk.dial()
    talk.ready()

    assert talk.sent() == []
    assert talk.connection.voice_states == ()


def test_voice_state_of_a_left_channel_is_not_restored() -> None:
    talk = _in_channels()
    talk.send(UpdateVoiceState("1", None))
    talk.receive(9, False)

    talk.dial()
    talk.ready()

    assert talk.sent() == [("2", "20")]


def test_resumed_session_keeps_its_voice_states() -> None:
    talk = _in_channels()
    talk.lose()

    talk.dial()
    talk.resumed()
    talk.resumed()

    assert talk.sent() == []


def test_ready_on_the_same_connection_restores_voice_states() -> None:
    talk = _in_channels(identify_on_same_connection=True)
    talk.receive(9, False)
    talk.now = 5.0
    talk.connection.handle_timer(now=5.0)

    talk.ready()

    assert talk.sent() == [("1", "10"), ("2", "20")]


def test_restored_voice_states_obey_the_rate_limit() -> None:
    talk = Talk()
    talk.dial()
    talk.ready()
    for minute in range(2):
        talk.now = 61.0 * minute
        talk.connection.handle_timer(now=talk.now)
        talk.send(*(UpdateVoiceState(n, 1) for n in range(100 * minute, 100 * minute + 100)))
    talk.receive(9, False)

    talk.dial()
    talk.ready()

    assert talk.sent() == [(str(n), "1") for n in range(CAPACITY)]
    talk.now += 61.0
    talk.connection.handle_timer(now=talk.now)
    assert talk.sent() == [(str(n), "1") for n in range(CAPACITY, 200)]


def test_unsent_voice_states_are_sent_in_the_resumed_session() -> None:
    talk = _in_channels()
    talk.fill()
    talk.send(UpdateVoiceState("3", "30"), RawCommand(60, "last"), UpdateVoiceState("1", None))
    talk.send(UpdateVoiceState("3", "31"))

    closed = talk.lose()
    talk.dial()
    talk.resumed()

    assert RawCommand(60, "last") in closed.unsent
    assert not any(isinstance(command, UpdateVoiceState) for command in closed.unsent)
    assert talk.sent() == [("1", None), ("3", "31")]
    assert talk.connection.voice_states == (
        UpdateVoiceState("2", "20"),
        UpdateVoiceState("3", "31"),
    )


def test_unsent_leave_is_not_sent_in_a_new_session() -> None:
    talk = _in_channels()
    talk.fill()
    talk.send(UpdateVoiceState("1", None))
    talk.receive(9, False)

    talk.dial()
    talk.ready()

    assert talk.sent() == [("2", "20")]


def test_number_of_stored_voice_states_is_limited() -> None:
    talk = Talk(command_queue_limit=3)
    talk.dial()
    talk.ready()
    talk.send(*(UpdateVoiceState(n, 1) for n in range(3)))

    with pytest.raises(LocalProtocolError, match="too many voice states to restore"):
        talk.send(UpdateVoiceState(3, 1))

    talk.send(UpdateVoiceState(0, 2), UpdateVoiceState(1, None), UpdateVoiceState(3, 1))
    assert talk.sent() == [("0", "1"), ("1", "1"), ("2", "1"), ("0", "2"), ("1", None), ("3", "1")]


def test_leaving_an_unknown_guild_is_always_allowed() -> None:
    talk = Talk(command_queue_limit=1)
    talk.dial()
    talk.ready()
    talk.send(UpdateVoiceState(1, 1))

    talk.send(UpdateVoiceState(2, None))

    assert talk.sent() == [("1", "1"), ("2", None)]


def test_rejected_voice_state_is_not_stored() -> None:
    talk = Talk()
    talk.dial()

    with pytest.raises(LocalProtocolError, match="needs READY"):
        talk.send(UpdateVoiceState(1, 1))

    assert talk.connection.voice_states == ()


def test_connection_without_client_restores_voice_states() -> None:
    config = Config(
        token="t",
        intents=0,
        gateway_url="ws://localhost",
        restore_voice_states=True,
        identify_on_same_connection=True,
    )
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)

    assert connection.voice_states == ()
    assert connection._sender._voice_states is not None
