"""caller's mistake → exception: the only exceptions that leave this package."""

from __future__ import annotations

__all__ = ["GatewayProtoError", "LocalProtocolError"]


class GatewayProtoError(Exception):
    """The base of every exception that this package raises on purpose."""


class LocalProtocolError(GatewayProtoError):
    """You asked for something that is not allowed now or not valid; nothing was changed.

    What the peer or the network does never raises: it ends the connection with a `Closed` event.
    """
