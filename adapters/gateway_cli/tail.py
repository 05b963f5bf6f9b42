"""events → lines; and the session, as printed, → a file."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import tempfile
from typing import Any

from gateway_asyncio import open_gateway
from gateway_cli.recording import recording
from gateway_cli.show import Screen, describe
from gateway_proto import (
    Config,
    DialFailed,
    Dispatch,
    LocalProtocolError,
    Session,
    session_after,
)

__all__ = ["SessionFile", "TailError", "tail"]


class TailError(Exception):
    """It ended for a reason that its user should know."""


class SessionFile:
    """A session on disk: whole, whenever the process is killed."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._saved: Session | None = None

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


def _as_json(event: Any) -> str:
    line: dict[str, Any] = {"event": type(event).__name__, "name": None, "sequence": None}
    if isinstance(event, Dispatch):
        line |= {"name": event.name, "sequence": event.sequence, "data": event.data}
    else:
        line["text"] = describe(event)
    return json.dumps(line, ensure_ascii=False)


async def tail(
    screen: Screen,
    config: Config,
    *,
    session_file: SessionFile | None,
    as_json: bool,
    record: pathlib.Path | None,
) -> None:
    """Print events as they come, until the client gives up. Raises `TailError`, OSError."""
    session = None
    if session_file is not None:
        session = session_file.load()
    try:
        with recording(record) as recorder:
            opening = open_gateway(config, session=session, recorder=recorder)
            async with opening as gateway:
                connected = False
                async for event in gateway:
                    if as_json:
                        sys.stdout.write(_as_json(event) + "\n")
                        sys.stdout.flush()
                    else:
                        screen.line("tail", describe(event))
                    session = session_after(session, event)
                    if session_file is not None:
                        session_file.save(session)
                    if isinstance(event, DialFailed) and not connected:
                        raise TailError(describe(event))
                    connected = connected or gateway.state is not None
                if gateway.gave_up is not None:
                    raise TailError(gateway.gave_up)
    except LocalProtocolError as error:
        raise TailError(str(error)) from None
