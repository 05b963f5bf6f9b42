"""`python -m gateway_proto` is the command line."""

from __future__ import annotations

import pathlib
import runpy
import sys
from types import ModuleType

import pytest

import gateway_proto


def test_running_the_module_calls_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    command_line = ModuleType("gateway_cli")
    command_line.main = lambda: calls.append("main")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gateway_cli", command_line)

    # Not by module name: pytest's import hook of an installed plugin cannot return its code.
    module = pathlib.Path(gateway_proto.__file__).with_name("__main__.py")
    runpy.run_path(str(module), run_name="__main__")

    assert calls == ["main"]
