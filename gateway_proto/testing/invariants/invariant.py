"""The base class of all invariants."""

from __future__ import annotations

from gateway_proto.dialects import DIALECTS, Dialect
from gateway_proto.testing.bot import Bot, BotEnd
from gateway_proto.testing.history import History
from gateway_proto.testing.network import Network
from gateway_proto.testing.setting import Setting
from gateway_proto.testing.watch import Watch

__all__ = ["Invariant"]


class Invariant(Watch[Bot, BotEnd]):
    """A condition that must hold in every history. The class's name is its name.

    It overrides the methods of `Watch` that it needs.
    """

    def __init__(self, history: History, network: Network, setting: Setting) -> None:
        self._history = history
        self._network = network
        self._setting = setting
        self._dialect: Dialect = DIALECTS[setting.version]

    def check(self, holds: bool, what: str, bot: Bot) -> None:
        """Raise `InvariantBroken` if the condition does not hold."""
        if not holds:
            raise self._history.broken(type(self).__name__, what, bot)
