"""Invariants of ownership: one owner per shard, and no needless moves."""

from __future__ import annotations

from typing import Any

from gateway_proto.fleet import LogRecord
from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant
from gateway_proto.testing.simulation.fleet.observer import LogId

__all__ = ["OwnedAfterRecovery", "StableAssignment"]


class OwnedAfterRecovery(FleetInvariant):
    """After the faults each shard is READY at exactly one machine."""

    def fleet_recovered(self) -> None:
        """Check the owner of each shard, unless all Identifies of the day are spent."""
        for log in self._fleet.present_logs:
            if self._fleet.head(log).session is None and self._fleet.is_budget_spent():
                continue
            of = [one for one in self._fleet.members if one.generation.id == log.generation]
            members = [one.member for one in of if log.shard in one.membership.owned]
            self.check(len(members) == 1, f"its owners are {members}", log)
            owners = [one.owners[log.shard] for one in of if log.shard in one.owners]
            ready = [owner for owner in owners if owner.is_ready]
            self.check(len(owners) == len(ready) == 1, f"not one is READY: {owners}", log)


class StableAssignment(FleetInvariant):
    """No shard moves while the members stay the same."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._is_settled = False

    def settled(self) -> None:
        """Allow no claim from now on."""
        self._is_settled = True

    def appended(self, log: LogId, position: int, record: LogRecord) -> None:
        """Check that a record is not a claim."""
        moved = self._is_settled and record.claim
        self.check(not moved, f"{record.by} claimed it without a fault", log)

    def fleet_recovered(self) -> None:
        """Allow claims again."""
        self._is_settled = False
