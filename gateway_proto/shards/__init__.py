"""Shards of one process: the plan, identify slots, and the manager of their clients."""

from gateway_proto.shard_ids import shard_of
from gateway_proto.shards.manager import ShardManager
from gateway_proto.shards.plan import IdentifyQueue, ShardPlan
from gateway_proto.timing.identify import SlotQueue

__all__ = ["IdentifyQueue", "ShardManager", "ShardPlan", "SlotQueue", "shard_of"]
