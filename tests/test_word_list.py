"""Plain technical English: comments, docstrings and Markdown use no word of the list below.

Text in code blocks, backticks and link targets is exempt: it names identifiers and files.
"""

from __future__ import annotations

import io
import pathlib
import re
import tokenize
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]

REPLACEMENTS = {
    r"\bbeats?\b": "heartbeat, heartbeats",
    r"\banew\b": "again, a new ...",
    r"\bany more\b": "no longer",
    # "is no longer" is the recommended replacement of "any more".
    r"\bis no(?:ne)?\b(?! longer)": "is not a ..., or None",
    r"\bwhoever\b": "the caller, client or server",
    r"\bso many\b": "N bytes, `size` bytes",
    r"\bchance\b": "random source, randomness, jitter",
    r"\bdialects?\b": "protocol version, API version",
}
_ANY = re.compile("|".join(REPLACEMENTS))


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments and docstrings of a module with their line numbers."""
    previous = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
            continue
        is_statement = previous in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        if token.type == tokenize.STRING and is_statement:
            yield token.start[0], token.string
        if token.type != tokenize.NL:
            previous = token.type


def _without_code(text: str) -> str:
    """Blank out code, quotations, HTML comments and link targets; keep line numbers."""
    pattern = r"```.*?```|`[^`]*`|<!--.*?-->|\]\([^)]*\)|\"[^\"\n]*\"(?!\")|<https?:[^>]*>|--[\w-]+"
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.DOTALL)


def _findings(path: pathlib.Path) -> list[str]:
    text = path.read_text()
    if not _ANY.search(text):
        return []  # most files, and tokenizing them takes seconds
    parts = _prose_of_python(text) if path.suffix == ".py" else [(1, text)]
    found = []
    for line, prose in parts:
        prose = _without_code(prose)
        for pattern, better in REPLACEMENTS.items():
            for match in re.finditer(pattern, prose):
                number = line + prose.count("\n", 0, match.start())
                name = path.relative_to(ROOT)
                found.append(f"{name}:{number}: {match[0]!r}: expected {better}")
    return found


def _files() -> list[str]:
    folders = ("gateway_proto", "adapters", "tests", "benchmarks", "docs", "examples")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    paths += ROOT.glob("*.md")
    return sorted(
        str(path.relative_to(ROOT))
        for path in paths
        if path.suffix in (".py", ".md") and path.name != "test_word_list.py"
    )


def test_prose_uses_no_rejected_word() -> None:
    findings = [line for name in _files() for line in _findings(ROOT / name)]

    assert findings == []


def test_test_names_have_at_most_60_characters() -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    names = [name for text in texts for name in re.findall(r"def (test_\w+)\(", text)]

    assert len(names) > 1000
    assert [name for name in names if len(name) > 60] == []


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("a.py", '"""Send beats."""\nx = "beat"  # a beat\n', 2),
        ("a.py", 'def f():\n    """Use `dialect`, which is no longer here."""\n', 0),
        ("a.md", "It is no URL, so many bytes.\n```\nbeat\n```\n", 2),
        ("a.md", "[The versions](dialects/README.md), `--api-version` and is None.\n", 0),
    ],
)
def test_word_list_covers_prose_only(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, count: int
) -> None:
    monkeypatch.setattr("tests.test_word_list.ROOT", tmp_path)
    (tmp_path / name).write_text(text)

    assert len(_findings(tmp_path / name)) == count
