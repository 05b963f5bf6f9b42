"""Log of received commands and requests: bounded, and encodable as JSON."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_proto.encoding.raw_value import decode_raw_strictly, encode_json
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.wire.payload import Payload

__all__ = ["ReceivedLog"]

_REDACTED = "***"
_MAX_BYTES = 64 * 2**20
"""Size of all entries: the target of a request may have many kilobytes."""
_OWN_SIZE = 256
"""Bytes that are counted for an entry in addition to its fields."""


class ReceivedLog:
    """The last entries, numbered from 1 without a gap, and without tokens."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[tuple[dict[str, Any], int]] = deque()  # each with its size in bytes
        self._size = 0
        self._count = 0

    def log_received(self, connection: int | None, event: str, **fields: Any) -> dict[str, Any]:
        """Add and return an entry; the fields are values that JSON has."""
        self._count += 1
        entry = {"number": self._count, "connection": connection, "event": event, **fields}
        size = _OWN_SIZE + sum(map(_size, fields.values()))
        self._entries.append((entry, size))
        self._size += size
        while len(self._entries) > self._limit or self._size > _MAX_BYTES:
            self._size -= self._entries.popleft()[1]
        return entry

    def log_payload(self, connection: int | None, event: str, payload: Payload) -> dict[str, Any]:
        """Add and return the entry of a payload; `d` is as received, with the token redacted."""
        return self.log_received(
            connection, event, op=payload.opcode, d=_without_token(payload.raw)
        )

    def clear(self) -> None:
        """Remove every entry; the next one has number 1."""
        self._entries.clear()
        self._size = self._count = 0

    def after(self, number: int) -> list[dict[str, Any]]:
        """Return the kept entries with numbers above `number`, oldest first."""
        return [entry for entry, _ in self._entries if entry["number"] > number]


def _size(value: Any) -> int:
    return len(memoryview(value)) if isinstance(value, msgspec.Raw) else len(str(value))


def _without_token(raw: bytes) -> msgspec.Raw:
    try:
        d: Any = decode_raw_strictly(raw, Any)
        if isinstance(d, Mapping) and "token" in d:
            d = {**d, "token": _REDACTED}
        return msgspec.Raw(encode_json(d))
    except (DataError, LocalProtocolError) as error:
        # Unused parts of a command are not decoded before, and JSON cannot represent every term.
        return msgspec.Raw(encode_json({"error": str(error)}))
