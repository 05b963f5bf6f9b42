"""Frames and payloads of a client, decoded from the bytes that it sends."""

from __future__ import annotations

from collections.abc import Iterator

from gateway_proto.wire.fast_frames import read_header
from gateway_proto.wire.payload import Payload, decode_payload

__all__ = ["frames_in", "payloads_in"]

_DATA = (1, 2)


def payloads_in(data: bytes) -> Iterator[Payload]:
    """Yield the gateway payloads of whole frames; none for an HTTP request."""
    for opcode, payload in frames_in(data):
        if opcode in _DATA:
            yield decode_payload(payload)


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield op codes and payloads of whole frames; none for an HTTP request."""
    if data.startswith(b"GET "):
        return
    at = 0
    while (header := read_header(data, at)) is not None:
        yield header.opcode, header.payload(data, at)
        at += header.end
