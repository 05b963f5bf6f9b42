"""a path → its lines; on a terminal is seen how far it has been read."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterable, Iterator

import rich.progress
from rich.console import Console

__all__ = ["reading"]


@contextlib.contextmanager
def reading(
    path: pathlib.Path, console: Console, *, quietly: bool = False
) -> Iterator[Iterable[str]]:
    """The lines of a text file; what is printed meanwhile must go to the same console.

    Raises OSError where it cannot be read, and UnicodeError where it is no text.
    """
    with rich.progress.open(
        path,
        "r",
        encoding="utf-8",
        description=path.name,
        console=console,
        transient=True,
        disable=quietly or not console.is_terminal,
    ) as lines:
        yield lines
