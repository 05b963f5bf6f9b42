"""The base class of all invariants."""

from __future__ import annotations

from gateway_proto.testing.simulation.client_endpoint import ClientEndpoint
from gateway_proto.testing.simulation.client_process import ClientProcess
from gateway_proto.testing.simulation.config import SimulationConfig
from gateway_proto.testing.simulation.history import History
from gateway_proto.testing.simulation.network import Network
from gateway_proto.testing.simulation.observer import Observer
from gateway_proto.versions import VERSIONS, ProtocolVersion

__all__ = ["Invariant"]


class Invariant(Observer[ClientProcess, ClientEndpoint]):
    """A condition that must hold in every history. The class's name is its name.

    It overrides the methods of `Observer` that it needs.
    """

    def __init__(self, history: History, network: Network, config: SimulationConfig) -> None:
        self._history = history
        self._network = network
        self._config = config
        self._version: ProtocolVersion = VERSIONS[config.version]

    def check(self, holds: bool, what: str, bot: ClientProcess) -> None:
        """Raise `InvariantViolation` if the condition does not hold."""
        if not holds:
            raise self._history.broken(type(self).__name__, what, bot)
