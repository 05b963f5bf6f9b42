"""Session file that is complete even if the process is killed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import stat
import tempfile
from collections.abc import Iterator

from gateway_cli.private import NotOurs, locked
from gateway_cli.progress import read_text
from gateway_cli.show import MISUSED, complain, fail
from gateway_proto import Config, LocalProtocolError, Session

__all__ = ["NotSaved", "SessionFile", "check_session_option", "session_file"]

_MAX_BYTES = 2**20


class NotSaved(Exception):
    """The session could not be written; the message names the file."""


class SessionFile:
    """A session on disk."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._saved: Session | None = None

    @property
    def session(self) -> Session | None:
        """Session as of the last `load` or `save`."""
        return self._saved

    def load(self, config: Config) -> None:
        """Read the session. One that does not fit `config` is reported, and left until a new one.

        A file that is not a session is reported, and ends the command.
        """
        if not self._path.exists():
            return
        text = read_text(self._path, option="--session", largest=_MAX_BYTES)
        if not text.strip():
            return
        try:
            session = Session.from_json(text)
        except LocalProtocolError as error:
            fail(f"--session {self._path}: not a session: {error}", status=MISUSED)
        misfit = session.misfit(config)
        if misfit is None:
            self._saved = session
        else:
            complain(f"{self._path} is not used: {misfit}")

    def save(self, session: Session | None) -> None:
        """Write what has changed; a lost session removes the file. Raises `NotSaved`."""
        if session == self._saved:
            return
        try:
            if session is None:
                self._path.unlink(missing_ok=True)
            else:
                self._write(session.to_json())
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise NotSaved(f"cannot save the session in {self._path}: {reason}") from None
        self._saved = session

    def _write(self, text: str) -> None:
        # A short prefix: with the name of the file it might be too long.
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".session.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(name, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def check_session_option(
    session: pathlib.Path | None, shards: int | None, record: pathlib.Path | None
) -> None:
    """End with the reason if --session and other options exclude each other."""
    if session is None:
        return
    if shards is not None:
        fail("--session is for one connection: leave out --session or --shards", status=MISUSED)
    if record is not None and os.path.realpath(session) == os.path.realpath(record):
        fail(f"--session and --record name one file, {record}: expected two", status=MISUSED)


@contextlib.contextmanager
def session_file(path: pathlib.Path | None, config: Config) -> Iterator[SessionFile | None]:
    """Read a session file, and keep other processes from it; None without a path.

    A folder that cannot be written, an invalid session file, and one that another process uses
    are reported, and end the command.
    """
    if path is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            file = _opened(path, config, stack)
        except NotOurs as error:
            fail(f"--session {path}: {error}", status=MISUSED)
        except OSError as error:
            fail(f"--session {path}: {error.strerror or error}", status=MISUSED)
        yield file


def _opened(path: pathlib.Path, config: Config, stack: contextlib.ExitStack) -> SessionFile:
    target = pathlib.Path(os.path.realpath(path))  # a link stays one
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(target.stat().st_mode):
            raise NotOurs("not a regular file")
    stack.enter_context(locked(target))
    file = SessionFile(target)
    file.load(config)
    return file
