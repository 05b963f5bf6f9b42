"""Version, encoding and compression that the URL of a WebSocket asks for.

<https://docs.discord.com/developers/events/gateway#connecting-gateway-url-query-string-params>
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl

import msgspec

from gateway_proto.encoding import etf
from gateway_proto.errors import LocalProtocolError
from gateway_proto.versions import VERSIONS, Compression, Encoding, ProtocolVersion
from gateway_proto.wire.compression import has_zstd

__all__ = ["Negotiated", "negotiate"]

_WITHOUT_VERSION = ("3", "6")
"""Versions without `v` in the query, the first that is supported.

Version 3 is named in Identify; version 6 was Discord's default.
"""


class Negotiated(msgspec.Struct, frozen=True):
    """The choices of a client that the server supports."""

    version: ProtocolVersion
    encoding: Encoding
    compression: Compression
    is_version_unsupported: bool
    """Whether the version is a number that is not supported: close code 4012."""


def negotiate(target: str, supported: Sequence[int]) -> Negotiated:
    """Return what the path and query of an upgrade ask for.

    Raises `LocalProtocolError` if it is not supported.
    """
    query = _parse_query(target.partition("?")[2])
    versions = {str(version): VERSIONS[version] for version in supported}
    version = query.get("v")
    if version is None:
        version = next((v for v in _WITHOUT_VERSION if v in versions), min(versions, key=int))
    if version not in versions and not re.fullmatch("[0-9]{1,3}", version):
        raise _unsupported("version", version, versions)
    # <https://docs.discord.com/developers/topics/opcodes-and-status-codes>: an invalid version gets
    # close code 4012, so the WebSocket is opened for one.
    known = versions.get(version, versions[max(versions, key=int)])
    encoding = query.get("encoding", "json")
    encodings = ["json", "etf"] if etf.available() else ["json"]
    if encoding not in encodings:
        raise _unsupported("encoding", encoding, encodings)
    compression = Compression.NONE
    if "compress" in query:
        compressions = {
            one.value: one
            for one in known.compressions
            if one.is_stream and (one.value != "zstd-stream" or has_zstd())
        }
        if query["compress"] not in compressions:
            raise _unsupported("compression", query["compress"], compressions)
        compression = compressions[query["compress"]]
    return Negotiated(known, Encoding(encoding), compression, version not in versions)


@functools.lru_cache(maxsize=32)
def _parse_query(query: str) -> Mapping[str, str]:
    # Cached, because most clients of a server send the same query: parsing one takes 15 µs.
    return dict(parse_qsl(query, keep_blank_values=True))


def _unsupported(what: str, value: str, allowed: Iterable[str]) -> LocalProtocolError:
    expected = ", ".join(allowed) or "none"
    return LocalProtocolError(f"{what} {value[:20]!r} is not supported: expected {expected}")
