"""Event of op 0. The decoder creates it directly from the payload."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from gateway_proto._layers.raw import from_raw, to_json
from gateway_proto._terse import Terse

__all__ = ["Dispatch"]

T = TypeVar("T")
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Dispatch(Terse, frozen=True, eq=False, dict=True, tag_field="op", tag=0):
    """Op 0: dispatch, decoded directly from a payload.

    <https://docs.discord.com/developers/events/gateway-events#payload-structure>
    """

    # `dict=True` gives instances a `__dict__`, in which `data` caches the decoded `d`. CPython
    # creates it on first use, so events whose `data` is not read pay only for an empty pointer.

    name: str = msgspec.field(name="t")
    sequence: _Sequence | None = msgspec.field(name="s")
    _d: msgspec.Raw = msgspec.field(name="d", default=msgspec.Raw(b"null"))

    @property
    def raw(self) -> bytes:
        """Undecoded `d`: JSON text or an ETF term."""
        return bytes(self._d)

    @property
    def data(self) -> Any:
        """Value of `d`, decoded once. Raises `DataError` if it cannot be decoded.

        Accepts everything that Python's json module accepts: lone surrogates, NaN, large numbers.
        """
        kept = self.__dict__
        if not kept:
            kept["data"] = from_raw(self._d, Any)
        return kept["data"]

    def decode(self, type_: type[T]) -> T:
        """Decode `d` directly into a type that msgspec supports. Raises `DataError`.

        In ETF, ids are ints or text: declare such a field as `int | str`.
        """
        return from_raw(self._d, type_)

    @classmethod
    def of(cls, name: str, data: Any, sequence: int | None = None) -> Dispatch:
        """Return a dispatch with any JSON value. The server role sets `sequence` when it sends it.

        Raises `LocalProtocolError` for data that JSON cannot represent.
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
