"""two peers, a fake wire, a fake clock → deterministic conversations, without a network."""

from gateway_proto.testing.link import Link, Peer

__all__ = ["Link", "Peer"]
