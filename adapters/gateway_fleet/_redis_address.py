"""URLs of `RedisStore`."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["is_url"]


def is_url(value: object) -> bool:
    """Whether a value is a URL with a host or a path, and a database that is a number."""
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        return False
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if it is out of range
    except ValueError:
        return False
    if parts.scheme == "unix":
        return len(parts.path) > 1
    # The client takes a database that is not a number for 0.
    return bool(parts.hostname) and re.fullmatch("(/[0-9]*)?", parts.path) is not None
