"""Reduction of a failed history to the fewest kinds of faults that still fail."""

from __future__ import annotations

from collections.abc import Iterable

from gateway_proto.testing.simulation.fault_kinds import FAULT_KINDS
from gateway_proto.testing.simulation.observer import InvariantViolation
from gateway_proto.testing.simulation.simulation import Simulation

__all__ = ["shrink"]


def shrink(
    broken: InvariantViolation, *, excluded_faults: Iterable[str] = ()
) -> InvariantViolation:
    """Leave out kinds of faults, first many and then single ones, while the same invariant fails.

    `broken` comes from `Simulation.for_seed` with the same `excluded_faults`. The reduction takes
    some tens of runs of the length of the first.
    """
    left_out = set(excluded_faults)
    size = len(FAULT_KINDS) // 2
    while size:
        kinds = [kind for kind in FAULT_KINDS if kind not in left_out]
        for at in range(0, len(kinds), size):
            fewer = {*left_out, *kinds[at : at + size]}
            found = _break(broken.seed, fewer, broken.name, within=2 * broken.at + 1.0)
            if found is not None:
                broken, left_out = found, fewer
        size //= 2
    return broken


def _break(
    seed: int, excluded_faults: set[str], name: str, *, within: float
) -> InvariantViolation | None:
    try:
        Simulation.for_seed(seed, excluded_faults=excluded_faults).run(within)
    except InvariantViolation as broken:
        return broken if broken.name == name else None
    return None
