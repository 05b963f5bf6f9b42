"""Event → a word: a match that has every case, so that type checkers accept it."""

from __future__ import annotations

from typing import assert_never

from gateway_proto import (
    Closed,
    CommandsWait,
    DialFailed,
    DialPlanned,
    Dispatch,
    DispatchName,
    EncodingIgnored,
    Event,
    GatewayFound,
    GaveUp,
    HeartbeatAcked,
    HeartbeatLate,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    MalformedPayload,
    Opened,
    Ready,
    ReconnectRequested,
    RequestAnswered,
    RequestFailed,
    Resumed,
    SessionIgnored,
    SessionInvalidated,
    Suspended,
    Then,
    Unknown,
    UrlRefused,
)


def word(event: Event) -> str:
    """What it is about."""
    match event:
        case Hello() | Opened() | DialPlanned() | DialFailed() | GatewayFound() | UrlRefused():
            return "connecting"
        case Ready() | Resumed() | SessionInvalidated() | SessionIgnored():
            return "session"
        case IdentifySlotNeeded() | IdentifyBudgetSpent():
            return "waiting"
        case EncodingIgnored():
            return "encoding"
        case Dispatch(name=DispatchName.MESSAGE_CREATE):
            return "a message"
        case Dispatch():
            return event.name
        case HeartbeatSent() | HeartbeatAcked() | HeartbeatRequested() | HeartbeatLate():
            return "heartbeat"
        case RequestAnswered() | RequestFailed() | CommandsWait():
            return "requests"
        case ReconnectRequested() | Suspended() | GaveUp() | Unknown() | MalformedPayload():
            return "trouble"
        case Closed():
            return after(event.then)
        case _:
            assert_never(event)


def after(then: Then) -> str:
    """What comes next."""
    match then:
        case Then.RESUME:
            return "resumes"
        case Then.IDENTIFY:
            return "begins anew"
        case Then.STOP:
            return "ends"
        case _:
            assert_never(then)
