"""Profiles of Hypothesis, signals and environment of the tests, and processes of the examples.

`pytest --hypothesis-profile=long` runs fifty times as many examples of Hypothesis.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# No deadline per example: on a busy system tests would fail.
settings.register_profile("short", deadline=None)
settings.register_profile("long", max_examples=5000, stateful_step_count=100, deadline=None)
settings.load_profile("short")

# A shell starts background jobs (`pytest &`) with SIGINT ignored, and the processes that the tests
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# mutmut adds frames to every call, also within values nested to their limit.
if "MUTANT_UNDER_TEST" in os.environ:
    sys.setrecursionlimit(10_000)

# Clients dial loopback addresses, so they must not use a proxy from the environment.
for name in ("ws", "wss", "http", "https", "all", "socks"):
    for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
        os.environ.pop(variable, None)

# The event loop of the tests on asyncio, by the name of its module; else asyncio's own.
if (loop := os.environ.get("GATEWAY_TEST_LOOP")) is not None:
    asyncio.set_event_loop_policy(importlib.import_module(loop).EventLoopPolicy())

_ROOT = pathlib.Path(__file__).parents[1]


def pytest_collection_finish() -> None:
    """Keep modules and collected tests out of all garbage collections.

    Tests that look for leaks collect, which takes 0.1 seconds with 10,000 collected tests.
    """
    gc.collect()
    gc.freeze()


def _start(example: str, **env: str) -> subprocess.Popen[str]:
    name, *arguments = example.split()
    command = [sys.executable, "-W", "error", str(_ROOT / "examples" / name), *arguments]
    if name == "on_tk.py" and not os.environ.get("DISPLAY"):
        command = ["xvfb-run", "--auto-servernum", *command]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'adapters'}", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def start_example() -> Iterator[Any]:
    """Return a function that starts an example; it ends with the test at the latest."""
    started: list[subprocess.Popen[str]] = []

    def starter(example: str, **env: str) -> subprocess.Popen[str]:
        started.append(_start(example, **env))
        return started[-1]

    yield starter
    for process in started:
        # Children of xvfb-run would keep the pipes open.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
