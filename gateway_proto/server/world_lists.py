"""Lists of objects that a World has, by their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway_proto._checks import as_id, is_id

__all__ = ["MAX_KEPT", "find", "id_of", "put", "without"]

Data = Mapping[str, Any]
Key = Callable[[Data], str]

MAX_KEPT = 1000
"""Maximum number of stored messages, interactions and private channels, each."""


def find(values: Iterable[Data], id_: str | int) -> Data | None:
    """Return the object with an id, or None."""
    return next((value for value in values if str(value.get("id")) == str(id_)), None)


def id_of(data: Data) -> str:
    """Return the id of an object, or an empty text if it is not valid."""
    id_ = as_id(data.get("id"))
    return id_ if is_id(id_) else ""


def put(values: Iterable[Data], new: Data, key: Key = id_of) -> list[Data]:
    """Return the list with an object replaced, or appended if its key is new."""
    wanted, found, is_old = key(new), [], False
    for value in values:
        is_same = key(value) == wanted
        found.append(new if is_same else value)
        is_old = is_old or is_same
    return found if is_old else [*found, new]


def without(values: Iterable[Data], wanted: str, key: Key = id_of) -> list[Data]:
    """Return the list without the objects of a key."""
    return [value for value in values if key(value) != wanted]
