"""Checks of the settings that the stores with an engine share."""

from __future__ import annotations

import ssl
from typing import Any

from gateway_proto._checks import Check, instance_of, integer, number, optional

__all__ = ["MAX_APPENDS", "REPLICAS", "RETENTION", "check_settings"]

MAX_APPENDS = 8
"""Maximum number of concurrent appends of a store: the next ones wait.

It bounds the memory of encoded records, which is also used again while it is in the processor's
cache: an event of 64 shards takes 9.7 us of CPU time with Redis, and 11.6 without the maximum.
"""
_SSL_CONTEXT = optional(instance_of(ssl.SSLContext, "an ssl.SSLContext"))
RETENTION = number(8, 10**9, "seconds")
_MAX_BYTES = integer(2**16, 2**53)
REPLICAS = Check(lambda value: type(value) is int and value in (1, 3, 5), "1, 3 or 5")
_TIMEOUT = number(0, 3600, "seconds", is_open=True)


def check_settings(*, retention: Any, max_bytes: Any, timeout: Any, ssl_context: Any) -> None:
    """Raise `LocalProtocolError` unless a store takes these settings."""
    RETENTION.named("retention", retention)
    _MAX_BYTES.named("max_bytes", max_bytes)
    _TIMEOUT.named("timeout", timeout)
    _SSL_CONTEXT.named("ssl_context", ssl_context)
