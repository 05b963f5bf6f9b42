"""Invariants of a fleet: conditions that hold in every history of a simulated fleet."""

from gateway_proto.testing.simulation.fleet.invariants.base import Fleet, FleetInvariant
from gateway_proto.testing.simulation.fleet.invariants.feed import ConsumedInOrder
from gateway_proto.testing.simulation.fleet.invariants.generations import (
    CancelLeavesNothing,
    ChangeEnds,
    CutoverOnce,
    NothingMissedAtCutover,
)
from gateway_proto.testing.simulation.fleet.invariants.limits import (
    IdentifyBudgetKept,
    IdentifyLimit,
)
from gateway_proto.testing.simulation.fleet.invariants.log import GapReported, LoggedOnce
from gateway_proto.testing.simulation.fleet.invariants.ownership import (
    OwnedAfterRecovery,
    StableAssignment,
)
from gateway_proto.testing.simulation.fleet.invariants.sessions import (
    DialsUnderLease,
    NoNeedlessIdentify,
)

__all__ = [
    "FLEET_INVARIANTS",
    "CancelLeavesNothing",
    "ChangeEnds",
    "ConsumedInOrder",
    "CutoverOnce",
    "DialsUnderLease",
    "Fleet",
    "FleetInvariant",
    "GapReported",
    "IdentifyBudgetKept",
    "IdentifyLimit",
    "LoggedOnce",
    "NoNeedlessIdentify",
    "NothingMissedAtCutover",
    "OwnedAfterRecovery",
    "StableAssignment",
]

FLEET_INVARIANTS: tuple[type[FleetInvariant], ...] = (
    OwnedAfterRecovery,
    LoggedOnce,
    GapReported,
    NoNeedlessIdentify,
    DialsUnderLease,
    IdentifyLimit,
    IdentifyBudgetKept,
    StableAssignment,
    ConsumedInOrder,
    ChangeEnds,
    CancelLeavesNothing,
    CutoverOnce,
    NothingMissedAtCutover,
)
"""All invariants of a fleet."""
