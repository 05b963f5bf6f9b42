"""Invariants: conditions that hold in every history of a simulation."""

from gateway_proto.testing.invariants.connection import (
    Bounded,
    NothingAfterClose,
    OnlyLocalProtocolError,
    SilentAfterClosed,
)
from gateway_proto.testing.invariants.delivery import (
    HandledOnce,
    LastSequence,
    LossIsTold,
    ReadyReplacesSession,
)
from gateway_proto.testing.invariants.heartbeats import (
    BeatsOnTime,
    NoFalseZombie,
    NoLongZombie,
    PauseIsNoSilence,
)
from gateway_proto.testing.invariants.invariant import Invariant
from gateway_proto.testing.invariants.limits import (
    DialLimit,
    IdentifyBudgetKept,
    IdentifyLimit,
    PresenceLimit,
    SendLimit,
)
from gateway_proto.testing.invariants.recovery import DOCUMENTED, GivesReason, ReadyAgain
from gateway_proto.testing.invariants.token import TokenIsHidden, TokenStaysHome

__all__ = [
    "DOCUMENTED",
    "INVARIANTS",
    "BeatsOnTime",
    "Bounded",
    "DialLimit",
    "GivesReason",
    "HandledOnce",
    "IdentifyBudgetKept",
    "IdentifyLimit",
    "Invariant",
    "LastSequence",
    "LossIsTold",
    "NoFalseZombie",
    "NoLongZombie",
    "NothingAfterClose",
    "OnlyLocalProtocolError",
    "PauseIsNoSilence",
    "PresenceLimit",
    "ReadyAgain",
    "ReadyReplacesSession",
    "SendLimit",
    "SilentAfterClosed",
    "TokenIsHidden",
    "TokenStaysHome",
]

INVARIANTS: tuple[type[Invariant], ...] = (
    HandledOnce,
    LossIsTold,
    LastSequence,
    ReadyReplacesSession,
    BeatsOnTime,
    NoFalseZombie,
    NoLongZombie,
    PauseIsNoSilence,
    SendLimit,
    PresenceLimit,
    IdentifyLimit,
    IdentifyBudgetKept,
    DialLimit,
    TokenStaysHome,
    TokenIsHidden,
    ReadyAgain,
    GivesReason,
    Bounded,
    NothingAfterClose,
    SilentAfterClosed,
    OnlyLocalProtocolError,
)
"""All invariants."""
