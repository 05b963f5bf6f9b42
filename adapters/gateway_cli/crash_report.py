"""Data for an issue: versions and system, or the report of a crash."""

from __future__ import annotations

import codecs
import importlib.metadata
import itertools
import os
import platform
import stat
import traceback
from collections.abc import Sequence

__all__ = ["CRASHED", "TRACE_HINT", "about", "crash", "one_line"]

CRASHED = 70
"""Exit status of a crash, a fault of this program."""
TRACE_HINT = "gateway-proto tail --record trace.jsonl (the token is not in it)"
_LIBRARIES = ("attrs", "h11", "msgspec", "wsproto", "trio", "erlpack", "backports.zstd")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SHOWN = ("--api-version", "--encoding", "--compression", "--adapter")
"""Options whose values a report may have: none of them is a secret."""


def about() -> dict[str, str]:
    """Return the versions of the package, Python, the system and the libraries."""
    from gateway_proto import __version__  # takes a third of the time of `--help`

    facts = {
        "gateway_proto": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for name in _LIBRARIES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def one_line() -> str:
    """Return the versions on one line."""
    facts = about()
    rest = ", ".join(f"{name} {version}" for name, version in facts.items() if name != "system")
    return f"{rest}; {facts['system']}"


def crash(error: BaseException, words: Sequence[str]) -> str:
    """Return the report of a crash; `words` are the arguments after the command's name.

    A token, the URL of a store, and the password of a proxy that the command was given are not in
    it.
    """
    given = _given(words)
    shown = [word for word in words[:1] if not word.startswith("-")]
    shown += [f"{name} {value}" for name, value in given if name in _SHOWN]
    if "--api-version" not in dict(given):
        shown.append("(no --api-version: 10, or all)")
    text = "".join(traceback.format_exception(error))
    for secret in _secrets(given):
        text = text.replace(secret, "[token]")
    return (
        f"{text}\n"
        "gateway-proto: this is a fault of the program, not yours. Please report it with the\n"
        "lines above and these:\n"
        f"  command  {' '.join(shown)}\n"
        f"  versions {one_line()}\n"
        f"  trace    {TRACE_HINT}"
    )


def _given(words: Sequence[str]) -> list[tuple[str, str]]:
    """Each option and its value, whether they are one word or two."""
    given = []
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            given.append((name, value if equals else following))
    return given


def _secrets(given: Sequence[tuple[str, str]]) -> list[str]:
    stores = [os.environ.get("GATEWAY_STORE", "")]
    stores += [value for name, value in given if name == "--store"]
    secrets = [os.environ.get("GATEWAY_TOKEN", ""), *stores, *map(_password, stores)]
    proxies = [value for name, value in given if name == "--proxy"]
    proxies += [value for name, value in os.environ.items() if name.lower().endswith("_proxy")]
    secrets += map(_password, proxies)
    secrets += [value for name, value in given if name == "--token"]
    secrets += [_content(value) for name, value in given if name == "--token-file"]
    return sorted(filter(None, secrets), key=len, reverse=True)


def _password(url: str) -> str:
    return url.rpartition("@")[0].rpartition("/")[2].partition(":")[2]


def _content(path: str) -> str:
    try:
        # It was read before, or it is not a file: nothing waits here.
        with open(path, "rb") as file:
            data = file.read(65536) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
        return data.decode("utf-16" if data[:2] in _UTF_16 else "utf-8-sig").strip()
    except (OSError, ValueError):
        return ""
