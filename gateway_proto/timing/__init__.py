"""Units that depend on time: timers, heartbeat, backoff, rate limits and identify slots."""
