"""Golden traces: recorded conversations, replayed to each role, which says what it said then."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import Compression, Resumed, State, dialect
from gateway_proto._layers import etf
from tests import tracing

FORMS = list(tracing.forms())


@pytest.fixture(autouse=True)
def _installed(form: tuple[int, str, str]) -> None:
    if form[1] == "etf" and not etf.available():
        pytest.skip("the extra etf is not installed")


def _message(line: dict[str, Any]) -> str | bytes:
    return bytes.fromhex(line["hex"]) if "hex" in line else line["text"]


def _said(lines: list[dict[str, Any]], who: str) -> list[tuple[float, int, Any]]:
    return [(ln["at"], ln["connection"], ln["payload"]) for ln in lines if ln["from"] == who]


def _steps(lines: list[dict[str, Any]], form: tuple[int, str, str], who: str) -> list[Any]:
    """What the one role says, and the script, in the order of time."""
    spoken = [(line["at"], 1, line) for line in lines if line["from"] == who]
    scripted = [(at, 0, what) for at, what in tracing.script(dialect(form[0]))]
    return sorted([*spoken, *scripted], key=lambda step: step[:2])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_a_client_says_to_the_recorded_server_what_it_said_then(
    form: tuple[int, str, str],
) -> None:
    lines = tracing.read(form)
    life = tracing.make_client(form)
    client: Any = life.dial_succeeded(now=0.0, framing=False)
    said: list[tuple[float, int, Any]] = []
    events: list[Any] = []
    number, now = 1, 0.0

    def collect() -> None:
        decoder = tracing.Decoder(Compression.NONE)
        said.extend((now, number, decoder.decode(m)) for m in client.messages_to_send())
        events.extend(client.events())

    collect()
    for now, _, step in _steps(lines, form, "server"):
        if isinstance(step, dict):
            client.receive_message(_message(step), now=now)
        elif step == "cut":
            client.receive_eof(now=now)
        elif step == "connect":
            client, number = life.dial_succeeded(now=now, framing=False), 2
        else:
            tracing.act(step, client, None, None, now)  # type: ignore[arg-type]
        collect()

    assert said == _said(lines, "client")
    assert any(isinstance(event, Resumed) for event in events)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_a_server_says_to_the_recorded_client_what_it_said_then(
    form: tuple[int, str, str],
) -> None:
    lines = tracing.read(form)
    server = tracing.make_server()
    connection = tracing.accept(server, form, 0.0)
    decoder = tracing.Decoder(Compression(form[2]))
    said: list[tuple[float, int, Any]] = []
    number, now = 1, 0.0

    def collect() -> None:
        said.extend((now, number, decoder.decode(m)) for m in connection.messages_to_send())

    collect()
    for now, _, step in _steps(lines, form, "client"):
        if isinstance(step, dict):
            connection.receive_message(_message(step), now=now)
        elif step == "cut":
            connection.receive_eof(now=now)
        elif step == "connect":
            connection, number = tracing.accept(server, form, now), 2
            decoder = tracing.Decoder(Compression(form[2]))
        else:
            tracing.act(step, None, server, connection, now)
        collect()

    assert said == _said(lines, "server")
    assert connection.state is not State.CLOSED


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_a_trace_recorded_today_is_the_one_that_is_kept(form: tuple[int, str, str]) -> None:
    def essence(lines: list[dict[str, Any]]) -> list[Any]:
        return [{k: v for k, v in line.items() if k not in ("text", "hex")} for line in lines]

    assert essence(tracing.record(form)) == essence(tracing.read(form))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_a_trace_holds_every_part_of_a_conversation(form: tuple[int, str, str]) -> None:
    lines = tracing.read(form)
    ops = {(line["from"], line["payload"]["op"]) for line in lines}
    names = {line["payload"]["t"] for line in lines}

    assert {("client", op) for op in (1, 2, 3, 4, 6)} <= ops
    assert {"READY", "RESUMED", "MESSAGE_CREATE"} <= names
    assert ({("server", 10), ("server", 11)} <= ops) == dialect(form[0]).greets
    assert "trace-token" in str(lines)
    assert any("hex" in line for line in lines) == (form[1] == "etf" or form[2] != "none")
