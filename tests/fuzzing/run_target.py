"""Fuzz one target, with options of libFuzzer, until a finding or the end of the time.

It runs in its own process, which libFuzzer ends; `python -m tests.fuzzing` starts it.
"""

from __future__ import annotations

import resource
import sys

import atheris

with atheris.instrument_imports(include=["gateway_proto", "gateway_cli", "wsproto", "h11"]):
    from tests.fuzzing.targets import TARGETS

MEMORY = 2**30
"""Memory of the process in bytes; a larger allocation raises MemoryError, a finding."""


def main() -> None:
    """Run libFuzzer, which does not return."""
    name = sys.argv.pop(1)
    # libFuzzer checks the memory once a second and would report the input of that second.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


main()
