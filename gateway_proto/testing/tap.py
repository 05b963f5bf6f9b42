"""frames of a client → payloads: what it says, read off the wire as it is sent."""

from __future__ import annotations

from collections.abc import Iterator

from gateway_proto._layers.payloads import Payload, decode

__all__ = ["frames_in", "payloads_in"]

_DATA = (1, 2)
_LENGTHS = {126: 2, 127: 8}


def payloads_in(data: bytes) -> Iterator[Payload]:
    """The payloads of whole, masked frames; none of an HTTP request."""
    for opcode, payload in frames_in(data):
        if opcode in _DATA:
            yield decode(payload)


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Op codes and payloads of whole, masked frames; none of an HTTP request."""
    if data.startswith(b"GET "):
        return
    at = 0
    while at < len(data):
        opcode, size = data[at] & 0x0F, data[at + 1] & 0x7F
        at += 2
        more = _LENGTHS.get(size, 0)
        if more:
            size = int.from_bytes(data[at : at + more], "big")
            at += more
        mask, masked = data[at : at + 4], data[at + 4 : at + 4 + size]
        at += 4 + size
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        yield opcode, (int.from_bytes(masked, "big") ^ key).to_bytes(size, "big")
