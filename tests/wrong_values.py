"""Wrong values that several tests give as arguments."""

from __future__ import annotations

__all__ = ["ReprRaises", "async_function"]


async def async_function(*_: object) -> None:
    """Do nothing: callbacks must not be async."""


class ReprRaises:
    """Value that an error cannot show."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")
