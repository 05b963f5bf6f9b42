"""Level and text of the log record of each event; the command line shares most texts.

A record never contains `d`, the token or the query of a URL. Control characters in texts of the
peer are escaped.
"""

from __future__ import annotations

import re

from gateway_proto._redaction import without_token
from gateway_proto.events import (
    ClockJumped,
    Closed,
    CommandsDelayed,
    DialFailed,
    DialScheduled,
    Dispatch,
    EncodingIgnored,
    Event,
    GatewayFound,
    GaveUp,
    HeartbeatLate,
    HttpRequested,
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    MalformedPayload,
    Opened,
    Ready,
    ReconnectRequested,
    RequestFailed,
    Resumed,
    ServerEvent,
    SessionIgnored,
    SessionInvalidated,
    UnknownPayload,
    UrlRejected,
)
from gateway_proto.versions import NextAction

__all__ = ["DEBUG", "clean", "describe", "level_of", "text_of"]

# Levels of the standard library's `logging`, which only `event_queue.py` imports.
DEBUG, _INFO, _WARNING, _ERROR = 10, 20, 30, 40

_LEVELS: dict[type, int] = {
    Closed: _INFO,
    CommandsDelayed: _WARNING,
    DialFailed: _WARNING,
    DialScheduled: _INFO,
    EncodingIgnored: _WARNING,
    GatewayFound: _INFO,
    GaveUp: _ERROR,
    HeartbeatLate: _WARNING,
    IdentifyBudgetSpent: _WARNING,
    IdentifySlotNeeded: _INFO,
    MalformedPayload: _WARNING,
    Opened: _INFO,
    Ready: _INFO,
    ReconnectRequested: _INFO,
    RequestFailed: _INFO,
    Resumed: _INFO,
    SessionIgnored: _WARNING,
    SessionInvalidated: _INFO,
    ClockJumped: _WARNING,
    UrlRejected: _WARNING,
}
_QUERY = re.compile(r"(\w://[^\s?#]*)[?#]\S*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_TEXT_LENGTH = 500
_OK = 200
_FIRST_CLOSE_CODE = 1000
"""Numbers below it are statuses of HTTP: RFC 6455, section 7.4.2."""


def level_of(event: object) -> int:
    """Return the level at which an event is logged."""
    if type(event) is Closed and (_is_refusal(event) or _is_without_session(event)):
        return _WARNING
    return _LEVELS.get(type(event), DEBUG)


def text_of(event: Event | ServerEvent) -> str:
    """Return the text of an event's log record; pass it to `clean`."""
    match event:
        case DialScheduled(purpose=purpose, url=url, delay=delay, reason=reason):
            return f"dial scheduled in {delay:.1f} s: {purpose.value} at {clean(url)} ({reason})"
        case Opened():
            return "connected: the WebSocket is open"
        case Ready():
            return "READY: a new session"
        case Resumed():
            return "RESUMED: the session continues"
        case Dispatch():
            return f"op 0 {event.name}, sequence {event.sequence}, {len(event.raw)} bytes"
        case UnknownPayload(op, raw):
            return f"unknown op {op!r}, {len(raw)} bytes"
        case HttpRequested(method, path, status):
            return f"{method} {path.partition('?')[0]}: {status}"
        case _:
            return describe(event) or type(event).__name__


def describe(event: Event | ServerEvent) -> str | None:
    """Return the text that the log and the command line share; None if they show other fields."""
    match event:
        case DialFailed(url, error):
            return f"could not connect to {clean(url)}: {error}"
        case GatewayFound(url, shards):
            recommended = "" if shards is None else f", recommended shards: {shards}"
            return f"the lookup returned {clean(url)}{recommended}"
        case Closed():
            return _closed(event)
        case GaveUp(reason):
            return f"gave up: {reason}"
        case ClockJumped(seconds):
            return f"Unix time jumped by {seconds:.1f} s: system suspend, or the clock was set"
        case HeartbeatLate(seconds):
            return f"a heartbeat was {seconds:.1f} s late: the event loop was blocked"
        case CommandsDelayed(count, seconds):
            return f"{count} commands wait for the rate limit, the first for {seconds:.1f} s"
        case UrlRejected(url, why):
            return f"rejected the URL {clean(url)}: {why}"
        case MalformedPayload(error):
            return f"malformed payload: {error}"
        case ReconnectRequested(to):
            return "the server asks for a reconnect" + ("" if to is None else f" to {clean(to)}")
        case SessionIgnored(reason):
            return f"the stored session is not used: {reason}"
        case SessionInvalidated(resumable):
            return f"the server invalidated the session, {'' if resumable else 'not '}resumable"
        case EncodingIgnored(expected, received):
            return f"the server sends {received.value} instead of the requested {expected.value}"
        case IdentifySlotNeeded(_, key):
            return f"waiting for an identify slot of key {key}"
        case IdentifyBudgetSpent(None, reason):
            return f"no Identify is possible: {reason}"
        case IdentifyBudgetSpent(seconds, reason):
            return f"no Identify is possible for {seconds:.0f} s: {reason}"
        case RequestFailed(_, request, why):
            return f"{type(request).__name__} failed: {why}"
        case _:
            return None


def clean(text: str, token: str = "") -> str:
    """Remove the token and the queries of URLs, escape control characters, and shorten."""
    text = _QUERY.sub(r"\1", without_token(text, token))
    text = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
    return text if len(text) <= _MAX_TEXT_LENGTH else text[:_MAX_TEXT_LENGTH] + "..."


def _is_refusal(closed: Closed) -> bool:
    """Whether a lookup or an upgrade was refused: only these have an HTTP status, 300 or more."""
    return closed.code is not None and 300 <= closed.code < _FIRST_CLOSE_CODE


def _is_without_session(closed: Closed) -> bool:
    """Whether a client has no session after an end that is not a complete lookup.

    A program at the wrong port may end all connections so: the default log shows warnings alone.
    """
    is_complete = closed.code == _OK and closed.error is None
    return closed.next_action is NextAction.IDENTIFY and not is_complete


def _closed(closed: Closed) -> str:
    why = closed.error or closed.reason
    if closed.code == _OK and closed.error is None:
        text = "HTTP exchange complete"
    elif closed.code is not None and closed.code < _FIRST_CLOSE_CODE:
        text = f"HTTP exchange ended with status {closed.code}"
    else:
        code = "without a close code" if closed.code is None else f"with {closed.code}"
        text = f"connection closed {code} by {closed.initiator.value}"
    # The next event tells whether a client dials again after a refusal, or gives up.
    if closed.next_action is not NextAction.STOP and not _is_refusal(closed):
        text += f", next: {closed.next_action.value}"
    return f"{text} ({why})" if why else text
