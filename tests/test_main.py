"""`python -m gateway_proto` is the command line."""

from __future__ import annotations

import runpy
import sys
from types import ModuleType

import pytest


def test_running_the_module_calls_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    command_line = ModuleType("gateway_cli")
    command_line.main = lambda: calls.append("main")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gateway_cli", command_line)

    runpy.run_module("gateway_proto", run_name="__main__")

    assert calls == ["main"]
