"""The command `gateway-proto`, before anything that may be missing or take long is imported."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

__all__ = ["ending_signals", "exit_without_extra", "main"]

_EXTRA = ("typer", "rich", "yaml", "trustme", "trio")


def main() -> None:
    """Run the command `gateway-proto`, and exit with its status."""
    try:
        # Also where a shell started it in the background, and with Ctrl-C ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in ending_signals()[1:]:
            signal.signal(number, _interrupt)
        _open_standard_streams()
        try:
            from gateway_cli.app import run_command
        except ModuleNotFoundError as error:
            exit_without_extra(error)
            raise
        status = run_command()
    except KeyboardInterrupt:  # before the command has begun, or after its end
        status = 130
    sys.exit(status)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a command, SIGINT first. `nohup` has SIGHUP ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    return numbers


def exit_without_extra(error: ModuleNotFoundError) -> None:
    """Exit with 2 if a module of the extra `cli` is missing."""
    missing = (error.name or "").partition(".")[0]
    if missing in _EXTRA:
        sys.stderr.write(
            f"gateway-proto: the command line needs {missing}: install gateway-proto[cli]\n"
        )
        sys.exit(2)


def _open_standard_streams() -> None:
    """Make all three usable: closed ones, and encodings without some characters."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # Or the next socket had this number, and got what is printed.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.dup(number), mode, encoding="utf-8"))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
