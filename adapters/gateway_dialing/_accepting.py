"""Pauses and log records after errors of accept()."""

from __future__ import annotations

import logging

__all__ = ["AcceptErrors"]

_PAUSE_SECONDS = 1.0
_QUIET_SECONDS = 60.0
_logger = logging.getLogger("gateway_proto.accept")


class AcceptErrors:
    """Pauses after errors of accept(), logged at most once per minute.

    Without file descriptors accept() fails at once, again and again, while the client waits in the
    listener's queue.
    """

    def __init__(self) -> None:
        self._quiet_until: float | None = None

    def pause(self, error: OSError, *, now: float) -> float:
        """Return the seconds after which to try again."""
        if isinstance(error, ConnectionError | InterruptedError):
            return 0.0  # that client disconnected; another may be in the queue
        if self._quiet_until is None or now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            reason = error.strerror or type(error).__name__
            _logger.error(
                "server: cannot accept connections: %s; it tries again every second", reason
            )
        return _PAUSE_SECONDS
