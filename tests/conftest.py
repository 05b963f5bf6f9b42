"""Profiles of Hypothesis: `pytest --hypothesis-profile=long` runs fifty times as many examples."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# No deadline per example: on a busy system tests would fail.
settings.register_profile("short", deadline=None)
settings.register_profile("long", max_examples=5000, stateful_step_count=100, deadline=None)
settings.load_profile("short")

# A shell starts background jobs (`pytest &`) with SIGINT ignored, and the processes that the tests
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Clients dial loopback addresses, so they must not use a proxy from the environment.
for name in ("ws", "wss", "http", "https", "all", "socks"):
    for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
        os.environ.pop(variable, None)
