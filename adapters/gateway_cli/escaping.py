"""Escaping of peers' text for terminals."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["NOT_AS_JSON", "escape", "escape_lines", "json_line"]

NOT_AS_JSON = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
"""Exceptions of values that cannot be encoded as JSON."""
# Controls of C0 and C1, DEL, marks that change the direction of text or that are invisible, line
# and paragraph separators, halves of surrogate pairs.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    r"""Write what a terminal would obey as `\n`, `\x1b` or `\u202e`: the result is one line."""
    return _UNSAFE.sub(_escaped, text)


def escape_lines(text: str) -> str:
    """Escape each line of a text, and keep its line ends."""
    return "\n".join(map(escape, text.split("\n")))


def json_line(fields: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """Write an object on one line, in ASCII where the standard output is not in Unicode.

    Raises one of `NOT_AS_JSON` for values that JSON does not have.
    """
    stream = sys.stdout
    is_unicode = (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(fields, ensure_ascii=not is_unicode, allow_nan=False, default=default)
    return _UNSAFE.sub(_escaped_json, text) + "\n"


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _escaped_json(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"
