"""Payloads of a server: op, d, s and t → JSON text or an ETF term."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.encoding.raw_value import encode_etf, encode_json, value_of_caller
from gateway_proto.versions import Encoding

__all__ = ["encode_control", "encode_dispatch"]


def encode_control(op: int, d: Any, encoding: Encoding = Encoding.JSON) -> bytes:
    """Encode a payload of a server other than a dispatch: `s` and `t` are null.

    <https://docs.discord.com/developers/events/gateway-events#payload-structure>: "s and t are null
    when op is not 0". The keys have the order that the gateway uses.
    """
    payload = {"t": None, "s": None, "op": op, "d": d}
    return encode_json(payload) if encoding is Encoding.JSON else encode_etf(payload)


def encode_dispatch(
    raw: bytes, sequence: int | None, name: str, encoding: Encoding = Encoding.JSON
) -> bytes:
    """Encode a dispatch with a `d` in either encoding. Raises `LocalProtocolError`."""
    is_etf = raw[:1] == ETF_VERSION
    if encoding is Encoding.JSON:
        d = value_of_caller(raw) if is_etf else msgspec.Raw(raw)
        return encode_json({"t": name, "s": sequence, "op": 0, "d": d})
    if not is_etf:
        d = value_of_caller(raw)
        return encode_etf({"t": name, "s": sequence, "op": 0, "d": d})
    # Replace the nil at the end with the unchanged term of `d`.
    envelope = encode_etf({"t": name, "s": sequence, "op": 0, "d": None})
    return envelope.removesuffix(encode_etf(None)[1:]) + raw[1:]
