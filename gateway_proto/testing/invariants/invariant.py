"""what happens → nothing, or InvariantBroken: what the invariants have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_proto.dialects import DIALECTS, Dialect
from gateway_proto.testing.setting import Setting

if TYPE_CHECKING:
    from gateway_proto.testing.bot import Bot
    from gateway_proto.testing.network import Network
    from gateway_proto.testing.watch import Watch

__all__ = ["Invariant"]


class Invariant:
    """One thing that must hold; the class's name is its name.

    It has methods of the names of those of `Watch`, for what it wants to see.
    """

    def __init__(self, watch: Watch, network: Network, setting: Setting) -> None:
        self._watch = watch
        self._network = network
        self._setting = setting
        self._dialect: Dialect = DIALECTS[setting.version]

    def check(self, holds: bool, what: str, bot: Bot) -> None:
        """Raise `InvariantBroken` where it does not hold."""
        if not holds:
            raise self._watch.broken(type(self).__name__, what, bot)
