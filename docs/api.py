"""Generator of the API reference: HTML pages by pdoc, with every public name.

    pip install -e . --group docs
    python docs/api.py FOLDER

It exits with 1 if a public name is missing or has no docstring, and names it.
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
import re
import sys
from collections.abc import Iterator

import pdoc

import gateway_proto

MODULES = (
    "gateway_proto",
    "gateway_proto.driver",
    "gateway_proto.fleet",
    "gateway_proto.server",
    "gateway_proto.shards",
    "gateway_proto.testing",
    "gateway_proto.trace",
    "gateway_asyncio",
    "gateway_trio",
    "gateway_fleet",
    "gateway_pytest",
)
"""Modules with public names."""
_NO_PAGES = ("!gateway_proto.trace.replay",)
"""A module with the name of a public function: pdoc takes it for a public module."""


def names(module: str) -> Iterator[str]:
    """Yield the public names of a module, and after each class those of its own public members."""
    loaded = importlib.import_module(module)
    for name in loaded.__all__:
        yield name
        thing = getattr(loaded, name)
        if inspect.isclass(thing):
            fields = getattr(thing, "__annotations__", {})
            for member in sorted({*vars(thing), *fields}):
                if not member.startswith("_"):
                    yield f"{name}.{member}"


def build(folder: pathlib.Path) -> list[str]:
    """Write the pages; returns what is missing in them."""
    pdoc.render.configure(
        docformat="markdown",
        show_source=False,
        footer_text=f"gateway_proto {gateway_proto.__version__}",
    )
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            # gateway_pytest imports some names at their first access, which pdoc does not do.
            vars(module)[name] = getattr(module, name)
    pdoc.pdoc(*MODULES, *_NO_PAGES, output_directory=folder)
    missing = []
    for module in MODULES:
        page = folder.joinpath(*module.split(".")).with_suffix(".html")
        places = set(re.findall(r'<section id="([^"]+)"|<div id="([^"]+)"', page.read_text()))
        anchors = {first or second for first, second in places}
        missing += [f"{module}.{name}" for name in names(module) if name not in anchors]
    return missing


def main() -> int:
    """Build into the folder that is named; returns the exit status."""
    if len(sys.argv) != 2:
        print("usage: python docs/api.py FOLDER")
        return 2
    folder = pathlib.Path(sys.argv[1])
    missing = build(folder)
    for name in missing:
        print(f"{name} is missing")
    if not missing:
        print(f"{len(MODULES)} modules are described in {folder / 'index.html'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
