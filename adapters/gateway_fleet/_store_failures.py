"""Log records of requests to a store that fail and are repeated until they succeed."""

from __future__ import annotations

import logging

import anyio

from gateway_fleet.store import StoreError
from gateway_proto.driver.log_text import clean

__all__ = ["StoreFailures"]

_log = logging.getLogger("gateway_proto.fleet")
_HEARTBEAT = None, "heartbeat"
_PATIENCE_SECONDS = 10.0
"""Time for which a request other than a heartbeat may fail before it is logged.

If the store is away, a heartbeat has failed by then, and one record is enough for all shards.
"""


class _Failure:
    """A request that fails since a time, in seconds."""

    __slots__ = ("began", "is_logged")

    def __init__(self, began: float) -> None:
        self.began = began
        self.is_logged = False


class StoreFailures:
    """Failures of one member's requests: each has one record when it lasts, and one at its end.

    Requests are repeated without a limit, so without records nobody learns that they fail.
    """

    def __init__(self) -> None:
        self._failures: dict[tuple[int | None, str], _Failure] = {}

    def heartbeat(self, error: StoreError | None) -> None:
        """Note the result of a heartbeat."""
        self._note(_HEARTBEAT, error, 0.0)

    def request(self, shard_id: int | None, what: str, error: StoreError | None) -> None:
        """Note the result of a request for a shard, or for all of them, such as "append"."""
        if error is None or _HEARTBEAT not in self._failures:
            self._note((shard_id, what), error, _PATIENCE_SECONDS)

    def forget(self, shard_id: int) -> None:
        """Forget the requests for a shard that is given away: they are not repeated."""
        for key in [key for key in self._failures if key[0] == shard_id]:
            del self._failures[key]

    def _note(self, key: tuple[int | None, str], error: StoreError | None, patience: float) -> None:
        if error is None:
            failure = self._failures.pop(key, None)
            if failure is not None and failure.is_logged:
                seconds = anyio.current_time() - failure.began
                _log.info("%s: the store answers again after %.1f s", _text(key), seconds)
            return
        now = anyio.current_time()
        failure = self._failures.setdefault(key, _Failure(now))
        if now - failure.began >= patience and not failure.is_logged:
            failure.is_logged = True
            _log.warning("%s: the store fails, trying again: %s", _text(key), clean(str(error)))


def _text(key: tuple[int | None, str]) -> str:
    shard_id, what = key
    return what if shard_id is None else f"shard {shard_id}: {what}"
