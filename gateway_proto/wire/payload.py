"""Payload texts, JSON or ETF ↔ op, d, s and t.

Only the envelope is decoded; `d` stays raw bytes. This takes about a quarter of the time of a full
decode, and callers can decode `d` directly into their own type. An invalid `d` is reported only
then, and the event and its sequence number are kept.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_proto.encoding import ETF_VERSION
from gateway_proto.encoding.raw_members import raw_members, scalar
from gateway_proto.encoding.raw_value import DECODE_ERRORS, encode_etf, encode_json
from gateway_proto.errors import DataError
from gateway_proto.events import Dispatch
from gateway_proto.versions import Encoding

__all__ = [
    "DECODE_ERRORS",
    "Payload",
    "PayloadError",
    "decode_dispatch",
    "decode_etf_dispatch",
    "decode_message",
    "decode_payload",
    "encode_payload",
]

NULL = msgspec.Raw(b"null")
_SEQUENCE_END = 2**63


class PayloadError(Exception):
    """Message that is not a payload. `truncated`: it could be the beginning of one."""

    def __init__(self, why: str, *, truncated: bool = False) -> None:
        super().__init__(why)
        self.truncated: bool = truncated


class Payload(msgspec.Struct, frozen=True):
    """Payload with an undecoded `d`. Missing keys are None: servers omit unused ones.

    <https://docs.discord.com/developers/events/gateway-events#payload-structure>
    """

    op: int | float | None = None
    d: msgspec.Raw = NULL
    s: int | float | None = None
    t: str | None = None
    message: msgspec.Raw = NULL
    """Undecoded error text that some servers send in place of an op code."""

    @property
    def error_text(self) -> str | None:
        """`message`, or None if it is not text."""
        value = scalar(bytes(self.message))
        return value if isinstance(value, str) else None

    @property
    def opcode(self) -> int | None:
        """`op` as an int, or None if it is missing or not integral."""
        return int(self.op) if self.op is not None and self.op == int(self.op) else None

    @property
    def raw(self) -> bytes:
        """Undecoded `d`: JSON text or an ETF term."""
        return bytes(self.d)

    @property
    def sequence(self) -> int | None:
        """`s` as an int, or None if it is missing or out of range."""
        return int(self.s) if self.s is not None and 0 <= self.s < _SEQUENCE_END else None


class _AckTag(msgspec.Struct, tag_field="op", tag=11):
    """Second member of the union that makes msgspec require the tag `op`."""


_decoder = msgspec.json.Decoder(Payload)
_number = msgspec.json.Decoder(int | float | None).decode
_text = msgspec.json.Decoder(str | None).decode
# msgspec accepts a single struct without its tag `op`, so any object with `t` and `s` would pass.
# In a union the tag is required and selects the struct. One call then creates the event, in a
# third of the time of decoding a `Payload` first.
decode_dispatch: Callable[[str | bytes], Dispatch | _AckTag] = msgspec.json.Decoder(
    Dispatch | _AckTag
).decode
"""Decode a JSON dispatch. Raises one of `DECODE_ERRORS` for almost everything else."""


@functools.cache
def _dispatch_members() -> Callable[[bytes], tuple[str, int | None, bytes] | None]:
    # Imported on first use, as few programs need it.
    from gateway_proto.encoding.etf_envelope import dispatch_members

    return dispatch_members


def decode_etf_dispatch(text: str | bytes) -> Dispatch | None:
    """Decode an ETF dispatch in which a member follows `d`, or return None."""
    if not isinstance(text, bytes):
        return None
    members = _dispatch_members()(text)
    if members is None:
        return None
    name, sequence, d = members
    return Dispatch(name, sequence, msgspec.Raw(d))


def decode_message(text: str | bytes) -> Dispatch | Payload:
    """Decode a message of a server, dispatches as events. Raises `PayloadError`."""
    dispatch: Dispatch | _AckTag | None
    if text[:1] == ETF_VERSION:
        dispatch = decode_etf_dispatch(text)
    else:
        try:
            dispatch = decode_dispatch(text)
        except DECODE_ERRORS:
            dispatch = None
    if isinstance(dispatch, Dispatch):
        return dispatch
    payload = decode_payload(text)
    if payload.opcode != 0:
        return payload
    return Dispatch(payload.t or "", payload.sequence, payload.d)


def decode_payload(text: str | bytes) -> Payload:
    """Decode a payload in either encoding. Raises `PayloadError`."""
    if isinstance(text, bytes) and text[:1] == ETF_VERSION:
        return _decode_etf(text)
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        why = f"message is not a payload: {error}"
    except RecursionError:
        why = "message is not a payload: nested too deeply"
    return _decode_around(text, why)


def _decode_around(text: str | bytes, why: str) -> Payload:
    """Decode the envelope of a text that the JSON decoder rejects."""
    from gateway_proto.wire import envelope  # on first use: most servers send no such text

    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if envelope.is_beginning(data):
        raise PayloadError(why, truncated=True)
    found = envelope.members(data)
    if found is None or not found.keys() >= {"op", "s", "t"}:
        # Perhaps a list or an object is beside `d`: then `d` has to be scanned.
        with contextlib.suppress(DataError):
            found = raw_members(data, ("op", "d", "s", "t", "message"))
    if found is None:
        raise PayloadError(why)
    d = msgspec.Raw(found["d"]) if "d" in found else NULL
    try:
        op = _number(found.get("op", b"null"))
        t = _text(found.get("t", b"null"))
    except (msgspec.DecodeError, UnicodeError):
        raise PayloadError(why) from None
    try:
        s = _number(found.get("s", b"null"))
    except (msgspec.DecodeError, UnicodeError):
        s = None  # text or an invalid number: the event is still valid
    return Payload(op, d, s, t, msgspec.Raw(found.get("message", b"null")))


def _decode_etf(term: bytes) -> Payload:
    from gateway_proto.encoding import etf, etf_envelope

    try:
        values = etf_envelope.envelope(term)
        fields: dict[str, Any] = {
            name: msgspec.Raw(values[name]) for name in ("d", "message") if name in values
        }
        fields |= {name: _member(values[name]) for name in ("op", "s", "t") if name in values}
        return msgspec.convert(fields, Payload)
    except etf.EtfError as error:
        raise PayloadError(
            f"message is not a payload: {error}", truncated=error.truncated
        ) from None
    except msgspec.ValidationError as error:
        raise PayloadError(f"message is not a payload: {error}") from None


def _member(term: bytes) -> Any:
    """Return the value of a member of the envelope; a list or a map is not decoded."""
    from gateway_proto.encoding import etf

    if term[1] in etf.CONTAINERS:
        raise etf.EtfError("op, s or t is a list or a map")
    return etf.unpack(term)


def encode_payload(op: int, d: Any, encoding: Encoding = Encoding.JSON) -> bytes:
    """Encode a payload of a client. Raises `LocalProtocolError`."""
    payload = {"op": op, "d": d}
    return encode_json(payload) if encoding is Encoding.JSON else encode_etf(payload)
