"""Conversion of events, commands and configs to the JSON data of a trace, and back."""

from __future__ import annotations

import base64
import contextlib
import enum
import json as std_json
import math
import re
import typing
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from gateway_proto import commands, events
from gateway_proto.commands import UpdatePresence
from gateway_proto.config import Config
from gateway_proto.encoding import ETF_VERSION, json_text
from gateway_proto.encoding.raw_value import decode_raw_strictly
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.events import Dispatch, MalformedPayload, UnknownPayload
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.faults import Fault, Scenario
from gateway_proto.server.world import World
from gateway_proto.session import Session, token_fingerprint
from gateway_proto.versions import VERSIONS, Compression, Encoding

__all__ = [
    "bytes_from_json",
    "bytes_to_json",
    "config_from_json",
    "config_to_json",
    "line_from_json",
    "line_to_json",
    "message_to_json",
    "scenario_from_json",
    "server_config_from_json",
    "server_config_to_json",
    "session_from_json",
    "to_json_value",
    "value_from_json",
]

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)
_HIDDEN = frozenset({"token", "token_fingerprint", "random"})
Json = dict[str, Any]


def line_to_json(fields: Json) -> str:
    """Return a line of a trace as JSON; lone surrogates are escaped."""
    try:
        return json_text(fields).decode()
    except UnicodeEncodeError:  # msgspec does not write them
        text = std_json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def line_from_json(text: str | bytes) -> Json:
    """Return the fields of a line. Raises msgspec.DecodeError, UnicodeError or RecursionError."""
    try:
        return msgspec.json.decode(text, type=Json)
    except msgspec.DecodeError:  # also because of a lone surrogate
        whole = text if isinstance(text, str) else text.decode(errors="replace")
        if _ESCAPED_SURROGATE.search(whole) is not None:
            with contextlib.suppress(ValueError):
                return msgspec.convert(std_json.loads(whole), Json)
        raise


def to_json_value(value: Any) -> Any:
    """Return a value as JSON data. Types of this package get their name in addition to fields."""
    match value:
        case enum.Enum():
            return value.value
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return bytes_to_json(value, readable=True)
        case UnknownPayload():
            fields = _fields(value, but="raw")
            return {"type": "UnknownPayload", **fields, "d": _decoded(value.raw)}
        case MalformedPayload():
            # The message itself is in the trace, complete and redacted.
            return {"type": "MalformedPayload", **_fields(value, but="excerpt")}
        case Dispatch():
            fields = _fields(value, but="_d")
            return {"type": type(value).__name__, **fields, "d": _decoded(value.raw)}
        case Mapping():
            return {str(key): to_json_value(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json_value(item) for item in value]
        case _:
            return {"type": type(value).__name__, **_fields(value)}


def _names(type_: type[Any]) -> tuple[str, ...]:
    if issubclass(type_, msgspec.Struct):
        return type_.__struct_fields__
    # Other values have no JSON form; the recorded object rejects them.
    return tuple(f.name for f in attrs.fields(type_)) if attrs.has(type_) else ()


def _fields(value: Any, *, but: str = "") -> Json:
    names = (name for name in _names(type(value)) if name not in _HIDDEN and name != but)
    return {name: to_json_value(getattr(value, name)) for name in names}


def _decoded(raw: bytes) -> Any:
    try:
        return decode_raw_strictly(raw, Any)
    except DataError:
        return bytes_to_json(raw, readable=True)


def bytes_to_json(data: str | bytes, *, readable: bool = False) -> Json:
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


def bytes_from_json(json: Json) -> str | bytes:
    """Return the bytes or str of `bytes_to_json`. Raises KeyError or ValueError."""
    if "text" in json:
        return str(json["text"])
    if "utf8" in json:
        return str(json["utf8"]).encode()
    return base64.b64decode(json["base64"], validate=True)


def message_to_json(text: str | bytes) -> Json:
    """Return a sent message, decoded for readers."""
    is_term = isinstance(text, bytes) and text[:1] == ETF_VERSION
    try:
        value = decode_raw_strictly(text if isinstance(text, bytes) else text.encode(), Any)
    except DataError:
        return bytes_to_json(text, readable=True)
    return {"message": value, "etf": True} if is_term else {"message": value}


# ----- from JSON -----


def value_from_json(json: Any) -> Any:
    """Return the command or message of `to_json_value`. Unknown fields are ignored.

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
        return scenario_from_json(value)
    return msgspec.convert(value, hint, strict=False)


def scenario_from_json(json: Json) -> Scenario:
    """Return the scenario of `to_json_value`. Raises as `value_from_json` does."""
    return Scenario([_made(Fault, fault) for fault in json["faults"]])


def config_to_json(config: Config, token: str) -> Json:
    """Return a client's config as JSON data, with a placeholder for the token.

    Raises `LocalProtocolError` for a version that is not in `VERSIONS`.
    """
    version = config.version.number
    if VERSIONS.get(version) != config.version:
        raise LocalProtocolError(
            f"invalid Config.version of version {version}: a trace accepts those of VERSIONS"
        )
    json = {
        field.name: to_json_value(getattr(config, field.name))
        for field in attrs.fields(Config)
        if field.name not in (*_HIDDEN, "version")
    }
    return {"token": token, "version": version, **json}


def config_from_json(json: Json, random: Any) -> Config:
    """Return the config of `config_to_json`.

    Raises KeyError, ValueError or `LocalProtocolError`.
    """
    hints = typing.get_type_hints(Config)
    hints |= {"compression": Compression, "encoding": Encoding, "version": int}
    arguments = {
        field.name: _argument(hints[field.name], json[field.name])
        for field in attrs.fields(Config)
        if field.name in json
    }
    return Config(**arguments, random=random)


def server_config_to_json(config: ServerConfig, tokens: list[str] | None) -> Json:
    """Return a server's config as JSON data, with placeholders for its tokens."""
    json = {
        field.name: to_json_value(getattr(config, field.name))
        for field in attrs.fields(ServerConfig)
        if field.name not in ("tokens", "random")
    }
    return {"tokens": tokens, **json}


def server_config_from_json(json: Json, random: Any) -> ServerConfig:
    """Return the config of `server_config_to_json`. Raises as `config_from_json` does."""
    config: ServerConfig = _made(ServerConfig, json)
    return attrs.evolve(config, random=random)


def session_from_json(json: Json, config: Config) -> Session:
    """Return the session of `to_json_value`, with the token of the config."""
    fields = {**json, "token_fingerprint": token_fingerprint(config.token)}
    return msgspec.convert(fields, Session)
