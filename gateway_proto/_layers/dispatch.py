"""payloads of op 0 ↔ the event that they are: a dispatch is decoded straight into it."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from gateway_proto._layers.raw import from_raw, to_json
from gateway_proto._terse import Terse

__all__ = ["Dispatch"]

T = TypeVar("T")
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Dispatch(Terse, frozen=True, eq=False, dict=True, tag_field="op", tag=0):
    """Op 0: something happened. msgspec decodes it straight out of the payload."""

    name: str = msgspec.field(name="t")
    sequence: _Sequence | None = msgspec.field(name="s")
    _d: msgspec.Raw = msgspec.field(name="d", default=msgspec.Raw(b"null"))

    @property
    def raw(self) -> bytes:
        """`d` as it came: its JSON text or its ETF term."""
        return bytes(self._d)

    @property
    def data(self) -> Any:
        """The value of `d`, decoded once. Raises `DataError` if it cannot be decoded.

        What Python's json module accepts is read, too: lone surrogates, NaN, large numbers.
        """
        kept = self.__dict__
        if not kept:
            kept["data"] = from_raw(self._d, Any)
        return kept["data"]

    def decode(self, type_: type[T]) -> T:
        """Decode `d` directly into a type that msgspec knows. Raises `DataError`.

        In ETF, ids are integers or text: declare such a field as `int | str`.
        """
        return from_raw(self._d, type_)

    @classmethod
    def of(cls, name: str, data: Any, sequence: int | None = None) -> Dispatch:
        """A dispatch of any JSON value; the server role counts `sequence` by itself.

        Raises `LocalProtocolError` for data that JSON does not have.
        """
        return Dispatch(str(name), sequence, msgspec.Raw(to_json(data)))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[Any, ...]:
        rest = (getattr(self, name) for name in self.__struct_fields__ if name != "_d")
        return self.raw, *rest
