"""Heads of HTTP requests to a server, and the answer to requests that ask for the upgrade."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import TypeAlias

import h11
from wsproto.utilities import generate_accept_token

__all__ = ["HeaderList", "decode_headers", "plain_upgrade", "upgrade_error"]

HeaderList: TypeAlias = list[tuple[bytes, bytes]]
"""Header fields of a request. `h11.Headers` takes 10 times as long to iterate over."""
_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


def decode_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the header fields of h11, whose names are lower-case ASCII."""
    return {name.decode(): value.decode("latin-1") for name, value in headers}


def upgrade_error(request: h11.Request, headers: HeaderList) -> str | None:
    """Return why RFC 6455, section 4.2.1, forbids an upgrade that wsproto accepts, or None."""
    if request.method != b"GET" or request.http_version < b"1.1":
        return "the method must be GET, and the version HTTP/1.1"
    if not _is_key(headers):
        return "Sec-WebSocket-Key must be 16 bytes in base64"
    return None


def plain_upgrade(headers: HeaderList) -> bytes | None:
    """Return the response that accepts an upgrade, or None if wsproto has to decide.

    The fast path for a request without errors (RFC 6455, sections 4.2.1 and 4.2.2). wsproto writes
    the request again and parses it a second time: 150 of the 490 µs from the request to READY.
    """
    fields = dict(headers)  # the last one of a name, as in wsproto
    tokens = {token.strip() for token in fields.get(b"connection", b"").lower().split(b",")}
    if (
        b"upgrade" not in tokens
        or fields.get(b"upgrade", b"").lower() != b"websocket"
        or fields.get(b"sec-websocket-version") != b"13"
        or b"xn--" in fields.get(b"host", b"xn--").lower()  # wsproto decodes the name
        or not all(value.isascii() for _, value in headers)
    ):
        return None
    return _ACCEPTED % generate_accept_token(fields[b"sec-websocket-key"])


def _is_key(headers: HeaderList) -> bool:
    """Whether there is one Sec-WebSocket-Key, of 16 bytes in base64 (RFC 6455, 4.2.1)."""
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    try:
        return len(keys) == 1 and len(binascii.a2b_base64(keys[0], strict_mode=True)) == 16
    except binascii.Error:
        return False
