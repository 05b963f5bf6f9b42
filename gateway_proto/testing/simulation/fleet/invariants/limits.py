"""Invariants of Identifies, over all machines of a token."""

from __future__ import annotations

from typing import Any

from gateway_proto.testing.simulation.fleet.invariants.base import FleetInvariant
from gateway_proto.testing.simulation.fleet.observer import OwnerView
from gateway_proto.timing.identify_budget import identify_key
from gateway_proto.versions import VERSIONS

__all__ = ["IdentifyBudgetKept", "IdentifyLimit"]

_ROUNDING = 1e-6


class IdentifyLimit(FleetInvariant):
    """Two Identifies of one key are at least 5 seconds apart, over all machines."""

    def __init__(self, *about: Any) -> None:
        super().__init__(*about)
        self._last: dict[int, float] = {}

    def identified(self, owner: OwnerView) -> None:
        """Compare the time with that of the last Identify of the key."""
        now = self._fleet.scheduler.now
        key = identify_key(owner.log.shard, self._config.max_concurrency)
        least = VERSIONS[10].identify_seconds - _ROUNDING
        last, self._last[key] = self._last.get(key), now
        if last is not None:
            what = f"{owner} identifies {now - last:.3f} s after another of key {key}"
            self.check(now - last >= least, what, owner.log)


class IdentifyBudgetKept(FleetInvariant):
    """The Identifies of all machines never exceed the budget of the token, less the reserve."""

    def identified(self, owner: OwnerView) -> None:
        """Compare the number of Identifies with the budget."""
        count = self._history.identifies
        most = self._config.identify_budget - self._fleet.kept_identifies
        what = f"{owner} sends the Identify {count}, but {most} are allowed"
        self.check(count <= most, what, owner.log)
