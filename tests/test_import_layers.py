"""The imports between modules: no circle, one direction, and a bounded number of levels."""

from __future__ import annotations

import ast
import fnmatch
import functools
import pathlib
from collections.abc import Iterator

import pytest

import gateway_proto

PACKAGE = "gateway_proto"
FOLDER = pathlib.Path(gateway_proto.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    # timing, encoding and helpers: each imports no other layer
    (
        *("errors", "_checks", "_redaction", "_repr", "_version", "shard_ids"),
        *("encoding", "encoding.*", "timing", "timing.*", "wire", "wire.envelope", "wire.http_*"),
    ),
    # vocabulary
    (
        *("versions", "commands", "events", "intents", "urls", "server.faults"),
        *("wire.close_codes", "timing.voice_states"),
    ),
    # config, state
    ("state", "config"),
    # wire, session
    ("wire.*", "session", "server.received_log"),
    # connection
    ("connection",),
    # client
    ("client", "client.*"),
    # shards of one process, and of several
    ("shards", "shards.*", "fleet", "fleet.*"),
    # server, driver
    ("server", "server.*", "driver", "driver.*"),
    # trace, testing
    ("trace", "trace.*", "testing", "testing.*"),
    # the package itself, which imports all public names
    ("", "__main__"),
)
"""Patterns of the modules of each layer. A module imports from its own layer and lower ones."""

EXCEPTIONS = {
    ("config", "wire.compression"): "Config checks whether zstd is installed",
}
"""Imports of a higher layer, with the reason."""

CORE = 7
"""The number of the highest layer of the core, that of servers and drivers."""
MAX_LEVELS = 11
"""Modules in the longest chain of imports of the core."""

TYPED_OWNERS = {"driver.event_queue", "driver.gateway", "server.connection"}
"""Modules that their own parts import for type checkers only, not at run time."""


def _layer(module: str) -> int:
    """Return the number of a module's layer."""
    for number, patterns in enumerate(LAYERS):
        if any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns):
            return number
    raise AssertionError(f"{module} is in no layer")


def _name(path: pathlib.Path) -> str:
    parts = path.relative_to(FOLDER).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_name(path): path for path in sorted(FOLDER.rglob("*.py"))}


def _imported(node: ast.AST) -> Iterator[str]:
    """The modules of the package that one statement imports, whether in a function or not."""
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        module = node.module or ""
        names = [f"{module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Import):
        module, names = "", [alias.name for alias in node.names]
    else:
        return
    for name in names:
        for full in (name, module):
            known = full.removeprefix(PACKAGE).removeprefix(".")
            if full.partition(".")[0] == PACKAGE and known in SOURCES:
                yield known
                break


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _walk(node: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if types or not _is_type_checking(child):
            yield child
            yield from _walk(child, types=types)


@functools.cache
def _graph(*, types: bool) -> dict[str, frozenset[str]]:
    """The imports of each module; with `types` those under `if TYPE_CHECKING` too."""
    return {
        module: frozenset(
            name
            for node in _walk(ast.parse(path.read_text()), types=types)
            for name in _imported(node)
            if name != module
        )
        for module, path in SOURCES.items()
    }


def _circle(graph: dict[str, frozenset[str]]) -> list[str]:
    """A circle of imports, or an empty list."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module not in done:
            for name in sorted(graph[module]):
                if found := search(name, [*path, module]):
                    return found
            done.add(module)
        return []

    return next(filter(None, (search(module, []) for module in graph)), [])


def _longest_chain(graph: dict[str, frozenset[str]], module: str) -> tuple[str, ...]:
    @functools.cache
    def chain(module: str) -> tuple[str, ...]:
        return (module, *max(map(chain, sorted(graph[module])), key=len, default=()))

    return chain(module)


def test_imports_form_no_circle() -> None:
    assert _circle(_graph(types=False)) == []


def test_type_imports_form_no_circle() -> None:
    runtime = _graph(types=False)
    graph = {
        module: names - (TYPED_OWNERS - runtime[module])
        for module, names in _graph(types=True).items()
    }

    assert _circle(graph) == []


def test_import_chains_of_the_core_are_short() -> None:
    graph = _graph(types=False)
    core = [module for module in SOURCES if _layer(module) <= CORE]

    longest = max((_longest_chain(graph, module) for module in core), key=len)

    assert len(longest) <= MAX_LEVELS, " > ".join(longest)


@pytest.mark.parametrize("module", SOURCES)
def test_module_imports_no_higher_layer(module: str) -> None:
    layer = _layer(module)

    higher = {name for name in _graph(types=True)[module] if _layer(name) > layer}

    assert higher - {name for importer, name in EXCEPTIONS if importer == module} == set()


def test_timing_imports_only_timing_and_errors() -> None:
    for module, names in _graph(types=True).items():
        if module.startswith("timing.") and module != "timing.voice_states":
            others = {name for name in names if not name.startswith("timing")}
            assert others <= {"errors", "_checks", "_repr"}, module


@pytest.mark.parametrize(
    "module", ["wire.fast_frames", "testing.simulation.tcp", "testing.simulation.tap"]
)
def test_frame_headers_are_parsed_in_one_module(module: str) -> None:
    """Only `read_header` and the fast parser's loop know the length codes of a frame header."""
    numbers = {
        node.value
        for node in ast.walk(ast.parse(SOURCES[module].read_text()))
        if isinstance(node, ast.Constant)
    }

    assert ({126, 127} <= numbers) is (module == "wire.fast_frames")
