"""calls ↔ lines: what `gateway_proto.trace` is made of."""
