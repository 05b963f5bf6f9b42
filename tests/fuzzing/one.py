"""a target's name, libFuzzer's options → the target, fuzzed until a finding or the end of the time.

It runs in a process of its own, which libFuzzer ends: `python -m tests.fuzzing` starts it.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["gateway_proto", "gateway_cli", "wsproto", "h11"]):
    from tests.fuzzing.targets import TARGETS


def main() -> None:
    """Never returns."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


main()
