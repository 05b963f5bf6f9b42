"""profiles of Hypothesis: `pytest --hypothesis-profile=long` looks fifty times as long."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# How long an example takes is the machine's business: a busy one would fail tests.
settings.register_profile("short", deadline=None)
settings.register_profile("long", max_examples=5000, stateful_step_count=100, deadline=None)
settings.load_profile("short")

# A shell that starts something behind itself (`pytest &`) has it ignore Ctrl-C, and what the tests
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Clients dial loopback: a proxy of the environment, which they would use, is not asked there.
for name in ("ws", "wss", "http", "https", "all", "socks"):
    for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
        os.environ.pop(variable, None)
