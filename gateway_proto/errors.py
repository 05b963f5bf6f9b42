"""Exceptions that this package raises."""

from __future__ import annotations

__all__ = ["DataError", "GatewayProtoError", "GaveUpError", "LocalProtocolError", "RequestError"]


class GatewayProtoError(Exception):
    """Base class of the exceptions of this package."""


class GaveUpError(GatewayProtoError):
    """The client stopped permanently: reconnecting cannot help, see `reason`.

    Adapters raise it at the end of the iteration over a gateway or over shards.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = reason
        """The text of `GaveUp.reason`. For several shards, each reason with its shard id."""


class LocalProtocolError(GatewayProtoError, ValueError):
    """Invalid argument of the caller, or a call that is not allowed now. Nothing was changed.

    Errors of the peer and the network never raise. They end the connection with a `Closed` event.
    """


class DataError(GatewayProtoError, ValueError):
    """The data of a dispatch cannot be decoded, or does not match the requested type.

    Raised by `Dispatch.data` and `Dispatch.decode`. The event itself is valid, and its sequence
    number is recorded.
    """


class RequestError(GatewayProtoError):
    """A request failed. Adapters raise it from `request` for the event `RequestFailed`."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after: float | None = retry_after
        """Seconds until the request may be repeated. None means the server named no time."""
