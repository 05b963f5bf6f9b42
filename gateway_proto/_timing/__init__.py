"""Heartbeats, rate limits, timers and backoff, as units that import nothing of the package."""
