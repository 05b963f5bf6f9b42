"""Recorder that writes to a file that only its owner can read."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator

from gateway_cli.private import NotOurs, private_file
from gateway_cli.show import MISUSED, fail
from gateway_proto.trace import FORMAT, Recorder

__all__ = ["open_recorder"]


@contextlib.contextmanager
def open_recorder(
    path: pathlib.Path | None, report: Callable[[str], None]
) -> Iterator[Recorder | None]:
    """Yield a recorder that writes each line when it is complete. Without a path, yield None.

    A file that is there is overwritten if it is a trace; any other file is reported, and ends the
    command. A disk that is full ends the recording, not what is recorded: `report` is called.
    """
    if path is None:
        yield None
        return
    try:
        file = private_file(path, is_ours=_is_trace)
    except NotOurs as error:
        fail(f"--record {path}: {error}", status=MISUSED)
    except (OSError, ValueError) as error:
        fail(f"--record {path}: {getattr(error, 'strerror', None) or error}", status=MISUSED)
    failed = False

    def write(text: str) -> None:
        nonlocal failed
        if failed:
            return
        try:
            file.write(text)
        except OSError as error:
            failed = True
            report(f"the trace {path} is incomplete: {error.strerror or error}")

    recorder = Recorder(write)
    try:
        yield recorder
    finally:
        recorder.close()
        with contextlib.suppress(OSError):  # what the full disk did not take
            file.close()


def _is_trace(head: bytes) -> bool:
    return FORMAT.encode() in head.partition(b"\n")[0]
