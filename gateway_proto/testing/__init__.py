"""Tests without a network, in virtual time.

`Link` connects one client and one server. `Simulation` runs many of them, with injected faults, and
`FleetSimulation` the shards of one bot on several machines.
"""

from gateway_proto.testing.link import Link, LinkSide
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.config import SimulationConfig
from gateway_proto.testing.simulation.fault_kinds import FAULT_KINDS
from gateway_proto.testing.simulation.fleet.config import FleetSimulationConfig
from gateway_proto.testing.simulation.fleet.fault_kinds import FLEET_FAULT_KINDS
from gateway_proto.testing.simulation.fleet.simulation import FleetReport, FleetSimulation
from gateway_proto.testing.simulation.observer import InvariantViolation
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.shrink import shrink
from gateway_proto.testing.simulation.simulation import Report, Simulation

__all__ = [
    "FAULT_KINDS",
    "FLEET_FAULT_KINDS",
    "ClientProcess",
    "FleetReport",
    "FleetSimulation",
    "FleetSimulationConfig",
    "InvariantViolation",
    "Link",
    "LinkSide",
    "Report",
    "SeededRandom",
    "Simulation",
    "SimulationConfig",
    "shrink",
]
