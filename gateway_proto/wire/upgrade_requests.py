"""Heads of HTTP requests to a server, and the answer to requests that ask for the upgrade."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from typing import TypeAlias

import h11
import msgspec
from wsproto.utilities import generate_accept_token

__all__ = [
    "MAX_HEADERS",
    "HeaderList",
    "PlainUpgrade",
    "decode_headers",
    "plain_upgrade",
    "upgrade_error",
]

HeaderList: TypeAlias = list[tuple[bytes, bytes]]
"""Header fields of a request. `h11.Headers` takes 10 times as long to iterate over."""
MAX_HEADERS = 100
"""Header fields of a request."""
_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
# A subset of what h11 accepts: a name is a token, and a value is words of visible ASCII characters
# (RFC 9110, sections 5.1 and 5.5). The quantifiers are possessive, so that no text takes long.
# `|(?!)` ends a group that repeats possessively: CPython before 3.11.5 continues behind a part of a
# repetition that does not match. <https://github.com/python/cpython/issues/106052>
_PLAIN_REQUEST = re.compile(
    rb"GET ([!-~]++) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: *+[!-~]++(?: ++[!-~]++|(?!))*+\r\n|(?!))++)\r\n"
)
_FIELD = re.compile("([^:]+): *([^\r]+)\r\n")
_NOT_PLAIN = {"content-length", "transfer-encoding", "expect"}


class PlainUpgrade(msgspec.Struct, frozen=True):
    """A request for an upgrade that can be accepted."""

    target: str
    headers: dict[str, str]
    response: bytes
    """The response that accepts it."""
    following: bytes
    """Bytes after the request."""


def decode_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the header fields of h11, whose names are lower-case ASCII."""
    return {name.decode(): value.decode("latin-1") for name, value in headers}


def upgrade_error(request: h11.Request, headers: HeaderList) -> str | None:
    """Return why RFC 6455, section 4.2.1, forbids an upgrade that wsproto accepts, or None."""
    if request.method != b"GET" or request.http_version < b"1.1":
        return "the method must be GET, and the version HTTP/1.1"
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    if len(keys) != 1 or not _is_key(keys[0]):
        return "Sec-WebSocket-Key must be 16 bytes in base64"
    return None


def plain_upgrade(data: bytes) -> PlainUpgrade | None:
    """Return the upgrade that bytes begin with, or None if h11 and wsproto have to decide.

    The fast path for a whole request without errors (RFC 9112, sections 3 and 5; RFC 6455, sections
    4.2.1 and 4.2.2) and without anything that needs more: a body, an expectation, a repeated field,
    text that is not ASCII. h11 parses the request, and wsproto writes and parses it again.
    """
    match = _PLAIN_REQUEST.match(data)
    if match is None:
        return None
    target, fields = match.groups()
    found = _FIELD.findall(fields.decode())
    headers = {name.lower(): value for name, value in found}
    tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
    if (
        len(headers) < len(found)
        or len(found) > MAX_HEADERS
        or not headers.keys().isdisjoint(_NOT_PLAIN)
        or "upgrade" not in tokens
        or headers.get("upgrade", "").lower() != "websocket"
        or headers.get("sec-websocket-version") != "13"
        or "xn--" in headers.get("host", "xn--").lower()  # wsproto decodes the name
    ):
        return None
    key = headers.get("sec-websocket-key", "").encode()
    if not _is_key(key):
        return None
    response = _ACCEPTED % generate_accept_token(key)
    return PlainUpgrade(target.decode(), headers, response, data[match.end() :])


def _is_key(key: bytes) -> bool:
    """Whether a Sec-WebSocket-Key is 16 bytes in base64 (RFC 6455, 4.2.1)."""
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except binascii.Error:
        return False
