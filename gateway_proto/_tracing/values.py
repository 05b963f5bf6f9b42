"""values ↔ JSON: events, commands and configs as a trace writes and reads them."""

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
    """A value as JSON has it; what crosses the border has its type beside its fields."""
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
            # The message itself is in the trace, whole and without secrets.
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
    # What is no value of this package has none; the machine refuses it.
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
    """Bytes or a text: `{"text": ...}` for a text, `{"utf8": ...}` for bytes that hold one.

    Other bytes are base64, which is short, or (`readable`) latin1, in which secrets are found yet.
    """
    if isinstance(data, str):
        return {"text": data}
    # What has zeros in it is no text.
    if b"\0" not in data:
        with contextlib.suppress(UnicodeDecodeError):
            return {"utf8": data.decode()}
    if readable:
        return {"latin1": data.decode("latin-1")}
    return {"base64": base64.b64encode(data).decode()}


def data_of(json: Json) -> str | bytes:
    """The bytes, or the text, of `json_of_data`; raises KeyError or ValueError."""
    if "text" in json:
        return str(json["text"])
    if "utf8" in json:
        return str(json["utf8"]).encode()
    return base64.b64decode(json["base64"], validate=True)


def json_of_message(text: str | bytes) -> Json:
    """A message that was sent: decoded, so that people can read it."""
    is_term = isinstance(text, bytes) and text[:1] == etf.VERSION
    try:
        value = from_raw_strictly(text if isinstance(text, bytes) else text.encode(), Any)
    except DataError:
        return json_of_data(text, readable=True)
    return {"message": value, "etf": True} if is_term else {"message": value}


# ----- back again -----


def value_of(json: Any) -> Any:
    """The command or message of `plain`; fields that are not known are passed over.

    Raises KeyError, TypeError, ValueError or `LocalProtocolError`.
    """
    if not isinstance(json, dict):
        return json  # what the machine refused
    name = json["type"]
    type_ = getattr(commands, name, None) if name in commands.__all__ else None
    if type_ is None and name in events.__all__:
        type_ = getattr(events, name)
    if type_ is None:
        return None  # what the machine refused, or a later version's
    if issubclass(type_, Dispatch):
        return Dispatch.of(json["name"], json["d"], json["sequence"])
    return _made(type_, json)


def _made(type_: type[Any], json: Json) -> Any:
    hints = typing.get_type_hints(type_)
    names = (name for name in _names(type_) if name in json)
    return type_(**{name: _argument(hints[name], json[name]) for name in names})


def _argument(hint: Any, value: Any) -> Any:
    # msgspec does not build values whose defaults look at other fields.
    if hint in (UpdatePresence, UpdatePresence | None):
        return None if value is None else _made(UpdatePresence, value)
    if hint is World:
        return World(value["guilds"], value["user"])
    if hint is Scenario:
        return scenario_of(value)
    return msgspec.convert(value, hint, strict=False)


def scenario_of(json: Json) -> Scenario:
    """The scenario of `plain`; raises as `value_of` does."""
    return Scenario([_made(Fault, fault) for fault in json["faults"]])


def json_of_config(config: Config, token: str) -> Json:
    """All that a client is told, with a placeholder for the token.

    Raises `LocalProtocolError` for a dialect that is none of `DIALECTS`.
    """
    version = config.dialect.version
    if DIALECTS.get(version) != config.dialect:
        raise LocalProtocolError(
            f"the dialect of this config is not that of version {version}: a trace can name "
            "those of DIALECTS alone"
        )
    json = {
        field.name: plain(getattr(config, field.name))
        for field in attrs.fields(Config)
        if field.name not in (*_HIDDEN, "dialect")
    }
    return {"token": token, "dialect": version, **json}


def config_of(json: Json, random: Any) -> Config:
    """The config of `json_of_config`; raises KeyError, ValueError or `LocalProtocolError`."""
    hints = typing.get_type_hints(Config)
    hints |= {"compression": Compression, "encoding": Encoding, "dialect": int}
    arguments = {
        field.name: _argument(hints[field.name], json[field.name])
        for field in attrs.fields(Config)
        if field.name in json
    }
    return Config(**arguments, random=random)


def json_of_server_config(config: ServerConfig, tokens: list[str] | None) -> Json:
    """All that a server is told, with placeholders for its tokens."""
    json = {
        field.name: plain(getattr(config, field.name))
        for field in attrs.fields(ServerConfig)
        if field.name not in ("tokens", "random")
    }
    return {"tokens": tokens, **json}


def server_config_of(json: Json, random: Any) -> ServerConfig:
    """The config of `json_of_server_config`; raises as `config_of` does."""
    config: ServerConfig = _made(ServerConfig, json)
    return attrs.evolve(config, random=random)


def session_of(json: Json, config: Config) -> Session:
    """The session of `plain`, as one of the config's token."""
    fields = {**json, "fingerprint": fingerprint(config.token)}
    return msgspec.convert(fields, Session)
