"""Calls that end when their background task ends, because nothing would answer them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import anyio

from gateway_proto import LocalProtocolError

__all__ = ["OpenCalls"]


class OpenCalls:
    """Calls that are possible until the end of a background task."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._is_closed = False
        self.error: Exception | None = None
        """Exception that ended the background task."""

    def check(self) -> None:
        """Raise `LocalProtocolError`, or the exception of the background task, after its end."""
        if self.error is not None:
            raise self.error
        if self._is_closed:
            raise LocalProtocolError(
                "cannot send: the block of open_feed or open_commands has ended"
            )

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """End the block when the background task ends, and raise as `check` does."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            self.check()

    def end(self) -> None:
        """End all calls: the background task has ended."""
        self._is_closed = True
        for scope in self._scopes:
            scope.cancel()
