"""Conversion of events, commands and configs to the JSON data of a trace, and back."""

from __future__ import annotations

import base64
import contextlib
import enum
import math
import typing
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from gateway_proto import commands, events
from gateway_proto._layers import etf
from gateway_proto._layers.raw import from_raw_strictly
from gateway_proto.commands import UpdatePresence
from gateway_proto.config import Config
from gateway_proto.dialects import DIALECTS, Compression, Encoding
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.events import Dispatch, MalformedPayload, Unknown
from gateway_proto.faults import Fault, Scenario
from gateway_proto.server_config import ServerConfig
from gateway_proto.session import Session, fingerprint
from gateway_proto.world import World

__all__ = [
    "config_of",
    "data_of",
    "json_of_config",
    "json_of_data",
    "json_of_message",
    "json_of_server_config",
    "plain",
    "scenario_of",
    "server_config_of",
    "session_of",
    "value_of",
]

_HIDDEN = frozenset({"token", "fingerprint", "random"})
Json = dict[str, Any]


def plain(value: Any) -> Any:
    """Return a value as JSON data. Types of this package get their name in addition to fields."""
    match value:
        case enum.Enum():
            return value.value
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return json_of_data(value, readable=True)
        case Unknown():
            fields = _fields(value, but="raw")
            return {"type": "Unknown", **fields, "d": _decoded(value.raw)}
        case MalformedPayload():
            # The message itself is in the trace, complete and redacted.
            return {"type": "MalformedPayload", **_fields(value, but="excerpt")}
        case Dispatch():
            fields = _fields(value, but="_d")
            return {"type": type(value).__name__, **fields, "d": _decoded(value.raw)}
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return {"type": type(value).__name__, **_fields(value)}


def _names(type_: type[Any]) -> tuple[str, ...]:
    if issubclass(type_, msgspec.Struct):
        return type_.__struct_fields__
    # Other values have no JSON form; the recorded object rejects them.
    return tuple(f.name for f in attrs.fields(type_)) if attrs.has(type_) else ()


def _fields(value: Any, *, but: str = "") -> Json:
    names = (name for name in _names(type(value)) if name not in _HIDDEN and name != but)
    return {name: plain(getattr(value, name)) for name in names}


def _decoded(raw: bytes) -> Any:
    try:
        return from_raw_strictly(raw, Any)
    except DataError:
        return json_of_data(raw, readable=True)


def json_of_data(data: str | bytes, *, readable: bool = False) -> Json:
    """Return data as `{"text": ...}` for a str, `{"utf8": ...}` for bytes that are UTF-8 text.

    Other bytes are base64, which is short, or (`readable`) latin1, in which secrets are found yet.
    """
    if isinstance(data, str):
        return {"text": data}
    # Bytes with zeros are not text.
    if b"\0" not in data:
        with contextlib.suppress(UnicodeDecodeError):
            return {"utf8": data.decode()}
    if readable:
        return {"latin1": data.decode("latin-1")}
    return {"base64": base64.b64encode(data).decode()}


def data_of(json: Json) -> str | bytes:
    """Return the bytes or str of `json_of_data`. Raises KeyError or ValueError."""
    if "text" in json:
        return str(json["text"])
    if "utf8" in json:
        return str(json["utf8"]).encode()
    return base64.b64decode(json["base64"], validate=True)


def json_of_message(text: str | bytes) -> Json:
    """Return a sent message, decoded for readers."""
    is_term = isinstance(text, bytes) and text[:1] == etf.VERSION
    try:
        value = from_raw_strictly(text if isinstance(text, bytes) else text.encode(), Any)
    except DataError:
        return json_of_data(text, readable=True)
    return {"message": value, "etf": True} if is_term else {"message": value}


# ----- from JSON -----


def value_of(json: Any) -> Any:
    """Return the command or message of `plain`. Unknown fields are ignored.

    Raises KeyError, TypeError, ValueError or `LocalProtocolError`.
    """
    if not isinstance(json, dict):
        return json  # a value that was rejected
    name = json["type"]
    type_ = getattr(commands, name, None) if name in commands.__all__ else None
    if type_ is None and name in events.__all__:
        type_ = getattr(events, name)
    if type_ is None:
        return None  # a value that was rejected, or that a later version wrote
    if issubclass(type_, Dispatch):
        return Dispatch.of(json["name"], json["d"], json["sequence"])
    return _made(type_, json)


def _made(type_: type[Any], json: Json) -> Any:
    hints = typing.get_type_hints(type_)
    names = (name for name in _names(type_) if name in json)
    return type_(**{name: _argument(hints[name], json[name]) for name in names})


def _argument(hint: Any, value: Any) -> Any:
    # msgspec cannot build values whose defaults depend on other fields.
    if hint in (UpdatePresence, UpdatePresence | None):
        return None if value is None else _made(UpdatePresence, value)
    if hint is World:
        return World(value["guilds"], value["user"])
    if hint is Scenario:
        return scenario_of(value)
    return msgspec.convert(value, hint, strict=False)


def scenario_of(json: Json) -> Scenario:
    """Return the scenario of `plain`. Raises as `value_of` does."""
    return Scenario([_made(Fault, fault) for fault in json["faults"]])


def json_of_config(config: Config, token: str) -> Json:
    """Return a client's config as JSON data, with a placeholder for the token.

    Raises `LocalProtocolError` for a version that is not in `DIALECTS`.
    """
    version = config.dialect.version
    if DIALECTS.get(version) != config.dialect:
        raise LocalProtocolError(
            f"invalid Config.dialect of version {version}: a trace accepts those of DIALECTS"
        )
    json = {
        field.name: plain(getattr(config, field.name))
        for field in attrs.fields(Config)
        if field.name not in (*_HIDDEN, "dialect")
    }
    return {"token": token, "dialect": version, **json}


def config_of(json: Json, random: Any) -> Config:
    """Return the config of `json_of_config`.

    Raises KeyError, ValueError or `LocalProtocolError`.
    """
    hints = typing.get_type_hints(Config)
    hints |= {"compression": Compression, "encoding": Encoding, "dialect": int}
    arguments = {
        field.name: _argument(hints[field.name], json[field.name])
        for field in attrs.fields(Config)
        if field.name in json
    }
    return Config(**arguments, random=random)


def json_of_server_config(config: ServerConfig, tokens: list[str] | None) -> Json:
    """Return a server's config as JSON data, with placeholders for its tokens."""
    json = {
        field.name: plain(getattr(config, field.name))
        for field in attrs.fields(ServerConfig)
        if field.name not in ("tokens", "random")
    }
    return {"tokens": tokens, **json}


def server_config_of(json: Json, random: Any) -> ServerConfig:
    """Return the config of `json_of_server_config`. Raises as `config_of` does."""
    config: ServerConfig = _made(ServerConfig, json)
    return attrs.evolve(config, random=random)


def session_of(json: Json, config: Config) -> Session:
    """Return the session of `plain`, with the token of the config."""
    fields = {**json, "fingerprint": fingerprint(config.token)}
    return msgspec.convert(fields, Session)
