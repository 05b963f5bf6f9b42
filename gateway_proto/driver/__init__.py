"""Loop-independent halves of the adapters: event queue, gateway, shards, server and logging."""

from gateway_proto.driver.event_queue import BaseGateway
from gateway_proto.driver.iteration import RoundRobin

__all__ = ["BaseGateway", "RoundRobin"]
