"""a target's name, libFuzzer's options → the target, fuzzed until a finding or the end of the time.

It runs in a process of its own, which libFuzzer ends: `python -m tests.fuzzing` starts it.
"""

from __future__ import annotations

import resource
import sys

import atheris

with atheris.instrument_imports(include=["gateway_proto", "gateway_cli", "wsproto", "h11"]):
    from tests.fuzzing.targets import TARGETS

MEMORY = 2**30
"""Bytes that the process may have: with more, whoever asks gets MemoryError, and is found."""


def main() -> None:
    """Never returns."""
    name = sys.argv.pop(1)
    # libFuzzer looks at the memory once a second, and would blame the input of that second.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


main()
