"""a session ↔ a file that is whole, whenever the process is killed."""

from __future__ import annotations

import os
import pathlib
import tempfile

import typer

from gateway_proto import Config, LocalProtocolError, Session

__all__ = ["SessionFile"]


class SessionFile:
    """A session on disk."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._saved: Session | None = None

    @classmethod
    def of(cls, path: pathlib.Path, config: Config) -> SessionFile:
        """The file; a session in it that does not fit is dropped with a word."""
        file = cls(path)
        try:
            stored = file.load()
            if stored is not None:
                stored.check_fits(config)
        except LocalProtocolError as error:
            typer.echo(f"gateway-proto: {path} is not used: {error}", err=True)
            file.forget()
        return file

    def load(self) -> Session | None:
        """The session; None where there is no file. Raises `LocalProtocolError`, OSError."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return None
        self._saved = Session.from_json(text)
        return self._saved

    def forget(self) -> None:
        """Remove the file, whatever it holds."""
        self._saved = None
        self._path.unlink(missing_ok=True)

    def save(self, session: Session | None) -> None:
        """Write what has changed; a lost session removes the file."""
        if session == self._saved:
            return
        if session is None:
            self.forget()
            return
        self._saved = session
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(session.to_json())
        os.replace(name, self._path)
