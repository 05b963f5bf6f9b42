"""Code blocks, links and titles of a Markdown page, and running its blocks unchanged.

A Python block that reads GATEWAY_TOKEN runs in its own process, against a gateway that sends
"hello" and then "!stop". A block with tests runs under pytest. Any other runs after the previous
ones of its page, in the same namespace. Shell lines with `gateway-proto` must name existing
commands and options.
"""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib.util import find_spec

import attrs

from gateway_proto import Identify
from gateway_pytest import RunningGateway
from tests.command_list import every_command, names_of

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
_ENV = {"PYTHONPATH": f"{ROOT}:{ROOT / 'adapters'}"}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_OTHER_COMMANDS = {
    "cd",
    "curl",
    "mkdir",
    "mutmut",
    "nats",
    "pip",
    "python",
    "python3",
    "redis-cli",
    "redis-server",
    "source",
}
_OWN_OPTIONS = {"--help", "--install-completion", "--show-completion"}


@attrs.frozen
class Block:
    """A code block of a page."""

    language: str
    code: str
    page: str
    line: int
    """Of the page, where its code begins."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def named(page: pathlib.Path) -> str:
    """Return the path of a page in the project."""
    return str(page.relative_to(ROOT))


def blocks(page: pathlib.Path, language: str | None = None) -> list[Block]:
    """Return the blocks of a page, or those in one language, in order."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(match[1], match[2], named(page), text.count("\n", 0, match.start(2)) + 1)
        for match in _BLOCK.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


# ----- Python -----


_LIBRARIES = ("discord", "discord_typings", "hikari")
"""Third-party packages in code blocks; tests with the lowest versions run without them."""


def run_python(page: pathlib.Path, folder: pathlib.Path) -> None:
    """Run all Python of a page, in order, with `folder` as the current one."""
    # In a module, since decoding into classes looks up names in their module.
    module = types.ModuleType("page")
    sys.modules[module.__name__] = module
    try:
        for block in blocks(page, "javascript"):
            (folder / "bot.cjs").write_text(block.code)
        for block in blocks(page, "python"):
            if '"node"' in block.code and not has_node_package("discord.js"):
                continue
            imported = re.findall(r"^(?:import|from) (\w+)", block.code, re.M)
            if any(name in imported and not find_spec(name) for name in _LIBRARIES):
                continue
            if "GATEWAY_TOKEN" in block.code:
                run_program(block.code, folder)
            elif re.search(r"^def test_", block.code, re.M):
                run_tests(block.code, folder)
            else:
                code = "\n" * (block.line - 1) + block.code
                exec(compile(code, block.page, "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]


def has_node_package(name: str) -> bool:
    """Whether Node.js is installed and NODE_PATH has a package."""
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    return shutil.which("node") is not None and any(
        (pathlib.Path(folder) / name).is_dir() for folder in folders if folder
    )


def run_program(code: str, folder: pathlib.Path) -> list[str]:
    """Run a program to its end against a gateway, and return the lines that it printed."""
    with RunningGateway() as gateway:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            cwd=folder,
            env=os.environ
            | _ENV
            | {
                "GATEWAY_TOKEN": gateway.token,
                "GATEWAY_API": f"{gateway.api_url}/v10",
                "GATEWAY_URL": gateway.url,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            gateway.wait_for(Identify, timeout=60)
            gateway.dispatch("MESSAGE_CREATE", {"content": "hello"})
            # Other shards of a manager may not be connected yet.
            for _ in range(100):
                gateway.dispatch("MESSAGE_CREATE", {"content": "!stop"}, allow_none=True)
                try:
                    out, errors = process.communicate(timeout=0.3)
                    break
                except subprocess.TimeoutExpired:
                    continue
            else:
                raise AssertionError("the program does not stop")
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0 and not errors, errors or f"it ended with {process.returncode}"
    return out.splitlines()


def run_tests(code: str, folder: pathlib.Path) -> None:
    """Run tests under pytest with the plugin; all must pass."""
    (folder / "test_of_the_page.py").write_text(code)
    plugins = importlib.metadata.entry_points(group="pytest11")
    installed = any(point.value == "gateway_pytest" for point in plugins)
    plugin = () if installed else ("-p", "gateway_pytest")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "--strict-markers", "test_of_the_page.py"],
        cwd=folder,
        env=os.environ | _ENV,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


# ----- the shell -----


def check_commands(page: pathlib.Path) -> int:
    """Check the options of all `gateway-proto` commands, and return the number of commands."""
    commands = every_command()
    count = 0
    for block in blocks(page, "sh"):
        for line in _shell_lines(block.code.replace(" && ", "\n")):
            words = [word for word in shlex.split(line, comments=True) if word not in ("&", "...")]
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            program = pathlib.Path(words[0]).name if words else "python"
            if program != "gateway-proto":
                assert program in _OTHER_COMMANDS, f"{block}: unknown command {line!r}?"
                continue
            if words[1].isupper():  # any of them
                continue
            if words[1] in _OWN_OPTIONS:
                continue
            command = next((commands[name] for name in names_of(words) if name in commands), None)
            assert command is not None, f"{block}: {line}"
            known = {option for parameter in command.params for option in parameter.opts}
            unknown = {word for word in words if word.startswith("--")} - known - {"--help"}
            assert not unknown, f"{block}: {line}"
            count += 1
    return count


def _shell_lines(code: str) -> Iterator[str]:
    """Return the commands of a block; one continues after a backslash and within quotes."""
    line = ""
    for part in code.replace("\\\n", " ").splitlines():
        line = f"{line}\n{part}" if line else part
        if line.count("'") % 2 == 0 or "#" in line:
            yield line
            line = ""


# ----- links -----


def links(page: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Yield relative links of a page as path and anchor; either may be empty."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: pathlib.Path) -> set[str]:
    """Return the anchors of a page, as GitHub derives them from its titles."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", text, re.M):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        while anchor in found:
            anchor += "-1"
        found.add(anchor)
    return found
