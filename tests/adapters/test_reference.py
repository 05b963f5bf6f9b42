"""Tables of docs/reference/ for the adapters and `Link`: exactly the public attributes."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any

import pytest

import gateway_asyncio
import gateway_fleet
import gateway_trio
from gateway_proto.testing import Link, LinkSide
from tests.markdown_blocks import DOCS

_CLASSES = [
    *(("adapters", module.Gateway) for module in (gateway_asyncio, gateway_trio)),
    *(("adapters", module.Shards) for module in (gateway_asyncio, gateway_trio)),
    *(("adapters", module.RunningServer) for module in (gateway_asyncio, gateway_trio)),
    ("adapters", gateway_fleet.Fleet),
    ("adapters", gateway_fleet.Feed),
    ("adapters", gateway_fleet.Commands),
    ("link", Link),
    ("link", LinkSide),
]
_IDS = [f"{type_.__module__.partition('.')[0]}-{type_.__name__}" for _, type_ in _CLASSES]


def _public(type_: type[Any]) -> set[str]:
    source = "".join(
        inspect.getsource(base) for base in type_.__mro__ if base.__init__ is not object.__init__
    )
    names = {name for name in dir(type_) if not name.startswith("_")}
    return names | set(re.findall(r"self\.([a-z]\w*): [^=\n]+ = ", source))


def _calls(page: str, title: str) -> list[tuple[str, str | None]]:
    """Return name and arguments of the calls of a section's table; None for an attribute."""
    text = (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    found = [match for cell in cells for match in re.findall(r"`(\w+)(\([^`]*\))?`", cell)]
    return [(name, arguments[1:-1] if arguments else None) for name, arguments in found]


@pytest.mark.parametrize(("page", "type_"), _CLASSES, ids=_IDS)
def test_reference_lists_exactly_the_public_attributes(page: str, type_: type[Any]) -> None:
    assert {name for name, _ in _calls(page, type_.__name__)} == _public(type_)


@pytest.mark.parametrize(("page", "type_"), _CLASSES, ids=_IDS)
def test_reference_shows_the_parameters_and_defaults(page: str, type_: type[Any]) -> None:
    for name, arguments in _calls(page, type_.__name__):
        method = inspect.getattr_static(type_, name, None)
        assert callable(method) is (arguments is not None), name
        if arguments is not None:
            parameters = list(inspect.signature(method).parameters.values())[1:]
            expected = [
                p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters
            ]
            assert arguments == ", ".join(expected), name


def test_reference_lists_the_attributes_of_both_drivers() -> None:
    protocol = {name for name in dir(asyncio.BufferedProtocol) if not name.startswith("_")}
    drivers = gateway_asyncio.ConnectionDriver, gateway_trio.ConnectionDriver
    on_asyncio, on_trio = map(_public, drivers)
    named = [name for name, _ in _calls("adapters", "ConnectionDriver")]

    assert set(named) == on_trio
    assert set(named) - {"run"} == on_asyncio - protocol
