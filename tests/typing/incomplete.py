"""Event → a word: a match without `MalformedPayload` and a name that there is not: both refused."""

from __future__ import annotations

from typing import assert_never

from gateway_proto import (
    ClockJumped,
    Closed,
    CommandsDelayed,
    DialFailed,
    DialScheduled,
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
    Opened,
    ReconnectRequested,
    RequestAnswered,
    RequestFailed,
    SessionIgnored,
    SessionInvalidated,
    UnknownPayload,
    UrlRejected,
)


def word(event: Event) -> str:
    """What it is about."""
    match event:
        case Hello() | Opened() | DialScheduled() | DialFailed() | GatewayFound() | UrlRejected():
            return "connecting"
        case Dispatch(name=DispatchName.MESAGE_CREATE):
            return "a message"
        case EncodingIgnored():
            return "encoding"
        case Dispatch() | SessionInvalidated() | IdentifySlotNeeded() | IdentifyBudgetSpent():
            return "session"
        case HeartbeatSent() | HeartbeatAcked() | HeartbeatRequested() | HeartbeatLate():
            return "heartbeat"
        case RequestAnswered() | RequestFailed() | CommandsDelayed() | SessionIgnored():
            return "requests"
        case ReconnectRequested() | ClockJumped() | GaveUp() | UnknownPayload():
            return "trouble"
        case Closed():
            return "over"
        case _:
            assert_never(event)
