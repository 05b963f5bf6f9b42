"""TLS context of a gateway."""

from __future__ import annotations

import ssl

__all__ = ["Tls"]


class Tls:
    """TLS context for all dials of a gateway, or of all shards: the caller's or the default one.

    The platform's default verifies certificates and host names; it is made on the first use, since
    it costs 50 ms and 0.8 MiB.
    """

    __slots__ = ("_context",)

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context

    @property
    def context(self) -> ssl.SSLContext:
        """Context to connect with."""
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context
