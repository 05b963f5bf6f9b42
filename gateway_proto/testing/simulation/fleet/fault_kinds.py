"""The kinds of faults that the simulation of a fleet injects."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway_proto.testing.simulation.fault_kinds import FAULT_KINDS

__all__ = ["FLEET_FAULT_KINDS"]

_OF_CONNECTIONS = ("cut", "silence", "restart", "reconnect", "invalidate", "expire")

FLEET_FAULT_KINDS: Mapping[str, str] = MappingProxyType(
    {
        # machines
        "machine_crash": "a machine ends at once, with or without closing its connections",
        "machine_stall": "a machine stops for up to 40 s; its monotonic clock may stand still",
        "machine_drain": "a machine gives its shards away, ends, and starts again",
        # consumers
        "consumer_crash": "a consumer of the feed ends at once, and starts again",
        "consumer_stall": "a consumer stops for up to 40 s",
        "consumer_drain": "a consumer gives its shards away, ends, and starts again",
        "consumer_cut": "a consumer does not reach the store for up to 40 s",
        # the store
        "store_cut": "a machine does not reach the store for up to 40 s",
        "store_slow": "a request to the store, or its answer, takes up to 25 s",
        "store_away": "the store is down for up to 20 s; it keeps what it has acknowledged",
        "store_rewind": "a failover of the store: the last records of a shard's log are gone",
        # the operator
        "reshard": "the change to another number of shards begins, if none is under way",
        "reshard_cancel": "the change to another number of shards is cancelled while it prepares",
        # servers and connections
        **{kind: FAULT_KINDS[kind] for kind in _OF_CONNECTIONS},
    }
)
"""The description of each kind of fault, by name."""
