"""Modals that a bot has shown, and their components as a member submits them.

<https://docs.discord.com/developers/components/reference>
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from gateway_proto.server import World
from gateway_proto.server.interactions import shown_modals
from gateway_proto.server.world_objects import complete_components
from gateway_pytest._resolving import Resolver, has_type, is_uploadable

__all__ = ["pick_modal", "submitted"]

Data = Mapping[str, Any]
_ROW, _TEXT_DISPLAY, _LABEL = 1, 10, 18
_SELECT, _TEXT, _RADIO, _CHECKBOXES, _CHECKBOX = 3, 4, 21, 22, 23
_ENTITIES = (5, 6, 7, 8)
_UPLOAD = 19


def pick_modal(world: World, wanted: Any) -> tuple[Data, Data]:
    """Return the last modal of a custom_id, title or object, and the interaction it answers."""
    key = str(wanted.get("custom_id")) if isinstance(wanted, Mapping) else str(wanted)
    shown = shown_modals(world)
    for name in ("custom_id", "title"):
        for modal, interaction in shown:
            if modal.get(name) == key:
                return modal, interaction
    names = (f"{modal.get('title')} ({modal.get('custom_id')})" for modal, _ in shown)
    known = ", ".join(itertools.islice(dict.fromkeys(names), 20))
    known = known or "no modal: wait for the request in which it shows one"
    raise AssertionError(f"unknown modal {key!r}: the bot has shown {known}")


@attrs.frozen
class _Field:
    label: str | None
    component: Data

    @property
    def name(self) -> str:
        return f"{self.label or self.component.get('label')} ({self.component.get('custom_id')})"

    def is_meant(self, key: str, name: str) -> bool:
        label = self.component.get("label") if self.label is None else self.label
        return (self.component.get("custom_id") if name == "custom_id" else label) == key


def submitted(modal: Data, inputs: Mapping[str, Any], resolver: Resolver) -> list[dict[str, Any]]:
    """Return the components of a modal with values by custom_id or label; raises AssertionError.

    The objects to which the values refer are added to `resolver`.
    """
    components = complete_components(modal.get("components"))
    fields = [field for component in components for field in _fields(component)]
    values: dict[int, Any] = {}
    for key, value in inputs.items():
        at = _find(fields, key)
        if at is None:
            known = ", ".join(field.name for field in fields) or "none"
            raise AssertionError(f"unknown input {key!r}: the modal has {known}")
        if at in values:
            raise AssertionError(f"input {fields[at].name} is given twice")
        values[at] = value
    filled = iter([_filled(field, values.get(at), resolver) for at, field in enumerate(fields)])
    return [_shape(component, filled) for component in components]


def _find(fields: Sequence[_Field], key: str) -> int | None:
    for name in ("custom_id", "label"):
        for at, field in enumerate(fields):
            if field.is_meant(key, name):
                return at
    return None


def _children(component: Data) -> list[Data]:
    children = component.get("components")
    return [c for c in children if isinstance(c, Mapping)] if isinstance(children, list) else []


def _fields(component: Data) -> list[_Field]:
    """Return the inputs of a component of the modal."""
    if component.get("type") == _LABEL:
        inner = component.get("component")
        label = component.get("label")
        return [_Field(label, inner)] if isinstance(inner, Mapping) else []
    if component.get("type") == _ROW:
        return [_Field(None, child) for child in _children(component)]
    return []


def _shape(component: Data, filled: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return a component of the modal as it is submitted."""
    made: dict[str, Any] = {"type": component.get("type"), "id": component["id"]}
    given = [next(filled) for _ in _fields(component)]
    if component.get("type") == _LABEL and given:
        made["component"] = given[0]
    elif component.get("type") == _ROW:
        made["components"] = given
    return made


def _filled(field: _Field, value: Any, resolver: Resolver) -> dict[str, Any]:
    """Return an input with its value; None means the default value of the modal."""
    component, name = field.component, field.name
    type_ = component.get("type")
    made = {"type": type_, "id": component.get("id"), "custom_id": component.get("custom_id")}
    is_required = component.get("required") is not False
    if type_ == _TEXT:
        return {**made, "value": _text(component, name, value, is_required)}
    if type_ == _CHECKBOX:
        given = bool(component.get("default")) if value is None else value
        _expect(isinstance(given, bool), name, given, "a bool")
        return {**made, "value": given}
    if type_ == _UPLOAD:
        return {**made, "values": _uploaded(component, name, value, is_required, resolver)}
    if type_ in _ENTITIES:
        return {**made, "values": _selected(component, name, value, is_required, resolver)}
    _expect(type_ in (_SELECT, _RADIO, _CHECKBOXES), name, type_, "a known type of component")
    options = _objects(component, "options")
    preset = [option.get("value") for option in options if option.get("default")]
    chosen = preset if value is None else [value] if isinstance(value, str) else value
    known = [option.get("value") for option in options]
    _expect(
        isinstance(chosen, list | tuple) and all(one in known for one in chosen),
        name,
        value,
        f"values of {', '.join(map(repr, known))}",
    )
    most = len(known) if type_ == _CHECKBOXES else 1
    _check_count(component, name, value, len(chosen), most, is_required, f"values of {known}")
    if type_ == _RADIO:
        return {**made, "value": chosen[0] if chosen else None}
    return {**made, "values": list(chosen)}


def _objects(component: Data, key: str) -> list[Data]:
    return [one for one in component.get(key) or () if isinstance(one, Mapping)]


def _selected(
    component: Data, name: str, value: Any, is_required: bool, resolver: Resolver
) -> list[str]:
    """Return the ids of selected users, roles or channels."""
    preset = [str(one.get("id")) for one in _objects(component, "default_values")]
    chosen = preset if value is None else [value] if isinstance(value, str) else value
    is_list = isinstance(chosen, list | tuple) and all(isinstance(one, str) for one in chosen)
    _expect(is_list, name, value, "ids as str")
    _check_count(component, name, value, len(chosen), 1, is_required, "ids")
    resolver.add_selected(component["type"], list(chosen))
    return list(chosen)


def _uploaded(
    component: Data, name: str, value: Any, is_required: bool, resolver: Resolver
) -> list[str]:
    """Return the ids of uploaded files.

    <https://docs.discord.com/developers/components/reference#file-upload>
    """
    files = {} if value is None else value
    allowed = "files of at most 10 MiB as {filename: bytes}"
    is_valid = isinstance(files, Mapping) and all(map(is_uploadable, files, files.values()))
    _expect(is_valid, name, value, allowed)
    types = component.get("file_types") or []
    _expect(all(has_type(one, types) for one in files if types), name, value, f"files of {types}")
    _check_count(component, name, value, len(files), 1, is_required, "files")
    return [resolver.add_file(filename, data) for filename, data in files.items()]


def _check_count(
    component: Data,
    name: str,
    value: Any,
    count: int,
    default_most: int,
    is_required: bool,
    what: str,
) -> None:
    if not count and not is_required:
        return
    if not count and value is None:
        raise AssertionError(f"required input {name} is left out: give {what}")
    least, most = component.get("min_values"), component.get("max_values")
    least = 1 if least is None else least
    most = default_most if most is None else most
    _expect(least <= count <= most, name, value, f"{least} to {most} {what}")


def _text(component: Data, name: str, value: Any, is_required: bool) -> str:
    text = component.get("value") or "" if value is None else value
    _expect(isinstance(text, str), name, text, "a str")
    if not text:
        if is_required:
            raise AssertionError(f"required input {name} is left out: give a text")
        return ""
    # <https://docs.discord.com/developers/components/reference#text-input>: at most 4000.
    least, most = component.get("min_length") or 0, component.get("max_length") or 4000
    _expect(least <= len(text) <= most, name, text, f"{least} to {most} characters")
    return str(text)


def _expect(is_allowed: bool, name: str, value: Any, allowed: str) -> None:
    if not is_allowed:
        raise AssertionError(f"invalid input {name} {value!r:.100}: expected {allowed}")
