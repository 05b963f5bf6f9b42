"""text of a file → what the package reads out of files: scenarios, worlds, sessions, traces."""

from __future__ import annotations

import contextlib

from gateway_cli.story import story
from gateway_proto import LocalProtocolError, Scenario, Session, World
from gateway_proto.trace import TraceError, read, replay

__all__ = ["scenario", "trace"]

_STEPS = 200


def scenario(data: bytes) -> None:
    """The first byte says what the text should be."""
    kind, text = (data[:1] or b"\0")[0] % 4, data[1:]
    reader = (Scenario.from_json, Scenario.from_yaml, World.from_json, Session.from_json)[kind]
    try:
        value = reader(text)
    except LocalProtocolError:
        return
    hash(type(value)), repr(value)
    match value:
        case Scenario():
            assert Scenario(value.faults) == value
            value.of(1)
        case World():
            for guild in value.guilds_of((0, 2)):
                assert value.guild(guild["id"]) is not None
        case Session():
            assert Session.from_json(value.to_json()) == value


def trace(data: bytes) -> None:
    """Each machine of a trace does what its lines say, or the line is told that is none."""
    lines = data.split(b"\n")
    try:
        for number, step in enumerate(replay(lines)):
            assert step.number <= len(lines) + 1
            if number >= _STEPS:
                break
    except TraceError as error:
        if not str(error).startswith("line "):
            raise
    with contextlib.suppress(TraceError, KeyError, TypeError):  # as the command reports them
        story(read(lines))
