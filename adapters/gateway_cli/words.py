"""Text of events, on one line and without a token."""

from __future__ import annotations

import enum
import json
import logging
import os
import re
from typing import Any

import attrs
import msgspec

from gateway_cli.escaping import NOT_AS_JSON
from gateway_proto import (
    Closed,
    DialScheduled,
    Dispatch,
    Heartbeat,
    HeartbeatAcked,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    Identify,
    Opened,
    Ready,
    RequestAnswered,
    Resume,
    Resumed,
    UnknownPayload,
    UpdatePresence,
)
from gateway_proto.driver import log_text
from gateway_proto.driver.log_text import clean
from gateway_proto.server import HttpRequested

__all__ = [
    "colour_of",
    "data_of",
    "describe",
    "describe_trace_event",
    "fields_of",
    "plain",
    "reason_of",
]

_WIDEST = 100
_OK, _NORMAL_CLOSURE = 200, 1000


def describe(event: Any) -> str:
    """Return what happened in a few words; never with a token or the query of a URL."""
    match event:
        case DialScheduled(purpose=purpose, url=url, reason=reason):
            delay = f" in {event.delay:.1f} s" if event.delay >= 0.05 else ""
            return f"{purpose.value} at {clean(url)}{delay} ({reason})"
        case Opened(path):
            return f"connected: the WebSocket is open, {path}"
        case Hello(heartbeat_interval):
            return f"HELLO, a heartbeat every {heartbeat_interval} ms"
        case Ready():
            return f"READY, session {event.session_id[:8]}..., sequence {event.sequence}"
        case Resumed():
            return f"RESUMED, sequence {event.sequence}"
        case Dispatch():
            return f"{event.name} #{_word(event.sequence)} {_short(_of_data(event))}"
        case HeartbeatSent(d) | Heartbeat(d):
            return f"heartbeat {_word(d)}"
        case HeartbeatAcked(latency):
            return "heartbeat ACK" + ("" if latency is None else f", {latency * 1000:.1f} ms")
        case HeartbeatRequested():
            return "the server asks for a heartbeat"
        case UnknownPayload():
            return f"unknown payload, op {_word(event.op)}, {_or_none(event.message)}"
        case RequestAnswered():
            return f"{type(event.request).__name__} answered"
        case Identify():
            return _of_identify(event)
        case Resume():
            return f"Resume of {event.session_id[:8]}... after sequence {_word(event.seq)}"
        case UpdatePresence():
            playing = ", ".join(activity.name for activity in event.activities) or "nothing"
            since = "" if event.since is None else f", idle since {event.since}"
            return f"status {event.status}, playing {playing}{since}"
        case HttpRequested(method, path, status):
            return f"{method} {path} -> {status}"
        case _:
            return log_text.describe(event) or _short(_in_words(event))


def colour_of(event: Any) -> str:
    """Return the colour of an event's text on a terminal; "" is that of the terminal."""
    if isinstance(event, Ready | Resumed):
        return "green"
    level = log_text.level_of(event)
    is_lost = isinstance(event, Closed) and event.code not in (_OK, _NORMAL_CLOSURE)
    if level >= logging.ERROR:
        return "red"
    return "yellow" if is_lost or level >= logging.WARNING else ""


def reason_of(error: Exception) -> str:
    """Return why a system call failed, without the address, which the loop's text repeats."""
    number = getattr(error, "errno", None)
    if number is not None and number > 0:
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error)


def describe_trace_event(event: dict[str, Any]) -> str:
    """Return what a trace has about an event, in a few words."""
    match event["type"]:
        case "DialScheduled":
            delay = f" in {event['delay']:.1f} s" if event["delay"] >= 0.05 else ""
            return f"{event['purpose']}{delay}: {event['reason']}"
        case "Closed":
            code = "no close frame" if event["code"] is None else event["code"]
            reason = event["error"] or event["reason"]
            ended = f"{code} by {event['initiator']}, then {event['next_action']}"
            return f"{ended}: {reason}" if reason else ended
        case "Ready":
            return f"session {event['session_id'][:8]}..., sequence {event['sequence']}"
        case "SessionInvalidated":
            return "resumable" if event["resumable"] else "not resumable"
        case "ReconnectRequested":
            return f"op 7, to {event['url'] or 'another connection'}"
        case _:
            hidden = ("type", "d", "name", "request")
            fields = [f"{k} {v}" for k, v in event.items() if k not in hidden and v is not None]
            return ", ".join(fields)


def data_of(dispatch: Dispatch) -> tuple[Any, str | None]:
    """Return the data of a dispatch, or None and why it cannot be decoded."""
    try:
        return dispatch.data, None
    except Exception as error:  # whatever a server sends is its own
        return None, f"the data cannot be decoded: {error or type(error).__name__}"


def fields_of(event: Any) -> dict[str, Any]:
    """Return the fields that are shown: a token is not."""
    if isinstance(event, msgspec.Struct):
        shown = getattr(event, "__rich_repr__", None)
        if shown is not None:
            return dict(shown())
        return {name: getattr(event, name) for name in event.__struct_fields__}
    return {
        field.name: getattr(event, field.name) for field in attrs.fields(type(event)) if field.repr
    }


def _kind_of(value: Any) -> str:
    """Return the name of a class as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(value).__name__).lower()


def plain(value: Any) -> Any:
    """Return what JSON writes for a value that is not of JSON's own types."""
    if isinstance(value, enum.Enum):
        return value.value
    is_value = isinstance(value, msgspec.Struct) or attrs.has(type(value))
    return fields_of(value) if is_value else str(value)


def _of_data(dispatch: Dispatch) -> str:
    data, error = data_of(dispatch)
    if error is not None:
        return error
    try:
        return json.dumps(data, ensure_ascii=False, default=plain)
    except NOT_AS_JSON as problem:
        return f"the data cannot be written as JSON: {problem}"


def _of_identify(identify: Identify) -> str:
    words = ["Identify"]
    if identify.intents is not None:
        words.append(f"intents {int(identify.intents)}")
    if identify.shard is not None:
        words.append(f"shard {identify.shard[0]} of {identify.shard[1]}")
    if identify.compress:
        words.append("compressed")
    if identify.presence is not None:
        words.append(describe(identify.presence))
    return ", ".join(words)


def _in_words(event: Any) -> str:
    is_value = isinstance(event, msgspec.Struct) or attrs.has(type(event))
    fields = fields_of(event) if is_value else {}
    shown = [f"{name.replace('_', ' ')} {_word(v)}" for name, v in fields.items() if v is not None]
    return ", ".join([_kind_of(event), *shown])


def _word(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case bytes():
            return f"of {len(value)} bytes"
        case list() | tuple() | set() | frozenset():
            return " ".join(map(_word, value)) or "none"
        case enum.Enum():
            return str(value.value)
        case _ if isinstance(value, msgspec.Struct) or attrs.has(type(value)):
            return f"({_in_words(value)})"
        case _:
            return str(value)


def _or_none(message: str | None) -> str:
    return "no message" if message is None else message


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
