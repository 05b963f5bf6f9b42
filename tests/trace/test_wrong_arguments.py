"""Wrong arguments of a recorder, and of readers of traces: each is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from gateway_proto import Client, Config, LocalProtocolError
from gateway_proto.trace import Recorder, read, replay
from tests.wrong_values import async_function

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")
URL = "ws://localhost"


def _recorder(lines: list[str] | None = None) -> Recorder:
    return Recorder(([] if lines is None else lines).append)


def _connection(**fields: Any) -> object:
    return _recorder().connection(**{"config": CONFIG, "url": URL, "now": 0.0, **fields})


def _lookup(**fields: Any) -> object:
    return _recorder().lookup(**{"config": CONFIG, "url": URL, "now": 0.0, **fields})


@pytest.mark.parametrize(
    ("field", "call", "wrong"),
    [
        ("write", Recorder, (None, "trace.jsonl", 5, async_function)),
        ("config", _recorder().client, (None, "secret", {}, 5)),
        (
            "on_slot_needed",
            lambda value: _recorder().client(CONFIG, on_slot_needed=value),
            (5, "f", async_function),
        ),
        (
            "lookup_only",
            lambda value: _recorder().client(CONFIG, lookup_only=value),
            (None, 1, object()),
        ),
        ("config", lambda value: _connection(config=value), (None, "secret", {})),
        ("URL", lambda value: _connection(url=value), (None, 5, b"ws://x")),
        ("now", lambda value: _connection(now=value), (None, "0", math.nan)),
        ("framing", lambda value: _connection(framing=value), (None, 0, object())),
        ("config", lambda value: _lookup(config=value), (None, "secret", {})),
        ("URL", lambda value: _lookup(url=value), (None, 5, b"ws://x")),
        ("now", lambda value: _lookup(now=value), (None, "0", math.nan)),
        ("config", lambda value: _recorder().server(value), ({}, "", 0, CONFIG)),
        ("lines", read, (None, 5, "text", b"text", {})),
        ("lines", read, ([5], [None], ["{}", 1.5])),
        ("lines", lambda value: list(replay(value)), (None, "trace.jsonl", [5])),
    ],
)
def test_wrong_argument_is_named(
    field: str, call: Callable[[Any], object], wrong: tuple[Any, ...]
) -> None:
    for value in wrong:
        with pytest.raises(LocalProtocolError, match=f"{field} ") as caught:
            call(value)

        assert "secret" not in str(caught.value)


def test_rejected_client_is_not_recorded() -> None:
    lines: list[str] = []
    recorder = _recorder(lines)
    with pytest.raises(LocalProtocolError):
        recorder.client(CONFIG, lookup_only="no")  # type: ignore[arg-type]
    recorder.close()

    assert len(lines) == 1  # the head


def test_times_of_number_subclasses_are_recorded() -> None:
    class Number(float):
        __slots__ = ()

    lines: list[str] = []
    with _recorder(lines) as recorder:
        client = recorder.client(CONFIG)
        assert isinstance(client, Client)
        connection = client.dial_succeeded(now=Number(1.5))
        connection.close(now=Number(2.5))

    recorded = "".join(lines)
    assert '"at":1.5' in recorded
    assert '"at":2.5' in recorded
