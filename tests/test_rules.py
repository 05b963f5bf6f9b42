"""docs/behaviour-rules.md: every rule has its line, and the named tests exist."""

from __future__ import annotations

import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).parent
PAGE = TESTS.parent / "docs" / "behaviour-rules.md"
RULES = {
    int(match[1]): match[2]
    for match in re.finditer(r"^\| (\d+) \| .* \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
}


def test_all_86_rules_have_one_line_each() -> None:
    assert list(RULES) == list(range(1, 87))


@pytest.mark.parametrize("number", RULES)
def test_named_tests_of_a_rule_exist(number: int) -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", RULES[number])

    assert named, "no test is named"
    for file, name in named:
        text = (TESTS / file).read_text()
        assert re.search(rf"^def {name}\(", text, re.MULTILINE) if name else "def test_" in text, (
            f"{file} has no {name}"
        )
