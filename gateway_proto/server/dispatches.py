"""Dispatches of a server: encoded once for all sessions, numbered for each.

Sessions share one `EncodedDispatch` in their replay buffers. What a session adds to it is its
sequence, so that a dispatch costs each session a tuple, whatever its size.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import msgspec

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.encoding.raw_value import encode_json, json_to_etf
from gateway_proto.events import EVENT_SIZE, Dispatch
from gateway_proto.versions import Encoding
from gateway_proto.wire.payload_encoding import encode_dispatch

__all__ = ["EncodedDispatch", "Numbered"]


class EncodedDispatch:
    """Name and data of a dispatch, JSON text or an ETF term, without a sequence."""

    __slots__ = ("_name", "_term", "name", "raw", "size")

    def __init__(self, name: str, raw: bytes) -> None:
        self.name: str = name
        self.raw: bytes = raw
        self.size: int = EVENT_SIZE + len(name) + len(raw)
        """Bytes that it counts for in a replay buffer."""
        self._name = None if raw[:1] == ETF_VERSION else _quoted(name)
        self._term: EncodedDispatch | None = None

    def text(self, sequence: int, encoding: Encoding) -> bytes:
        """Return the payload with a sequence; raises `LocalProtocolError`."""
        if self._name is not None and encoding is Encoding.JSON:
            # As `encode_dispatch` does, in half of its time.
            return b'{"t":%b,"s":%d,"op":0,"d":%b}' % (self._name, sequence, self.raw)
        return encode_dispatch(self.raw, sequence, self.name, encoding)

    def event(self, sequence: int) -> Dispatch:
        """Return the dispatch with a sequence as an event."""
        return Dispatch(self.name, sequence, msgspec.Raw(self.raw))

    def encoded(self, encoding: Encoding) -> EncodedDispatch:
        """Return the dispatch for sessions of an encoding. Raises `LocalProtocolError`.

        JSON is converted to an ETF term once; a term that the caller gave stays as it is.
        """
        if encoding is Encoding.JSON or self._name is None:
            return self
        if self._term is None:
            self._term = EncodedDispatch(self.name, json_to_etf(self.raw))
        return self._term


Numbered: TypeAlias = tuple[int, EncodedDispatch]
"""A sequence, and the dispatch that has it in one session."""


@functools.lru_cache(maxsize=256)
def _quoted(name: str) -> bytes:
    return encode_json(name)
