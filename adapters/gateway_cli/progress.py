"""Text of files, as editors and shells of every system write them."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

import rich.progress
from rich.console import Console

from gateway_cli.show import MISUSED, fail

__all__ = ["cannot", "open_with_progress", "read_text"]

_MAX_BYTES = 64 * 2**20
_HEADS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks that Notepad, PowerShell and others write. UTF-32's begins with UTF-16's."""
_NO_TEXT = "neither UTF-8 nor UTF-16 with a byte order mark"


def read_text(path: pathlib.Path, *, option: str = "", largest: int = _MAX_BYTES) -> str:
    """Return the text of a file with line ends of "\\n"; end with the reason if unreadable.

    `option` is the option that names the file.
    """
    name = f"{option} {path}".lstrip()
    try:
        with _open(path) as file:
            data = file.read(largest + 1)
    except (OSError, ValueError) as error:
        cannot(name, error)
    if len(data) > largest:
        fail(f"{name}: too large: at most {largest} bytes are read", status=MISUSED)
    try:
        text = data.decode(_encoding(data))
    except UnicodeError:
        fail(f"{name}: {_NO_TEXT}", status=MISUSED)
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextlib.contextmanager
def open_with_progress(
    path: pathlib.Path, console: Console, *, quietly: bool = False
) -> Iterator[Iterator[str]]:
    """Yield the lines of a text file. On a terminal, show the progress.

    What is printed meanwhile must go to the same console. A file that cannot be read is reported,
    and ends the command.
    """
    try:
        file = _open(path)
    except (OSError, ValueError) as error:
        cannot(path, error)
    with file:
        size = os.fstat(file.fileno()).st_size
        encoding = _encoding(file.peek(4)[:4])
        with rich.progress.wrap_file(
            file,
            size or 1,
            description=path.name,
            console=console,
            transient=True,
            disable=quietly or not console.is_terminal,
        ) as read:
            yield _lines(read, encoding, path)


def cannot(name: pathlib.Path | str, error: OSError | ValueError) -> NoReturn:
    """End the command, and report why a file cannot be used."""
    fail(f"{name}: {getattr(error, 'strerror', None) or error}", status=MISUSED)


def _lines(file: BinaryIO, encoding: str, path: pathlib.Path) -> Iterator[str]:
    try:
        yield from io.TextIOWrapper(file, encoding=encoding)
    except OSError as error:
        cannot(path, error)
    except UnicodeError:
        fail(f"{path}: {_NO_TEXT}", status=MISUSED)


def _open(path: pathlib.Path) -> io.BufferedReader:
    file = path.open("rb")
    mode = os.fstat(file.fileno()).st_mode
    if (stat.S_ISCHR(mode) and not file.isatty()) or stat.S_ISBLK(mode):
        file.close()
        raise ValueError("a device, not a file")
    return file


def _encoding(head: bytes) -> str:
    return next((name for mark, name in _HEADS if head.startswith(mark)), "utf-8")
