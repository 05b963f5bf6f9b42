"""Differences between a trace and its replay."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from gateway_proto.trace import TraceError
from gateway_proto.versions import VERSIONS
from tests.trace.support import changed_lines, differences, recorded_session


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("timer", lambda line: line.update(timer=1.5) if line.get("timer") else None),
        ("state", lambda line: line.update(state="x") if line.get("state") == "ready" else None),
        ("events", lambda line: line["events"].pop() if "events" in line else None),
        ("sent", lambda line: line["sent"].clear() if "sent" in line else None),
        ("dial", lambda line: line.update(dial=None) if "dial" in line else None),
        ("drew", lambda line: line.pop("drew", None)),
        ("waiting", lambda line: line.update(waiting=3) if "state" in line else None),
        ("made", lambda line: line.update(made=9) if "made" in line else None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_difference_is_reported_with_its_line(what: str, change: Any) -> None:
    lines = changed_lines(recorded_session(), change)

    found = []
    with pytest.raises(TraceError) if what == "made" else contextlib.nullcontext():
        found += differences(lines)

    if what != "made":
        assert {difference.what for _, difference in found} >= {what}
        number, difference = next(pair for pair in found if pair[1].what == what)
        assert json.loads(lines[number - 1]).get(what) == difference.recorded
        assert difference.recorded != difference.replayed


def test_changed_library_behaviour_is_reported_as_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = recorded_session()
    monkeypatch.setattr("gateway_proto.versions.VERSIONS", VERSIONS)
    monkeypatch.setattr(
        "gateway_proto.timing.heartbeat.HeartbeatScheduler.is_zombie", lambda _: True
    )

    found = differences(lines)

    assert {difference.what for _, difference in found} >= {"state", "sent"}
    assert differences(recorded_session()) == []


def test_unknown_fields_and_lines_are_ignored() -> None:
    lines = changed_lines(recorded_session(), lambda line: line.update(new_field=1))
    lines = changed_lines(lines, lambda line: line.get("config", {}).update(of_later=2))
    lines = changed_lines(lines, lambda line: line.get("with", {}).update(of_later=2))
    lines.insert(3, '{"of_later": true}')

    assert differences([*lines, "", "\n"]) == []
