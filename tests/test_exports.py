"""Every public module exports what its `__all__` lists, and every export has a docstring."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import gateway_proto

PUBLIC = (
    "gateway_proto",
    "gateway_proto.driver",
    "gateway_proto.fleet",
    "gateway_proto.server",
    "gateway_proto.shards",
    "gateway_proto.testing",
    "gateway_proto.trace",
)
EXPORTS = [(module, name) for module in PUBLIC for name in importlib.import_module(module).__all__]


@pytest.mark.parametrize("module", PUBLIC)
def test_export_list_has_every_export_once(module: str) -> None:
    loaded = importlib.import_module(module)

    assert len(loaded.__all__) == len(set(loaded.__all__))
    for name in loaded.__all__:
        assert hasattr(loaded, name), name


def test_top_level_has_about_65_names() -> None:
    assert len(gateway_proto.__all__) <= 70


@pytest.mark.parametrize(("module", "name"), EXPORTS)
def test_nothing_public_is_defined_in_a_private_module(module: str, name: str) -> None:
    defined_in = getattr(getattr(importlib.import_module(module), name), "__module__", "")

    assert not any(part.startswith("_") for part in defined_in.split("."))


def test_import_does_not_load_the_server_role() -> None:
    code = "import sys, gateway_proto; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    for role in ("server", "shards", "fleet", "driver", "trace", "testing"):
        assert f"gateway_proto.{role}" not in loaded


@pytest.mark.parametrize(("module", "name"), EXPORTS)
def test_everything_exported_is_documented(module: str, name: str) -> None:
    thing = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return  # unions and tables have a docstring after their assignment

    documented = inspect.getdoc(thing)

    assert documented, name
    for method, value in vars(thing).items():
        if inspect.isfunction(value) and not method.startswith("_"):
            assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"
