"""Fuzz target: payloads in JSON, by the fast and the general path, and in ETF."""

from __future__ import annotations

from gateway_proto import DataError, Dispatch, Encoding, LocalProtocolError
from gateway_proto.encoding import ETF_VERSION, etf
from gateway_proto.wire.payload import (
    DECODE_ERRORS,
    Payload,
    PayloadError,
    decode_dispatch,
    decode_message,
    decode_payload,
)
from gateway_proto.wire.payload_encoding import encode_dispatch

__all__ = ["json", "term"]


def _read(text: str | bytes) -> Dispatch | Payload | None:
    try:
        return decode_message(text)
    except PayloadError:
        return None


def _decoded(text: str | bytes) -> Payload | None:
    try:
        return decode_payload(text)
    except PayloadError:
        return None


def json(text: bytes) -> None:
    """Compare the fast with the general path, and str with bytes."""
    payload = _decoded(text)
    try:
        short = decode_dispatch(text)
    except DECODE_ERRORS:
        short = None
    if isinstance(short, Dispatch):
        assert payload is not None and payload.opcode == 0
        assert short.name == (payload.t or "") and short.sequence == payload.sequence
        assert short.raw == payload.raw
    _same(payload, _read(text))
    if payload is not None:
        assert payload.sequence is None or 0 <= payload.sequence < 2**63
        _encode_again(payload)
    try:
        as_text = text.decode()
    except UnicodeDecodeError:
        return
    assert _decoded(as_text) == payload
    assert _read(as_text) == _read(text)


def term(data: bytes) -> None:
    """Do the same for a term; without its first byte it would be read as JSON."""
    data = ETF_VERSION + data
    payload = _decoded(data)
    _same(payload, _read(data))
    try:
        value = etf.unpack(data)
    except etf.EtfError:
        pass
    else:
        # Values that JSON can express are encoded again; integers over 64 bits become text.
        again = etf.unpack(etf.pack(value))
        assert repr(etf.unpack(etf.pack(again))) == repr(again), (again, value)
    if payload is not None:
        _encode_again(payload)


def _same(payload: Payload | None, received: Dispatch | Payload | None) -> None:
    if payload is None or payload.opcode != 0:
        assert received == payload
    else:
        assert received == Dispatch(payload.t or "", payload.sequence, payload.d)


def _encode_again(payload: Payload) -> None:
    """Encode as the server role does with data of a client."""
    dispatch = Dispatch(payload.t or "", payload.sequence, payload.d)
    hash(dispatch), repr(dispatch)
    try:
        value = dispatch.data
    except DataError:
        return
    for encoding in Encoding:
        try:
            text = encode_dispatch(payload.raw, payload.sequence, dispatch.name, encoding)
        except LocalProtocolError:
            continue
        again = decode_payload(text)
        assert again.opcode == 0 and (again.t or "") == dispatch.name
        assert again.sequence == payload.sequence
        if encoding is Encoding.JSON:
            assert repr(Dispatch("", None, again.d).data) == repr(value)
