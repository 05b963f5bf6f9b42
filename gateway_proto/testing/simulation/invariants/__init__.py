"""Invariants: conditions that hold in every history of a simulation."""

from gateway_proto.testing.simulation.invariants.base import Invariant
from gateway_proto.testing.simulation.invariants.connection import (
    BoundedBuffers,
    NothingAfterClose,
    OnlyLocalProtocolError,
    SilentAfterClosed,
)
from gateway_proto.testing.simulation.invariants.delivery import (
    HandledOnce,
    LastSequence,
    ReadyReplacesSession,
    SessionLossReported,
)
from gateway_proto.testing.simulation.invariants.heartbeats import (
    HeartbeatsOnTime,
    LatenessReported,
    NoFalseZombie,
    PauseIsNotSilence,
    ZombieDetected,
)
from gateway_proto.testing.simulation.invariants.limits import (
    DialLimit,
    IdentifyBudgetKept,
    IdentifyLimit,
    PresenceLimit,
    SendLimit,
)
from gateway_proto.testing.simulation.invariants.recovery import (
    DOCUMENTED_REASONS,
    GivesReason,
    RecoversAfterOutage,
)
from gateway_proto.testing.simulation.invariants.token import TokenOnlyToTrustedHosts, TokenRedacted

__all__ = [
    "DOCUMENTED_REASONS",
    "INVARIANTS",
    "BoundedBuffers",
    "DialLimit",
    "GivesReason",
    "HandledOnce",
    "HeartbeatsOnTime",
    "IdentifyBudgetKept",
    "IdentifyLimit",
    "Invariant",
    "LastSequence",
    "LatenessReported",
    "NoFalseZombie",
    "NothingAfterClose",
    "OnlyLocalProtocolError",
    "PauseIsNotSilence",
    "PresenceLimit",
    "ReadyReplacesSession",
    "RecoversAfterOutage",
    "SendLimit",
    "SessionLossReported",
    "SilentAfterClosed",
    "TokenOnlyToTrustedHosts",
    "TokenRedacted",
    "ZombieDetected",
]

INVARIANTS: tuple[type[Invariant], ...] = (
    HandledOnce,
    SessionLossReported,
    LastSequence,
    ReadyReplacesSession,
    HeartbeatsOnTime,
    LatenessReported,
    NoFalseZombie,
    ZombieDetected,
    PauseIsNotSilence,
    SendLimit,
    PresenceLimit,
    IdentifyLimit,
    IdentifyBudgetKept,
    DialLimit,
    TokenOnlyToTrustedHosts,
    TokenRedacted,
    RecoversAfterOutage,
    GivesReason,
    BoundedBuffers,
    NothingAfterClose,
    SilentAfterClosed,
    OnlyLocalProtocolError,
)
"""All invariants."""
