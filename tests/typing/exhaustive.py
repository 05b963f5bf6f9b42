"""Event → a word: a match that has every case, so that type checkers accept it."""

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
    MalformedPayload,
    NextAction,
    Opened,
    Ready,
    ReconnectRequested,
    RequestAnswered,
    RequestFailed,
    Resumed,
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
        case RequestAnswered() | RequestFailed() | CommandsDelayed():
            return "requests"
        case (
            ReconnectRequested() | ClockJumped() | GaveUp() | UnknownPayload() | MalformedPayload()
        ):
            return "trouble"
        case Closed():
            return after(event.next_action)
        case _:
            assert_never(event)


def after(then: NextAction) -> str:
    """What comes next."""
    match then:
        case NextAction.RESUME:
            return "resumes"
        case NextAction.IDENTIFY:
            return "starts a new session"
        case NextAction.STOP:
            return "ends"
        case _:
            assert_never(then)
