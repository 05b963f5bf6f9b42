"""Invalid traces, reported with the line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway_proto.trace import TraceError, replay
from tests.trace.support import recorded_session


@pytest.mark.parametrize(
    ("change", "expected_text"),
    [
        (lambda lines: [], "line 1: not a trace"),
        (lambda lines: ['{"event": 5}'], "line 1: not a trace"),
        (lambda lines: lines[1:], "line 1: not a trace"),
        (
            lambda lines: ['{"format": "gateway_proto trace", "version": 3, "library": "9.0"}'],
            "line 1: unsupported trace version 3: expected 2; gateway_proto 9.0 wrote it",
        ),
        (lambda lines: [*lines[:4], "nonsense", *lines[4:]], "line 5: JSON is malformed"),
        (lambda lines: [*lines[:4], "[]"], "line 5: Expected `object`"),
        (lambda lines: [*lines[:4], b"\xff\xfe"], "line 5: JSON is malformed"),
        (lambda lines: [*lines[:4], lines[4][:30]], "line 5: the last line is truncated"),
        (lambda lines: [*lines[:2], *lines[3:]], None),
        (lambda lines: [lines[0], *lines[2:]], "line 2: unknown object 1"),
        (lambda lines: [*lines, '{"call": "pause", "id": 77}'], "unknown object 77"),
        (lambda lines: [*lines, '{"call": "pause"}'], "missing field 'id'"),
        (lambda lines: [*lines, '{"call": "events", "id": 1}'], None),
        (lambda lines: [*lines, '{"call": "__init__", "id": 1}'], "Client has no call '__init__'"),
        (lambda lines: [*lines, '{"took": "stop", "id": 3}'], "has no call 'stop'"),
        (
            lambda lines: [*lines, json.dumps({**json.loads(lines[1]), "new": "toaster"})],
            "unknown kind of object 'toaster'",
        ),
        (
            lambda lines: [*lines, '{"new": "client", "id": 9, "config": {"token": 5}}'],
            "line",
        ),
        (
            lambda lines: [*lines, '{"new": "client", "id": 9, "config": {"token": "t"}}'],
            "version 10 needs intents",
        ),
        (lambda lines: [*lines, '{"call": "\\ud800"'], "the last line is truncated"),
        (lambda lines: [*lines, '["\\ud800"]'], "Expected `object`, got `array`"),
        (lambda lines: [*lines, '{"call": "pause", "id": 1, "with": []}'], "line"),
        (lambda lines: [*lines, '{"call": "pause", "id": 1, "at": 9e9, "sent": ["x"]}'], "line"),
    ],
)
def test_invalid_trace_raises_with_its_line(change: Any, expected_text: str | None) -> None:
    lines = change(recorded_session())

    if expected_text is None:
        list(replay(lines))
        return
    with pytest.raises(
        TraceError, match=re.escape(expected_text) if expected_text != "line" else expected_text
    ):
        list(replay(lines))
