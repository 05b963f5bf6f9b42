"""Golden traces: recorded conversations replay without differences in both roles."""

from __future__ import annotations

import re

import pytest

from gateway_proto import Compression
from gateway_proto.encoding import etf
from gateway_proto.trace import read, replay
from gateway_proto.versions import protocol_version
from tests import record_golden_traces

FORMS = list(record_golden_traces.forms())


@pytest.fixture(autouse=True)
def _installed(form: tuple[int, str, str]) -> None:
    if form[1] == "etf" and not etf.available():
        pytest.skip("the extra etf is not installed")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_golden_traces_replay_without_differences(form: tuple[int, str, str]) -> None:
    steps = list(replay(record_golden_traces.read(form)))

    assert [step for step in steps if step.differences] == []
    assert len(steps) > 60


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_recorded_trace_equals_the_stored_one(form: tuple[int, str, str]) -> None:
    def essence(lines: list[str]) -> list[object]:
        """Return the lines without the upgrade key and data that depends on the zlib version."""
        return [
            {k: re.sub("Sec-WebSocket[^,]*", "", str(v)) for k, v in line.items() if k != "bytes"}
            for line in read(lines)
            if line.get("call") != "receive_data"
        ]

    assert essence(record_golden_traces.record(form)) == essence(record_golden_traces.read(form))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_golden_traces_contain_every_part_of_a_conversation(form: tuple[int, str, str]) -> None:
    lines = read(record_golden_traces.read(form))
    sent = [item["message"] for line in lines for item in line.get("sent", ()) if "message" in item]
    came = {event["type"] for line in lines for event in line.get("events", ())}
    binary = form[1] == "etf" or Compression(form[2]).is_stream

    assert {1, 2, 3, 4, 6} <= {payload["op"] for payload in sent if "t" not in payload}
    assert {"READY", "RESUMED", "MESSAGE_CREATE"} <= {payload.get("t") for payload in sent}
    assert ({10, 11} <= {payload["op"] for payload in sent}) == protocol_version(
        form[0]
    ).sends_hello
    assert {"Ready", "Resumed", "ReconnectRequested", "DialScheduled", "Closed"} <= came
    assert record_golden_traces.TOKEN not in "".join(record_golden_traces.read(form))
    assert any("base64" in str(line.get("with")) for line in lines) >= binary
