"""Log records of requests to a store that fail and are repeated until they succeed."""

from __future__ import annotations

import logging

import anyio

from gateway_fleet.store import StoreError
from gateway_proto.driver.log_text import clean

__all__ = ["StoreFailures"]

_log = logging.getLogger("gateway_proto.fleet")
_HEARTBEAT = "heartbeat"
_PATIENCE_SECONDS = 10.0
"""Time for which a request other than a heartbeat may fail before it is logged.

If the store is away, a heartbeat has failed by then, and one record is enough for all shards.
"""


class StoreFailures:
    """Failures of one member's requests: each has one record when it lasts, and one at its end.

    Requests are repeated without a limit, so without records nobody learns that they fail.
    """

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._logged: set[str] = set()

    def heartbeat(self, error: StoreError | None) -> None:
        """Note the result of a heartbeat."""
        self._note(_HEARTBEAT, error, 0.0)

    def request(self, what: str, error: StoreError | None) -> None:
        """Note the result of a request, such as "shard 3: append"."""
        if error is None or _HEARTBEAT not in self._began:
            self._note(what, error, _PATIENCE_SECONDS)

    def _note(self, what: str, error: StoreError | None, patience: float) -> None:
        if error is None:
            began = self._began.pop(what, None)
            if what in self._logged and began is not None:
                self._logged.remove(what)
                seconds = anyio.current_time() - began
                _log.info("%s: the store answers again after %.1f s", what, seconds)
            return
        now = anyio.current_time()
        if now - self._began.setdefault(what, now) >= patience and what not in self._logged:
            self._logged.add(what)
            _log.warning("%s: the store fails, trying again: %s", what, clean(str(error)))
