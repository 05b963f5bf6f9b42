"""Dispatches about messages that have not changed the world of a server yet.

A server that only dispatches never reads the messages of its world. So the dispatches wait until
the world is needed, encoded as they were sent. Those about messages that are older than the last
1,000 are dropped, and never decoded.
"""

from __future__ import annotations

from typing import Any

from gateway_proto._checks import as_id, is_id
from gateway_proto.server.world import World
from gateway_proto.server.world_lists import MAX_KEPT

__all__ = ["PendingMessages"]

_MAX_IDS = 4 * MAX_KEPT
_MAX_COUNT = 16 * MAX_KEPT
_MAX_BYTES = 16 * 2**20
_DELETION = "MESSAGE_DELETE"
_REPLACING = ("MESSAGE_CREATE", _DELETION)
"""Dispatches after which those before, about the same message, have no effect."""

Pending = tuple[str, bytes]
"""Name and data of a dispatch."""


class PendingMessages:
    """The dispatches that wait, by the id of their message."""

    def __init__(self) -> None:
        self._by_id: dict[str, list[Pending]] = {}
        self._count = 0
        self._size = 0  # bytes

    @property
    def is_full(self) -> bool:
        """Whether too many dispatches wait, or too many bytes."""
        return self._count > _MAX_COUNT or self._size > _MAX_BYTES

    def add(self, world: World, name: str, data: Any, raw: bytes) -> bool:
        """Keep a dispatch, if it has an effect; return False if the world has to change at once.

        `data` is that of the caller, and `raw` is the same encoded.
        """
        if type(data) is not dict or name == "MESSAGE_DELETE_BULK":
            return False
        value = data.get("message_id" if "REACTION" in name else "id")
        if type(value) not in (str, int):
            return False
        id_ = as_id(value)
        if not is_id(id_):
            return True
        if name in _REPLACING:
            self._remove(id_)
        elif id_ in self._by_id:
            self._put(id_, (name, raw))
            return True
        if name == "MESSAGE_CREATE" or world.message(id_) is not None:
            self._put(id_, (name, raw))
        return True

    def take(self) -> list[Pending]:
        """Return the dispatches that wait, in an order with the same effect; each once."""
        if not self._by_id:
            return []
        self._drop_oldest()
        taken = [pending for of_message in self._by_id.values() for pending in of_message]
        self.clear()
        return taken

    def clear(self) -> None:
        """Forget all dispatches."""
        self._by_id.clear()
        self._count = self._size = 0

    def _put(self, id_: str, pending: Pending) -> None:
        self._by_id.setdefault(id_, []).append(pending)
        self._count += 1
        self._size += len(pending[1])
        if len(self._by_id) > _MAX_IDS:
            self._drop_oldest()

    def _remove(self, id_: str) -> None:
        for _, raw in self._by_id.pop(id_, ()):
            self._count -= 1
            self._size -= len(raw)

    def _drop_oldest(self) -> None:
        """Drop what waits for messages that are older than the last 1,000."""
        exist = [id_ for id_, pending in self._by_id.items() if pending[-1][0] != _DELETION]
        for id_ in sorted(exist, key=int)[:-MAX_KEPT]:
            self._remove(id_)
