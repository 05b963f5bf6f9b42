"""Modules that are imported on use: clients that do not need them start faster."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ON_USE = ("h11", "wsproto", "gateway_proto.encoding.etf", "gateway_proto.server", "logging")
_CODE = """
import json, sys
from gateway_proto import ClientConnection, Config
def loaded(): return [name for name in {names} if name in sys.modules]
found = [loaded()]
config = Config(token="t", intents=0, gateway_url="ws://localhost")
for framing in (False, True):
    ClientConnection(config, "ws://localhost", now=0.0, framing=framing)
    found.append(loaded())
print(json.dumps(found))
"""


def _output(code: str) -> list[list[str]]:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert not result.returncode, result.stderr.decode()
    found: list[list[str]] = json.loads(result.stdout)
    return found


def test_connection_imports_h11_and_wsproto_only_if_it_frames() -> None:
    assert _output(_CODE.format(names=ON_USE)) == [[], [], ["h11", "wsproto"]]


@pytest.mark.parametrize("adapter", ["gateway_asyncio", "gateway_trio"])
def test_adapter_imports_h11_and_wsproto_before_a_connection(adapter: str) -> None:
    names = ("h11", "gateway_proto.client.lookup", "gateway_proto.wire.frames")
    found = f"[name for name in {names} if name in sys.modules]"

    assert _output(f"import json, sys, {adapter}; print(json.dumps([{found}]))") == [list(names)]
