"""Assertion that the code still behaves as a trace recorded."""

from __future__ import annotations

import os

from gateway_proto.trace import replay

__all__ = ["assert_replays"]

_SHOWN = 5


def assert_replays(path: str | os.PathLike[str]) -> None:
    """Replay a trace; raises AssertionError that shows the first lines that differ.

    Raises `gateway_proto.trace.TraceError` for a file that is not a trace, and OSError.
    """
    __tracebackhide__ = True
    with open(path, encoding="utf-8") as lines:
        different = [step for step in replay(lines) if step.differences]
    if different:
        shown = [
            f"line {step.number}, {step.line.get('call') or step.line.get('took')}: {d.what} "
            f"recorded {d.recorded!r}, now {d.replayed!r}"
            for step in different[:_SHOWN]
            for d in step.differences
        ]
        raise AssertionError(
            f"{len(different)} lines of {os.fspath(path)} differ:\n  " + "\n  ".join(shown)
        )
