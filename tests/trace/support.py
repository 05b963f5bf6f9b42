"""Builders of traces and assertions about them."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from gateway_proto import Config
from gateway_proto.server import Server
from gateway_proto.testing import Link
from gateway_proto.trace import Recorder, read, replay

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI.Gx-y_z.very/secret+token"
API = "http://localhost/api"
HELLO = '{"op":10,"d":{"heartbeat_interval":1000}}'
READY = '{"op":0,"t":"READY","s":1,"d":{"session_id":"abc","resume_gateway_url":"ws://localhost"}}'


def random_source() -> Callable[[], float]:
    return itertools.cycle([0.1, 0.7, 0.3, 0.9]).__next__


def config_with(**fields: Any) -> Config:
    given = {
        "token": TOKEN,
        "intents": 2,
        "api_url": API,
        "unix_offset": 1e9,
        "random": random_source(),
    }
    return Config(**{**given, **fields})


class Trace:
    """A recorder and its written lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.recorder = Recorder(self.lines.append)

    def close(self) -> list[str]:
        self.recorder.close()
        return self.lines

    def calls(self) -> list[str]:
        return [line["call"] for line in read(self.lines) if "call" in line]


def differences(lines: list[str]) -> list[Any]:
    return [(step.number, d) for step in replay(lines) for d in step.differences]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            if key == "base64":
                yield base64.b64decode(item).decode("latin-1")
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            with contextlib.suppress(ValueError):
                yield from _strings(json.loads(value))


def assert_hides(lines: list[str], *secrets: str) -> None:
    """Assert that lines and decoded bytes contain no secret, and that the trace replays."""
    texts = [text for line in lines for text in (line, *_strings(json.loads(line)))]
    for secret in secrets:
        for form in (secret, json.dumps(secret)[1:-1], secret.replace("/", r"\/")):
            assert not [text for text in texts if form in text]
    assert differences(lines) == []


def recorded_session() -> list[str]:
    made = Trace()
    link = Link(made.recorder.client(config_with(random=random_source())), Server(), delay=0.1)
    link.run(100)
    return made.close()


def changed_lines(lines: list[str], change: Callable[[dict[str, Any]], object]) -> list[str]:
    changed = []
    for line in lines:
        fields = json.loads(line)
        change(fields)
        changed.append(json.dumps(fields))
    return changed
