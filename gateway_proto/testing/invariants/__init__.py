"""what happens → nothing, or InvariantBroken: what must hold in every history, each by its name."""

from gateway_proto.testing.invariants.connection import (
    Bounded,
    OnlyLocalProtocolError,
    SilentAfterClosed,
)
from gateway_proto.testing.invariants.delivery import HandledOnce, LossIsTold
from gateway_proto.testing.invariants.heartbeats import BeatsOnTime, NoFalseZombie, NoLongZombie
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
    "LossIsTold",
    "NoFalseZombie",
    "NoLongZombie",
    "OnlyLocalProtocolError",
    "PresenceLimit",
    "ReadyAgain",
    "SendLimit",
    "SilentAfterClosed",
    "TokenIsHidden",
    "TokenStaysHome",
]

INVARIANTS: tuple[type[Invariant], ...] = (
    HandledOnce,
    LossIsTold,
    BeatsOnTime,
    NoFalseZombie,
    NoLongZombie,
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
    SilentAfterClosed,
    OnlyLocalProtocolError,
)
"""All of them."""
