"""Policies on malformed messages and close codes, and commands that cause a close."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import (
    Client,
    CloseCodePolicy,
    Closed,
    DialPurpose,
    DialScheduled,
    GaveUp,
    Identify,
    MalformedPayload,
    NextAction,
    Ready,
    Resumed,
    State,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server import Server
from gateway_proto.testing import Link
from gateway_proto.versions import VERSIONS
from tests.client.policy_connections import (
    CONFIG,
    SESSION,
    VOICE,
    connection_with,
    ready_with,
    receive_hello,
)
from tests.connections import close_event


@pytest.mark.parametrize(
    ("skip", "compression", "ends"),
    [
        (None, "none", False),
        (None, "zlib-stream", True),
        (True, "zlib-stream", False),
        (False, "none", True),
    ],
)
def test_skip_malformed_policy_sets_the_reaction(
    skip: bool | None, compression: str, ends: bool
) -> None:
    """Rule 79."""
    connection = ready_with(skip_malformed=skip, compression=compression)

    connection.receive_message("{]", now=0.0)

    events = connection.events()
    assert isinstance(events[0], MalformedPayload)
    assert (connection.state is State.CLOSED) is ends


def test_compression_payload_continues_in_the_next_message() -> None:
    """Rule 69, on a connection."""
    connection = ready_with(compression="zlib-stream")
    import zlib

    sender = zlib.compressobj()
    text = b'{"op":0,"s":2,"t":"X","d":{}}'
    for part in (text[:12], text[12:]):
        message = sender.compress(part) + sender.flush(zlib.Z_SYNC_FLUSH)
        connection.receive_message(message, now=0.0)

    (dispatch,) = connection.events()
    assert getattr(dispatch, "name", None) == "X"


@pytest.mark.parametrize(
    ("code", "ready", "resuming"),
    [
        (1000, NextAction.RESUME, NextAction.IDENTIFY),
        (1001, NextAction.RESUME, NextAction.RESUME),
        (4000, NextAction.RESUME, NextAction.RESUME),
        (4007, NextAction.IDENTIFY, NextAction.IDENTIFY),
        (4008, NextAction.RESUME, NextAction.RESUME),
        (4009, NextAction.RESUME, NextAction.IDENTIFY),
        (4014, NextAction.STOP, NextAction.STOP),
    ],
)
def test_close_code_policy_depends_on_the_phase(
    code: int, ready: NextAction, resuming: NextAction
) -> None:
    """Rules 36, 38, 41 and 45: 1000 and 4009 allow one Resume, not two."""
    for connection, then in (
        (ready_with(), ready),
        (receive_hello(connection_with(SESSION)), resuming),
    ):
        connection.receive_close(code, now=0.0)
        assert close_event(connection).next_action is then


def test_close_code_policy_is_configurable() -> None:
    """Rule 41: a policy, not a constant."""
    connection = ready_with(
        close_policies={4009: CloseCodePolicy(NextAction.IDENTIFY, "as the documentation has it")}
    )

    connection.receive_close(4009, now=0.0)

    assert close_event(connection).next_action is NextAction.IDENTIFY
    assert VERSIONS[10].close_policies[4009].next_action is NextAction.RESUME


def test_resume_after_close_code_4008_is_delayed() -> None:
    """Rule 44."""
    link = Link(Client(CONFIG), Server())
    link.client.expect(Ready)
    connection: Any = link.server.connection

    connection.close(4008, now=link.now)
    link.run()

    planned = link.client.expect(DialScheduled)
    assert (planned.purpose, planned.delay) == (DialPurpose.RESUME, 5.0)


def _close_with(link: Link, code: int = 4002) -> None:
    connection: Any = link.server.connection
    connection.close(code, now=link.now)
    link.run(6)


def test_command_that_causes_close_twice_ends_the_client() -> None:
    """Rule 43: a presence is sent again after each Resume, without an end."""
    link = Link(Client(CONFIG), Server())
    link.client.expect(Ready)
    link.client.send(UpdatePresence((), 5))

    _close_with(link)
    closed = link.client.expect(Closed)
    assert closed.last_sent[-1] == UpdatePresence((), 5)
    link.client.expect(Resumed)
    _close_with(link)

    gave_up = link.client.expect(GaveUp)
    assert gave_up.reason == (
        "the server closed with 4002 '' (undecodable payload), twice after the same "
        "command: UpdatePresence"
    )


def test_last_command_before_close_is_the_suspect() -> None:
    link = Link(Client(CONFIG), Server())
    for first in ("2", "3"):
        link.client.send(UpdateVoiceState(first, None))
        link.client.send(VOICE)
        _close_with(link)

    assert link.client.expect(GaveUp).reason.endswith("after the same command: UpdateVoiceState")


def test_suspect_command_is_forgotten_after_a_stable_time() -> None:
    link = Link(Client(CONFIG), Server())
    link.client.send(VOICE)
    _close_with(link)
    link.client.send(UpdateVoiceState("2", None))
    _close_with(link)
    link.run(60)
    link.client.send(UpdateVoiceState("2", None))
    _close_with(link)

    assert not [e for e in link.client.events if isinstance(e, GaveUp)]


def test_last_sent_commands_of_a_close_have_no_token() -> None:
    """Rule 85."""
    connection = receive_hello(connection_with())
    connection.receive_close(4002, now=0.0)

    closed = close_event(connection)

    assert isinstance(closed.last_sent[-1], Identify)
    assert "t0ken" not in repr(closed)


def test_close_without_a_suspect_has_no_last_sent_commands() -> None:
    connection = ready_with()
    connection.receive_close(4000, now=0.0)

    assert close_event(connection).last_sent == ()
