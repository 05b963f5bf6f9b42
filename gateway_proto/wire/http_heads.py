"""Heads of HTTP responses: informational responses and header fields."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["InformationalResponses", "joined"]

# Patterns are compiled on first use, and kept by `re`.
_INTERIM = rb"HTTP/1\.[0-9] +1(?!01)[0-9][0-9](?![0-9])"
"""Start of an informational response, apart from 101 (Switching Protocols)."""
_INTERIM_START = len(b"HTTP/1.1 100 ")
_MAX_INTERIM = 32
_MAX_INTERIM_BYTES = 65536
"""Of all informational responses before the final one."""
_HEAD_END = rb"\n\r?\n"


class InformationalResponses:
    """The informational responses that may precede a final response.

    RFC 9110, section 15.2: "A client MUST be able to parse one or more 1xx responses received prior
    to a final response".
    """

    __slots__ = ("_complete", "_count", "_pending", "_start", "is_over")

    def __init__(self) -> None:
        self._start = bytearray()  # of the response that is being received
        self._count = 0
        self._complete = 0  # bytes of the responses that are complete
        self._pending = 0  # bytes of the one that is not
        self.is_over: bool = False
        """Whether the final response has begun."""

    @property
    def error(self) -> str | None:
        """Exceeded limit, or None."""
        if self._count <= _MAX_INTERIM and self._complete + self._pending <= _MAX_INTERIM_BYTES:
            return None
        return f"more than {_MAX_INTERIM} informational responses, or too large ones"

    def skip(self, data: bytes | None) -> bytes:
        """Return the bytes of the final response so far; `data` is None at the end."""
        start = self._start
        self._pending = 0
        searched = max(0, len(start) - 3)
        start += data or b""
        while len(start) >= _INTERIM_START or not b"HTTP/1.".startswith(start[:7]):
            if re.match(_INTERIM, start) is None:
                break
            end = re.compile(_HEAD_END).search(start, searched)
            if end is None:
                self._pending = len(start)
                return b""
            self._count += 1
            self._complete += end.end()
            del start[: end.end()]
            searched = 0
        else:
            if data is not None:
                return b""
        self.is_over = True
        return bytes(start)


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return header fields by lower-case name; values of one name are joined by commas.

    RFC 9110, section 5.3.
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
