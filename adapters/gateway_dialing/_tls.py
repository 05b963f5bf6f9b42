"""The TLS context of a gateway: the caller's, or the platform's default, made once."""

from __future__ import annotations

import ssl

__all__ = ["Tls"]


class Tls:
    """One TLS context for all dials of a gateway, or of a fleet of shards.

    The platform's default verifies certificates and host names; it is made on the first use, since
    it costs 50 ms and 0.8 MiB.
    """

    __slots__ = ("_context",)

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context

    @property
    def context(self) -> ssl.SSLContext:
        """The context to connect with."""
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context
