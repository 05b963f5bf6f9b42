"""Regular expressions work the same on all supported versions of CPython."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MODULES = [
    path for folder in ("gateway_proto", "adapters") for path in (ROOT / folder).rglob("*.py")
]
# Before 3.11.5 such a group may skip a part of a repetition that does not match:
# https://github.com/python/cpython/issues/106052
UNGUARDED = re.compile(r"(?<!\|\(\?!\))(?<!\\)\)(?:[*+?]|\{[^\s()|]*,[^\s()|]*\})\+")


@pytest.mark.parametrize(
    "pattern", [r"(?:ab)*+", r"(?:ab)++", r"(a|b)?+", r"(?:ab){0,%d}+", r"(?:ab){{{_MORE},}}+"]
)
def test_unguarded_group_is_found(pattern: str) -> None:
    assert UNGUARDED.search(pattern)
    assert not UNGUARDED.search(re.sub(r"\)(?=[*+?{])", "|(?!))", pattern))


def test_possessive_groups_end_with_a_guard() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in MODULES}

    assert {str(path): UNGUARDED.findall(text) for path, text in texts.items()} == {
        str(path): [] for path in MODULES
    }


@pytest.mark.parametrize(
    ("repeated", "text", "end"), [("+", "aca", 2), ("*", "aca", 2), ("?", "a", 0)]
)
def test_guarded_group_skips_no_part(repeated: str, text: str, end: int) -> None:
    match = re.match(f"(?:ab?c|(?!)){repeated}+", text)

    assert match is not None and match.end() == end
