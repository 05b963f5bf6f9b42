"""text ↔ payloads: JSON on one side; op, d, s, t on the other.

The envelope alone is decoded; `d` stays the raw text that it was. That takes about a quarter of
the time of decoding the whole, and whoever wants `d` can decode it straight into a type.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_proto.errors import LocalProtocolError

__all__ = ["Payload", "PayloadError", "decode", "encode", "to_json"]

NULL = msgspec.Raw(b"null")


class PayloadError(Exception):
    """A message is no payload."""


class Payload(msgspec.Struct, frozen=True):
    """One payload. Missing keys are None: servers leave out what they do not use."""

    op: int | float | None = None
    d: msgspec.Raw = NULL
    s: int | float | None = None
    t: str | None = None
    message: Any = None
    """The error text that is sent now and then in place of an op code."""

    @property
    def opcode(self) -> int | None:
        """`op` as an integer; None where it is none."""
        return int(self.op) if self.op is not None and self.op == int(self.op) else None

    @property
    def raw(self) -> bytes:
        """The JSON text of `d`."""
        return bytes(self.d)

    @property
    def sequence(self) -> int | None:
        """`s` as an integer."""
        return None if self.s is None else int(self.s)


_decoder = msgspec.json.Decoder(Payload)


def decode(text: str | bytes) -> Payload:
    """The payload of a text; raises `PayloadError`."""
    try:
        payload = _decoder.decode(text)
        if isinstance(text, bytes):
            # The decoder does not look at strings inside of the raw `d`.
            str(payload.d, "utf-8")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"this message is no payload: {error}") from None
    except RecursionError:
        raise PayloadError("this message is nested too deeply to be a payload") from None
    return payload


def to_json(value: Any) -> bytes:
    """The JSON text of a value of the caller's; raises `LocalProtocolError` where it has none."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"this cannot be written as JSON: {error}") from None


def encode(
    op: int, d: Any, sequence: int | None = None, name: str | None = None, *, dispatch: bool = False
) -> bytes:
    """The text of a payload; `dispatch` adds s and t. Raises `LocalProtocolError`."""
    payload: dict[str, Any] = {"op": op, "d": d}
    if dispatch:
        payload |= {"s": sequence, "t": name}
    return to_json(payload)
