"""caller's mistake → exception: the only exceptions that leave this package."""

from __future__ import annotations

__all__ = ["DataError", "GatewayProtoError", "GaveUpError", "LocalProtocolError", "RequestError"]


class GatewayProtoError(Exception):
    """The base of every exception that this package raises on purpose."""


class GaveUpError(GatewayProtoError):
    """The client stopped permanently: reconnecting cannot help, see `reason`.

    The adapters raise it at the end of the iteration over a gateway or over shards.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = reason
        """The same text as `GaveUp.reason`; of several shards, each with its id."""


class LocalProtocolError(GatewayProtoError, ValueError):
    """A call or a value of the caller that is invalid, or not allowed now; nothing was changed.

    What the peer or the network does never raises: it ends the connection with a `Closed` event.
    """


class DataError(GatewayProtoError, ValueError):
    """The data of a dispatch cannot be read, or is not of the type that was asked for.

    `Dispatch.data` and `Dispatch.decode` raise it. The event itself is valid, and its sequence
    is recorded.
    """


class RequestError(GatewayProtoError):
    """A request will not be answered: what an adapter's `request` raises for `RequestFailed`."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after: float | None = retry_after
        """Seconds, where the server limits the request and says for how long."""
