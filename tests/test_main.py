"""`python -m gateway_proto`."""

from __future__ import annotations

import runpy

import pytest


def test_module_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gateway-proto", "--version"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("gateway_proto", run_name="__main__")

    assert ended.value.code in (0, None)
    assert "gateway_proto" in capsys.readouterr().out.replace("-", "_")
