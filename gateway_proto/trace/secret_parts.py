"""Replacement of parts of a secret: plain, escaped, as lists of character codes, or encoded.

A part is replaced wherever it is, if it is long enough to contain one of the secret's aligned
pieces of `_GRAM` characters. A shorter one is part of ordinary words.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

import attrs

__all__ = ["SecretParts", "in_form_of"]

_GRAM = 6
_PART = 2 * _GRAM - 1
"""Characters of a part that is replaced wherever it is."""

_MORE = _PART - 1
# `|(?!)` ends a group that repeats possessively: CPython before 3.11.5 continues behind a part of a
# repetition that does not match. <https://github.com/python/cpython/issues/106052>
# A run of letters or of backslashes is entered at its beginning only: linear in its length.
_ESCAPE = r"(?:\\++u00|%)[0-9A-Fa-f]{2}"
_PLAIN = r"[\w.~+/=-]"
_ESCAPED = (
    rf"(?:(?<![\w.~+/=\\-])|(?<=\\)(?={_PLAIN})){_PLAIN}*+(?:{_ESCAPE}{_PLAIN}*+|(?!))++",
    rf"{_ESCAPE}|{_PLAIN}",
)
_CODES = (rf"(?<!\d)\d{{2,3}}(?:\s*+,\s*+\d{{2,3}}(?!\d)|(?!)){{{_MORE},}}+", r"\d++[\s,]*+")
_TERMS = (rf"(?s)(?:a.|b\0\0\0.)(?:a.|b\0\0\0.|(?!)){{{_MORE},}}+", r"(?s)(?:a|b\0\0\0).")
_RUNS = tuple((re.compile(run), re.compile(letter)) for run, letter in (_ESCAPED, _CODES, _TERMS))
"""Patterns of a run that can hold a part, and of one letter of it."""
_ENCODED_WORDS = re.compile(rf"(?<![\w+/-])[\w+/-]{{{_PART},}}+")


@attrs.frozen
class _Form:
    text: str
    grams: tuple[str, ...]

    def redact(self, text: str) -> str:
        """Return the text with `x` in place of the parts of this form."""
        for gram in self.grams:
            if gram in text:
                text = _without_parts(text, self.text, gram)
        return text


class SecretParts:
    """The parts of one secret, of which `encoded` are other forms."""

    def __init__(self, secret: str, encoded: Iterable[str]) -> None:
        self._plain = _form(secret)
        self._encoded = tuple(map(_form, encoded))

    def redact(self, text: str) -> str:
        """Return the text, as long as before, without parts of the secret."""
        if not self._plain.grams:
            return text
        text = self._plain.redact(text)
        for run, letter in _RUNS:
            text = run.sub(functools.partial(self._without_letters, letter), text)
        words = "\n".join(_ENCODED_WORDS.findall(text))
        for form in self._encoded:
            if any(gram in words for gram in form.grams):
                text = form.redact(text)
        return text

    def _without_letters(self, letter: re.Pattern[str], run: re.Match[str]) -> str:
        """Return a run of escaped or encoded letters without parts of the secret."""
        letters = letter.findall(run.group())
        plain = "".join(map(_decoded, letters))
        clean = self._plain.redact(plain)
        if clean == plain:
            return run.group()
        pairs = zip(letters, plain, clean, strict=True)
        return "".join(one if old == new else in_form_of(one, new) for one, old, new in pairs)


def _form(text: str) -> _Form:
    grams = (text[at : at + _GRAM] for at in range(0, len(text) - _GRAM + 1, _GRAM))
    return _Form(text, tuple(dict.fromkeys(grams)) if len(text) > _PART else ())


def _decoded(letter: str) -> str:
    """Return the character of a letter of any run."""
    if len(letter) == 1:
        return letter
    if letter[0] in "\\%":
        return chr(int(letter[-2:], 16))
    if letter[0].isdigit():
        return chr(int(re.match(r"\d+", letter)[0]))  # type: ignore[index]  # it begins so
    return letter[-1]


def in_form_of(letter: str, new: str) -> str:
    """Return another character as a letter of the same form and length."""
    if len(letter) == 1:
        return new
    if letter[0] in "\\%":
        return letter[:-2] + f"{ord(new):02x}" if len(letter) > 2 else new
    if letter[0].isdigit():
        return re.sub(r"\d+", lambda code: "120" if len(code.group()) > 2 else "88", letter)
    return letter[:-1] + new


def _without_parts(text: str, secret: str, gram: str) -> str:
    """Replace each part of the secret around `gram` that is at least `_PART` characters long."""
    places = [match.start() for match in re.finditer(re.escape(gram), secret)]
    out, done, at = [], 0, text.find(gram)
    while at >= 0:
        start = min(_begin(text, at, done, secret, place) for place in places)
        end = max(_end(text, at, secret, place) for place in places)
        if end - start >= _PART:
            out += [text[done:start], "x" * (end - start)]
            done = end
        at = text.find(gram, end)
    return "".join((*out, text[done:]))


def _begin(text: str, at: int, least: int, secret: str, place: int) -> int:
    """Return where the part begins that has `secret[place]` at `at`, at `least` or later."""
    while place and at > least and text[at - 1] == secret[place - 1]:
        at, place = at - 1, place - 1
    return at


def _end(text: str, at: int, secret: str, place: int) -> int:
    """Return where the part ends that has `secret[place]` at `at`."""
    while place < len(secret) and at < len(text) and text[at] == secret[place]:
        at, place = at + 1, place + 1
    return at
