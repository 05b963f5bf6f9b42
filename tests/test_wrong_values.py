"""Each field of settings and commands, given each kind of wrong value: rejected, or it works."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

import attrs
import pytest

from gateway_proto import (
    Activity,
    Client,
    Command,
    Config,
    Heartbeat,
    Identify,
    IdentifyProperties,
    Intents,
    LocalProtocolError,
    RawCommand,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.client.command_encoding import encode_command
from gateway_proto.commands import VoiceServerPing
from gateway_proto.encoding import etf
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, World
from gateway_proto.testing import Link
from gateway_proto.versions import VERSIONS
from tests.wrong_values import ReprRaises, async_function

WRONG: dict[str, Any] = {
    "none": None,
    "text": "text",
    "empty text": "",
    "number as text": "60",
    "id as text": "175928847299117063",
    "line end": "a\r\nX: y",
    "control character": "a\0b",
    "lone surrogate": "\ud800",
    "long text": "x" * 100_000,
    "bytes": b"bytes",
    "bytearray": bytearray(b"1"),
    "empty list": [],
    "list of ints": [1, 2],
    "list of texts": ["a", "b"],
    "nested list": [[1], [2]],
    "list of None": [None],
    "tuple": (0, 1, 2),
    "tuple of floats": (0.0, 1.0),
    "set": {1},
    "empty dict": {},
    "dict": {"a": 1},
    "dict of codes": {4009: "identify"},
    "list of dicts": [{"what": "drop"}],
    "object": object(),
    "repr raises": ReprRaises(),
    "class": int,
    "module": math,
    "function": lambda: 0.5,
    "async function": async_function,
    "nan": math.nan,
    "infinity": math.inf,
    "negative": -1,
    "negative float": -0.5,
    "zero": 0,
    "fraction": 1.5,
    "whole float": 1.0,
    "complex": 1j,
    "huge": 10**400,
    "more digits than Python writes": 10**5000,
    "large float": 1e300,
    "true": True,
    "false": False,
}
"""Some are right for some fields."""


def _use_config(config: Config) -> None:
    link = Link(Client(config), Server())
    link.run(60)
    link.cut()
    link.run(60)


def _use_command(command: Any) -> None:
    for version in VERSIONS:
        for encoding in ("json", "etf") if etf.available() else ("json",):
            config = Config(
                token="t",
                version=version,
                encoding=encoding,
                intents=Intents.all() if VERSIONS[version].intents else None,
            )
            # Differences between versions are checked on sending.
            with contextlib.suppress(LocalProtocolError):
                encode_command(config, command)


def _use_server_config(config: ServerConfig) -> None:
    server = Server(config)
    link = Link(Client(_made(Config, "use_gateway_bot", True)), server)
    link.run(5)
    server.dispatch("MESSAGE_CREATE", {"guild_id": "1"}, now=link.now)
    link.run(60)


def _use_fault(fault: Fault) -> None:
    for on in ("upgrade", "open", "ready", "heartbeat"):
        _use_server_config(ServerConfig(scenario=Scenario([attrs.evolve(fault, on=on)])))


def _use_world(world: World) -> None:
    _use_server_config(ServerConfig(world=world))


def _use_part(part: Activity | IdentifyProperties) -> None:
    if isinstance(part, Activity):
        _use_command(UpdatePresence([part]))
    else:
        _use_command(Identify(token="t", intents=0, properties=part))


NEEDED: dict[type[Any], dict[str, Any]] = {
    Config: {"token": "t", "intents": 0, "gateway_url": "ws://localhost", "unix_offset": 0.0},
    Activity: {"name": "chess"},
    IdentifyProperties: {},
    UpdatePresence: {},
    UpdateVoiceState: {"guild_id": "1", "channel_id": "2"},
    RequestGuildMembers: {"guild_id": "1"},
    RequestSoundboardSounds: {"guild_ids": ["1"]},
    RequestChannelInfo: {"guild_id": "1", "fields": ["status"]},
    Identify: {"token": "t", "intents": 0},
    Resume: {"session_id": "s", "seq": 1},
    Heartbeat: {"d": 1},
    RawCommand: {"op": 3},
    ServerConfig: {},
    Fault: {"what": "close"},
    Scenario: {},
    World: {},
}
USE: dict[type[Any], Callable[[Any], None]] = {
    **dict.fromkeys(get_args(Command), _use_command),
    Activity: _use_part,
    IdentifyProperties: _use_part,
    Config: _use_config,
    ServerConfig: _use_server_config,
    Fault: _use_fault,
    Scenario: lambda scenario: _use_server_config(ServerConfig(scenario=scenario)),
    World: _use_world,
}


def _fields(type_: type[Any]) -> Iterator[str]:
    if attrs.has(type_):
        return (field.name for field in attrs.fields(type_))
    return iter(type_.__struct_fields__)


def _made(type_: type[Any], field: str, value: Any) -> Any:
    return type_(**{**NEEDED[type_], field: value})


def _problem(type_: type[Any], field: str, value: Any) -> str | None:
    """Return the problem with a wrong value of a field; None if it is rejected or works."""
    try:
        made = _made(type_, field, value)
    except LocalProtocolError as error:
        text = str(error)
        is_named = f"{type_.__name__}.{field}" in text and len(text) < 1000
        return None if is_named else f"rejected with {text:.300}"
    except Exception as error:
        return f"raises {error!r:.300}"
    try:
        USE[type_](made)
    except Exception as error:
        return f"is accepted as {getattr(made, field)!r:.100}, and its use raises {error!r:.300}"
    return None


@pytest.mark.parametrize(
    ("type_", "field"), [(type_, field) for type_ in NEEDED for field in _fields(type_)]
)
def test_wrong_value_is_rejected_by_name_or_works(type_: type[Any], field: str) -> None:
    problems = {kind: _problem(type_, field, value) for kind, value in WRONG.items()}

    assert {kind: problem for kind, problem in problems.items() if problem is not None} == {}


@pytest.mark.parametrize("type_", NEEDED)
def test_every_field_has_a_check(type_: type[Any]) -> None:
    checked = list(getattr(type_, "_CHECKS", ()))
    if attrs.has(type_):
        checked += [field.name for field in attrs.fields(type_) if field.validator is not None]

    assert set(checked) == set(_fields(type_))


def test_every_command_is_given_wrong_values() -> None:
    assert set(get_args(Command)) - NEEDED.keys() == {VoiceServerPing}


@pytest.mark.parametrize(
    ("type_", "field"),
    [
        (type_, field)
        for type_ in NEEDED
        for field in _fields(type_)
        if (type_, field) != (RawCommand, "d")  # which is any JSON value
    ],
)
def test_object_is_rejected_for_every_field(type_: type[Any], field: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"{type_.__name__}.{field} "):
        _made(type_, field, object())
