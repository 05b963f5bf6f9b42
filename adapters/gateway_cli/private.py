"""Files that only their owner can read, and only one process writes."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import stat
from collections.abc import Callable, Iterator
from typing import TextIO

__all__ = ["NotOurs", "locked", "private_file"]

_HEAD = 4096
_LOCKED = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)


class NotOurs(Exception):
    """A file may not be written: it holds something else, or another process writes it."""


def private_file(path: pathlib.Path, *, is_ours: Callable[[bytes], bool]) -> TextIO:
    """Open a text file to write it from its beginning, readable by its owner alone.

    A file that is there is overwritten if it is empty or `is_ours(its first bytes)`, and made
    private before anything is written. Raises `NotOurs` and OSError; then nothing has changed.
    """
    # Without O_NONBLOCK a named pipe would wait for a reader here.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NotOurs("not a regular file") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotOurs("not a regular file")
        if not _lock(handle):
            raise NotOurs("another process writes it")
        head = os.read(handle, _HEAD)
        if head.strip() and not is_ours(head):
            raise NotOurs("there is another file: it is not overwritten")
        if hasattr(os, "fchmod"):
            os.fchmod(handle, 0o600)
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        return open(handle, "w", buffering=1, encoding="utf-8")
    except BaseException:
        os.close(handle)
        raise


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Hold the lock `.NAME.lock` next to a file, until the process ends.

    Raises `NotOurs` if another process holds it, or if something else has its name, and OSError if
    there can be no file.
    """
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with contextlib.suppress(FileNotFoundError):
            found = lock.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size:
                raise NotOurs(f"its lock {lock.name} is another file, which would be removed")
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _lock(handle):
                raise NotOurs("another process uses it")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(lock), os.fstat(handle)):
                    break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its owner removed it as it was opened
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no file that is open
            lock.unlink()
        os.close(handle)
        if os.name == "nt":
            with contextlib.suppress(OSError):
                lock.unlink()


def _lock(handle: int) -> bool:
    """Lock an open file; False if another process has. A file system may have no locks."""
    try:
        try:
            import fcntl
        except ImportError:
            import msvcrt

            locking = getattr(msvcrt, "locking")  # noqa: B009 - a name of Windows alone
            locking(handle, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _LOCKED
    return True
