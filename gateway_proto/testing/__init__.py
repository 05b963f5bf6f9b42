"""Tests without a network, in virtual time.

`Link` connects one client and one server. `Simulation` runs many of them, with injected faults.
"""

from gateway_proto.testing.bot import Bot
from gateway_proto.testing.chance import Chance
from gateway_proto.testing.link import Link, Peer
from gateway_proto.testing.setting import Setting
from gateway_proto.testing.shrinking import shrink
from gateway_proto.testing.simulation import Report, Simulation
from gateway_proto.testing.trouble import KINDS
from gateway_proto.testing.watch import InvariantBroken

__all__ = [
    "KINDS",
    "Bot",
    "Chance",
    "InvariantBroken",
    "Link",
    "Peer",
    "Report",
    "Setting",
    "Simulation",
    "shrink",
]
