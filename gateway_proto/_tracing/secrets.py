"""text and bytes → the same without secrets: each becomes a placeholder of the same length."""

from __future__ import annotations

import contextlib
import functools
import re
from urllib.parse import parse_qsl, urlsplit

import msgspec

__all__ = ["Secrets"]

_TOKENS = re.compile(
    r'"token" ?: ?"(?P<quoted>(?:[^"\\]|\\.)+)"'
    r"|\x05tokenm\0\0(?P<size>[\0-\xff]{2})"
    r"|^authorization: *(?P<bare>[^\r\n]+)",
    re.IGNORECASE | re.MULTILINE,
)

_SHORTEST = 6
"""Characters; what is shorter is a part of ordinary words, and looked for where tokens stand."""
_LEAST = 4
"""Characters of the beginning of a secret that are one."""
_MOST_LEARNT = 16
"""Secrets that were found where tokens stand, and are looked for elsewhere: the last so many."""
_NOT_SECRET = frozenset({"v", "encoding", "compress"})
"""The parameters of a gateway's URL that are public."""


class Secrets:
    """All that must not be written down.

    They are found as they are, escaped as JSON and URLs do it (JSON inside of JSON too), and in
    ETF terms. The same secret always gives the same placeholder.
    """

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}
        self._known: set[str] = set()  # the placeholders
        self._given: dict[str, re.Pattern[str]] = {}
        self._learnt: dict[str, re.Pattern[str]] = {}

    def add(self, secret: str) -> str:
        """One more secret; returns its placeholder."""
        if secret not in self._given:
            self._given[secret] = re.compile(_pattern(secret))
        return self._placeholder(secret)

    def _placeholder(self, secret: str) -> str:
        if secret not in self._placeholders:
            number = str(len(self._placeholders) + 1)
            self._placeholders[secret] = ("x" * len(secret) + number)[-len(secret) :]
            self._known.add(self._placeholders[secret])
        return self._placeholders[secret]

    def add_url(self, url: str | None) -> None:
        """The parameters of a URL that its owner gave: some carry keys."""
        for name, value in parse_qsl(urlsplit(url or "").query):
            if name not in _NOT_SECRET and value:
                self.add(value)

    def of_text(self, text: str) -> str:
        """The text, with placeholders."""
        self._learn(text)
        for secret, pattern in (*self._given.items(), *self._learnt.items()):
            text = pattern.sub(functools.partial(self._replaced, secret), text)
        while len(self._learnt) > _MOST_LEARNT:
            del self._learnt[next(iter(self._learnt))]
        return text

    def _learn(self, text: str) -> None:
        """Take what stands where tokens do for secret: interactions and voice servers have some."""
        for match in _TOKENS.finditer(text):
            quoted, size, secret = match.group("quoted", "size", "bare")
            if quoted is not None:
                with contextlib.suppress(msgspec.DecodeError):
                    secret = msgspec.json.decode(f'"{quoted}"', type=str)
            elif size is not None:
                end = match.end() + int.from_bytes(size.encode("latin-1"), "big")
                secret = text[match.end() : end]
            secret = (secret or "").removeprefix("Bot ")
            if len(secret) < _LEAST or secret in self._known or secret in self._given:
                continue
            # The last is the one that was seen last.
            if secret in self._learnt:
                self._learnt[secret] = self._learnt.pop(secret)
            else:
                self._learnt[secret] = re.compile(_pattern(secret))
                self._placeholder(secret)

    def of_end(self, data: bytes) -> bytes:
        """The same of bytes, and no beginning of a secret at their end either."""
        clean = self.of_text(data.decode("latin-1")).encode("latin-1")
        for secret in (*self._given, *self._learnt):
            placeholder = self._placeholders[secret]
            for size in range(len(secret) - 1, _LEAST - 1, -1):
                if clean.endswith(secret[:size].encode()):
                    clean = clean[:-size] + placeholder[:size].encode()
        return clean

    def _replaced(self, secret: str, match: re.Match[str]) -> str:
        placeholder, found = self._placeholders[secret], match.group()
        if len(secret) < _SHORTEST:
            return found[: len(found) - len(secret)] + placeholder
        letters = re.findall(r"\\+u00[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2}|\\*[^\\]|\\+", found)
        if len(letters) != len(secret):  # backslashes of its own
            return placeholder
        return "".join(map(_in_the_same_way, letters, placeholder))


def _in_the_same_way(letter: str, new: str) -> str:
    code = f"{ord(new):02x}"
    return letter[:-2] + code if len(letter) > 2 and letter[0] in "\\%" else new


def _pattern(secret: str) -> str:
    if len(secret) < _SHORTEST:
        word = re.escape(secret)
        return (
            rf'"token" ?: ?"{word}(?=")'  # JSON
            rf"|\x05tokenm\0\0\0{re.escape(chr(len(secret)))}{word}"  # ETF
            rf"|(?i:authorization): (?:Bot )?{word}(?=\\?\r|\\r|$)"
        )
    return "".join(map(_letter, secret))


def _letter(letter: str) -> str:
    code = "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in f"{ord(letter):02x}")
    plain = letter if letter.isalnum() else r"\\*" + re.escape(letter)
    return rf"(?:{plain}|\\+u00{code}|%{code})"
