"""a path → a recorder that writes there, for its owner's eyes."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

from gateway_proto.trace import Recorder

__all__ = ["recording"]


@contextlib.contextmanager
def recording(path: pathlib.Path | None) -> Iterator[Recorder | None]:
    """A recorder, whose lines are in the file as soon as they are whole; None without a path.

    Raises OSError where there can be no file.
    """
    if path is None:
        yield None
        return

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    with open(path, "w", buffering=1, encoding="utf-8", opener=private) as file:
        recorder = Recorder(file.write)
        try:
            yield recorder
        finally:
            recorder.close()
