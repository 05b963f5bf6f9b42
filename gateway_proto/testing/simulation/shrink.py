"""Reduction of a failed history to the fewest kinds of faults that still fail."""

from __future__ import annotations

from collections.abc import Iterable

from gateway_proto.testing.simulation.fleet.simulation import FleetSimulation
from gateway_proto.testing.simulation.observer import InvariantViolation
from gateway_proto.testing.simulation.simulation import Simulation

__all__ = ["shrink"]


def shrink(
    broken: InvariantViolation,
    *,
    excluded_faults: Iterable[str] = (),
    simulation: type[Simulation] | type[FleetSimulation] = Simulation,
) -> InvariantViolation:
    """Leave out kinds of faults, first many and then single ones, while the same invariant fails.

    `broken` comes from `for_seed` of the class `simulation`, with the same `excluded_faults`. The
    reduction takes some tens of runs of the length of the first.
    """
    left_out = set(excluded_faults)
    size = len(simulation.fault_kinds) // 2
    while size:
        kinds = [kind for kind in simulation.fault_kinds if kind not in left_out]
        for at in range(0, len(kinds), size):
            fewer = {*left_out, *kinds[at : at + size]}
            found = _break(simulation, broken, fewer)
            if found is not None:
                broken, left_out = found, fewer
        size //= 2
    return broken


def _break(
    simulation: type[Simulation] | type[FleetSimulation],
    broken: InvariantViolation,
    excluded_faults: set[str],
) -> InvariantViolation | None:
    try:
        simulation.for_seed(broken.seed, excluded_faults=excluded_faults).run(2 * broken.at + 1.0)
    except InvariantViolation as found:
        return found if found.name == broken.name else None
    return None
