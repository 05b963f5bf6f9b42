"""Draw docs/pictures/demo.svg and tail.svg: the commands on a terminal of 80 columns.

`python docs/terminal.py` runs `demo`, and `tail` against `serve`, each on a pseudo-terminal. The
times in the pictures differ from run to run.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pyte
from rich.console import Console
from rich.text import Text

PICTURES = pathlib.Path(__file__).parent / "pictures"
COMMAND = [sys.executable, "-m", "gateway_cli"]
ROWS, COLUMNS = 24, 80
COLOURS = {"brown": "yellow"}
"""Names of pyte that rich calls otherwise."""
MESSAGE = {
    "t": "MESSAGE_CREATE",
    "d": {"content": "hello", "author": {"id": "80351110224678912", "username": "Nelly"}},
}


def run(words: list[str], until: Callable[[str], Any]) -> pyte.Screen:
    """Run a command on a terminal until its end, or until `until` returns True for the text."""
    process, ours = pty.fork()
    if process == 0:
        os.environ |= {"TERM": "xterm-256color", "GATEWAY_TOKEN": "any"}
        os.execv(sys.executable, [*COMMAND, *words])
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    end = time.monotonic() + 60
    with contextlib.suppress(OSError):  # EIO: the command has ended
        while not until("\n".join(screen.display)):
            if time.monotonic() > end:
                raise TimeoutError("\n".join(screen.display))
            if select.select([ours], [], [], 0.1)[0]:
                stream.feed(os.read(ours, 65536))
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGINT)
    os.waitpid(process, 0)
    os.close(ours)
    return screen


def _spans(row: Any) -> Iterator[tuple[str, str]]:
    """Text and style of the parts of a row."""
    cells = [row[column] for column in range(COLUMNS)]
    for (bold, colour), part in itertools.groupby(cells, lambda cell: (cell.bold, cell.fg)):
        style = f"{'bold ' if bold else ''}{COLOURS.get(colour, colour)}"
        yield "".join(cell.data for cell in part), style


def save(screen: pyte.Screen, name: str) -> None:
    """Write the picture of a screen."""
    lines = [Text.assemble(*_spans(screen.buffer[row])) for row in range(ROWS)]
    for line in lines:
        line.rstrip()
    while not lines[-1].plain:
        lines.pop()
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("\n").join(lines))
    drawn = console.export_svg(title=f"gateway-proto {name}")
    # Without fonts of a third-party host.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.S)
    (PICTURES / f"{name}.svg").write_text(drawn)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run `serve`; yield the URL of its host."""
    options = ["--port", "0", "--control", "--heartbeat-interval", "1500"]
    with subprocess.Popen([*COMMAND, "serve", *options], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().split()[-1].removesuffix("/api")
        process.terminate()


def post(url: str, body: object) -> None:
    """Call the control route."""
    urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10).close()


def main() -> None:
    save(run(["demo"], lambda _: False), "demo")
    with serving() as host:
        dropped: list[bool] = []

        def act(shown: str) -> bool:
            if not dropped and "heartbeat ACK" in shown:
                post(f"{host}/control/dispatch", MESSAGE)
                post(f"{host}/control/drop", {})
                post(f"{host}/control/dispatch", MESSAGE)
                dropped.append(True)
            return re.search(r"RESUMED.*heartbeat ACK.*ready +\d", shown, re.S) is not None

        options = ["--intents", "guild_messages"]
        save(run(["tail", "--api", f"{host}/api", *options], act), "tail")


if __name__ == "__main__":
    main()
