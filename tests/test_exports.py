"""Every public name is exported, and every export has a docstring."""

from __future__ import annotations

import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

import gateway_proto
from gateway_proto import testing

FOLDER = pathlib.Path(gateway_proto.__file__).parent
# Imported from their own modules: helpers of tests, and internals of both roles.
APART = {
    "testing": None,
    "trace": None,
    "endpoint": {"Answer", "answer", "refusal_text", "route_of"},
    "gateway": {"AdapterGateway", "log_error", "log_events", "shards_ended"},
    "interactions": None,
    "requests": {"ANSWERS", "Requests"},
    "rest": None,
    "session": {"LONGEST_ID"},
    "urls": {"LONGEST_URL"},
    "world_objects": None,
}
MODULES = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if not path.stem.startswith("_") and APART.get(path.stem, ()) is not None
)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_a_module_is_exported(name: str) -> None:
    module = importlib.import_module(f"gateway_proto.{name}")
    apart = APART.get(name) or set()

    assert set(module.__all__) - apart <= set(gateway_proto.__all__)


def test_export_list_has_every_export_once() -> None:
    assert len(gateway_proto.__all__) == len(set(gateway_proto.__all__))
    for name in gateway_proto.__all__:
        assert hasattr(gateway_proto, name), name


def test_unknown_attribute_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gateway_proto' has no attribute 'Nothing'"):
        _ = gateway_proto.Nothing


def test_import_does_not_load_the_server_role() -> None:
    code = (
        "import sys, gateway_proto; print(*sys.modules); gateway_proto.Server; print(*sys.modules)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    before, after = map(str.split, said.splitlines())

    assert "gateway_proto.server" not in before
    assert "gateway_proto.server" in after


def test_dir_has_the_lazily_imported_names() -> None:
    assert set(gateway_proto.__all__) <= set(dir(gateway_proto))


@pytest.mark.parametrize("name", [*gateway_proto.__all__, *testing.__all__])
def test_everything_exported_is_documented(name: str) -> None:
    thing = getattr(gateway_proto if name in gateway_proto.__all__ else testing, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return  # unions and tables: documented where they are defined

    documented = inspect.getdoc(thing)

    assert documented, name
    for method, value in vars(thing).items():
        if inspect.isfunction(value) and not method.startswith("_"):
            assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"
