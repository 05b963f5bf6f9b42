"""Base classes of values: repr without secrets and long fields, equality and hash."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

__all__ = ["FieldMethods", "RedactedRepr"]

_NOT_SHOWN = frozenset(
    {"token", "token_fingerprint", "_d", "members", "presences", "sounds", "channels"},
)


class RedactedRepr(msgspec.Struct, frozen=True):
    """msgspec struct whose repr omits secret and long fields."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        names = (name for name in self.__struct_fields__ if name not in _NOT_SHOWN)
        return [(name, getattr(self, name)) for name in names]


def _fields_of(value: Any) -> tuple[attrs.Attribute[Any], ...]:
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(type(value))
    return fields


class FieldMethods:
    """Base of attrs classes: repr of non-default fields without secrets, equality and hash.

    Methods that attrs generates for each class are compiled when it is defined: those of the
    classes that this package imports took a tenth of its import time.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        shown = []
        for field in _fields_of(self):
            value = getattr(self, field.name)
            if field.repr and value not in (field.default, {}):
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            getattr(self, field.name) == getattr(other, field.name)
            for field in _fields_of(self)
            if field.eq
        )

    def __hash__(self) -> int:
        fields = _fields_of(self)
        names = [f.name for f in fields if (f.eq if f.hash is None else f.hash)]
        return hash(tuple(getattr(self, name) for name in names))
