"""Client role: one connection, the lookup, and the client that reconnects."""
