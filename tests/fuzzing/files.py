"""Fuzz target: texts of files that the package reads: scenarios, worlds, sessions, traces."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

from gateway_cli.replay import rows
from gateway_cli.show import MALFORMED_TRACE_ERRORS
from gateway_cli.timeline_data import timeline_data
from gateway_proto import LocalProtocolError, Session
from gateway_proto.server import Scenario, World
from gateway_proto.trace import TraceError, read, replay
from tests import record_golden_traces

__all__ = ["scenario", "trace"]

_STEPS = 200
_LINES = 40
_OTHERS: list[Any] = [
    *(None, True, 0, 1, -1, 2.5, 1e300, 2**70, "", "x", "1", [], [[]], {}, {"type": "Config"}),
    *(
        {"base64": "!"},
        {"base64": "AAAA"},
        {"text": "x"},
        "receive_data",
        "send",
        "client",
        "server",
    ),
]


def scenario(data: bytes) -> None:
    """Select the kind of file by the first byte."""
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
            value.for_connection(1)
        case World():
            for guild in value.guilds_of((0, 2)):
                assert value.guild(guild["id"]) is not None
        case Session():
            assert Session.from_json(value.to_json()) == value


def trace(data: bytes) -> None:
    """Replay each connection of a trace, or report the invalid line.

    The first byte selects: the rest is the text, or changes to the lines of a valid one.
    """
    lines = _changed(data[1:]) if data[:1] == b"\1" else data[1:].split(b"\n")
    try:
        for number, step in enumerate(replay(lines)):
            assert step.number <= len(lines) + 1
            if number >= _STEPS:
                break
    except TraceError as error:
        if not str(error).startswith("line "):
            raise
    with contextlib.suppress(TraceError, *MALFORMED_TRACE_ERRORS):  # as the commands report them
        list(rows(replay(lines)))
    with contextlib.suppress(TraceError, *MALFORMED_TRACE_ERRORS):
        timeline_data(read(lines))


@functools.cache
def _good() -> list[str]:
    return record_golden_traces.read((10, "json", "none"))[:_LINES]


def _changed(changes: bytes) -> list[bytes]:
    """Return a valid trace with changed values: three bytes select line, position and value."""
    lines = [json.loads(line) for line in _good()]
    for at in range(0, len(changes) - 2, 3):
        line, where, what = changes[at : at + 3]
        positions = list(_positions(lines[line % len(lines)]))
        if positions:
            holder, key = positions[where % len(positions)]
            holder[key] = copy.deepcopy(_OTHERS[what % len(_OTHERS)])
    return [json.dumps(line).encode() for line in lines]


def _positions(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every position in a value, outer ones before inner ones."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
    for key in list(keys):
        yield from _positions(value[key])
