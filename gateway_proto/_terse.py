"""fields → repr: values that keep what is long or secret out of theirs."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

__all__ = ["Terse", "Told"]

_NOT_SHOWN = frozenset(
    {"token", "fingerprint", "_d", "members", "presences", "sounds", "channels"},
)


class Terse(msgspec.Struct, frozen=True):
    """A value whose long and secret fields are in no repr."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        names = (name for name in self.__struct_fields__ if name not in _NOT_SHOWN)
        return [(name, getattr(self, name)) for name in names]


@attrs.frozen(repr=False)
class Told:
    """An attrs class whose repr has what differs from the defaults, and no secret.

    To let attrs write one for each class took a twentieth of what it takes to import this package.
    """

    def __repr__(self) -> str:
        told = []
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if field.repr and value not in (field.default, {}):
                told.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(told)})"
