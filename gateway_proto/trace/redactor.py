"""Redaction of secrets in text and bytes: each becomes a placeholder of its length."""

from __future__ import annotations

import base64
import contextlib
import functools
import re
from urllib.parse import parse_qsl, urlsplit

import attrs
import msgspec

from gateway_proto.trace.secret_parts import SecretParts, in_form_of

__all__ = ["Redactor"]

_TOKENS = re.compile(
    r'"token" ?: ?"(?P<quoted>(?:[^"\\]|\\.)+)"'
    r"|\x05tokenm\0\0(?P<size>[\0-\xff]{2})"
    r"|^authorization: *(?P<bare>[^\r\n]+)",
    re.IGNORECASE | re.MULTILINE,
)

_MIN_LENGTH = 6
"""Characters. A shorter secret is part of ordinary words, so it is replaced only where tokens are
expected."""
_MIN_BEGINNING = 4
"""Characters of a secret at the end of data that count as its beginning."""
_MAX_LEARNT = 16
"""The most recent secrets found where tokens are expected, which are sought elsewhere too, with
escapes. Each takes as long as reading the text."""
_MAX_SOUGHT = 1024
"""Characters of such a secret. A pattern takes a few microseconds for each."""
_MAX_NUMBERED = 4096
"""Secrets whose number is kept, so that the same secret gets the same placeholder. They are found
elsewhere too, as whole words."""
_WORDS = tuple(
    re.compile(rf"[{letters}]{{{_MIN_LENGTH},}}+={{0,2}}+") for letters in (r"\w.~+-", r"\w.~+/-")
)
"""Words that may be secrets: the parts of a path are words of their own, but base64 has slashes."""
_NOT_SECRET = frozenset({"v", "encoding", "compress"})
"""The parameters of a gateway's URL that are public."""
_PLACEHOLDER = re.compile(r"x+[0-9]+")


@attrs.frozen
class _Secret:
    text: str
    placeholder: str
    patterns: tuple[re.Pattern[str], ...]
    parts: SecretParts | None


class Redactor:
    """The secrets that must not be written, and their placeholders.

    Secrets are found in plain text, escaped as JSON and URLs do it (also JSON within JSON), in ETF
    terms, and as lists of character codes. Of the secrets that were given, base64, hexadecimal
    digits, and parts of all these forms are found too. A replacement has the length of the secret
    without its escapes, so it is never longer than what it replaces; the same secret gives the same
    placeholder.
    """

    def __init__(self) -> None:
        self._given: dict[str, _Secret] = {}
        self._learnt: dict[str, _Secret] = {}
        self._count = 0
        self._numbers: dict[int, int] = {}  # by the hash of the secret

    def add(self, secret: str) -> str:
        """Add a secret and return its placeholder."""
        if secret not in self._given:
            self._given[secret] = self._new(secret, given=True)
        return self._given[secret].placeholder

    def _new(self, secret: str, *, given: bool) -> _Secret:
        return _Secret(
            secret,
            self._placeholder(secret),
            tuple(map(re.compile, _patterns(secret, codes=given))),
            SecretParts(secret, _encoded(secret.encode())) if given else None,
        )

    def _placeholder(self, secret: str) -> str:
        # Keep the dict ordered by last use.
        number = self._numbers.pop(hash(secret), None)
        if number is None:
            number = self._count = self._count + 1
        self._numbers[hash(secret)] = number
        if len(self._numbers) > _MAX_NUMBERED:
            del self._numbers[next(iter(self._numbers))]
        return _numbered(number, len(secret))

    def add_url(self, url: str | None) -> None:
        """Add the parameters of a URL that its owner passed: some carry keys."""
        for name, value in parse_qsl(urlsplit(url or "").query):
            if name not in _NOT_SECRET and value:
                self.add(value)

    def redact_text(self, text: str) -> str:
        """Return the text with placeholders."""
        text = self._redact_expected(text)
        for secret in (*self._given.values(), *self._learnt.values()):
            for pattern in secret.patterns:
                text = pattern.sub(functools.partial(_replaced, secret), text)
            if secret.parts is not None:
                text = secret.parts.redact(text)
        # The others have a number, and no pattern.
        if len(self._numbers) > len(self._given) + len(self._learnt):
            for words in _WORDS:
                text = words.sub(self._replaced_word, text)
        return text

    def _redact_expected(self, text: str) -> str:
        """Replace values where tokens are expected: of interactions and voice servers.

        The last ones are learnt: sought elsewhere, too.
        """
        out: list[str] = []
        found: dict[str, None] = {}
        done = at = 0
        while (match := _TOKENS.search(text, at)) is not None:
            kind = match.lastgroup
            assert kind is not None
            begin, at = match.span(kind)
            if kind == "size":
                begin, at = at, at + int.from_bytes(match["size"].encode("latin-1"), "big")
            secret = raw = text[begin:at]
            if kind == "quoted":
                with contextlib.suppress(msgspec.DecodeError):
                    secret = msgspec.json.decode(f'"{raw}"', type=str)
            secret, raw = secret.removeprefix("Bot "), raw.removeprefix("Bot ")
            if (
                len(secret) < _MIN_BEGINNING
                or secret in self._given
                or _PLACEHOLDER.fullmatch(secret)
            ):
                continue
            out += [text[done : at - len(raw)], _in_place(raw, self._placeholder(secret))]
            done = at
            found.pop(secret, None)
            found[secret] = None
        for secret in list(found)[-_MAX_LEARNT:]:
            if len(secret) <= _MAX_SOUGHT:
                # Keep the dict ordered by last use.
                known = self._learnt.pop(secret, None)
                self._learnt[secret] = known or self._new(secret, given=False)
        while len(self._learnt) > _MAX_LEARNT:
            del self._learnt[next(iter(self._learnt))]
        return "".join((*out, text[done:]))

    def _replaced_word(self, match: re.Match[str]) -> str:
        word = match.group()
        number = self._numbers.get(hash(word))
        return word if number is None else _numbered(number, len(word))

    def redact_tail(self, data: bytes) -> bytes:
        """Return data with placeholders, also for the beginning of a secret at its end."""
        clean = self.redact_text(data.decode("latin-1")).encode("latin-1")
        for secret in (*self._given.values(), *self._learnt.values()):
            for size in range(len(secret.text) - 1, _MIN_BEGINNING - 1, -1):
                if clean.endswith(secret.text[:size].encode()):
                    clean = clean[:-size] + secret.placeholder[:size].encode()
        return clean


def _replaced(secret: _Secret, match: re.Match[str]) -> str:
    placeholder, found = secret.placeholder, match.group()
    if match.lastgroup == "codes":
        return _replaced_codes(found)
    if match.lastgroup == "encoded":
        return "x" * len(found)
    if len(secret.text) < _MIN_LENGTH:
        return found[: len(found) - len(placeholder)] + placeholder
    return _in_place(found, placeholder)


def _in_place(found: str, placeholder: str) -> str:
    """Return a placeholder with the escapes of what it replaces, so that lengths stay."""
    letters = re.findall(r"\\+u00[0-9A-Fa-f]{2}|%[0-9A-Fa-f]{2}|\\*[^\\]|\\+", found)
    if len(letters) != len(placeholder):  # the secret has backslashes of its own
        return placeholder
    return "".join(map(in_form_of, letters, placeholder))


def _numbered(number: int, size: int) -> str:
    """Return the placeholder of a secret of `size` characters."""
    return ("x" * size + str(number))[-size:]


def _replaced_codes(found: str) -> str:
    """Return a list of character codes with others of as many digits or bytes."""
    if found[0].isdigit():
        return re.sub(r"\d+", lambda code: "120" if len(code.group()) > 2 else "88", found)
    return re.sub(
        r"(?s)(a|b\0\0\0)(.)", lambda term: term[1] + ("x" if ord(term[2]) > 99 else "X"), found
    )


def _patterns(secret: str, *, codes: bool) -> tuple[str, ...]:
    if len(secret) < _MIN_LENGTH:
        word = re.escape(secret)
        return (
            rf'"token" ?: ?"{word}(?=")'  # JSON
            rf"|\x05tokenm\0\0\0{re.escape(chr(len(secret)))}{word}"  # ETF
            rf"|(?i:authorization): (?:Bot )?{word}(?=\\?\r|\\r|$)",
        )
    pieces = re.findall(r"\\+|[^\\]", secret)
    plain = "".join(_escaped(piece, first=not at) for at, piece in enumerate(pieces))
    if not codes:
        return (plain,)
    numbers = r"\s*+,\s*+".join(str(ord(letter)) for letter in secret)
    terms = "".join(rf"(?:a|b\0\0\0){re.escape(letter)}" for letter in secret)
    lists = rf"(?P<codes>(?<!\d){numbers}(?!\d))", rf"(?s)(?P<codes>{terms})"
    forms = (re.escape(form).replace("/", r"\\*+/") for form in _encoded(secret.encode()))
    return plain, *lists, *(rf"(?P<encoded>{form})" for form in forms)


def _encoded(secret: bytes) -> dict[str, None]:
    """Return a secret in hexadecimal digits and base64, wherever it begins in it."""
    forms = [secret.hex(), secret.hex().upper()]
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + secret).decode().rstrip("=")
            # The first and the last characters may have bits of what is next to the secret.
            last = len(text) - bool((before + len(secret)) % 3)
            forms.append(text[(0, 2, 3)[before] : last])
    return dict.fromkeys(forms)


def _escaped(piece: str, *, first: bool) -> str:
    """Return the pattern of one character, or of a run of backslashes."""
    code = "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in f"{ord(piece[0]):02x}")
    # Possessive, and a run of backslashes is entered at its beginning only: linear in its length.
    run = r"(?<!\\)\\" if first else r"\\"
    escapes = rf"(?:{run}*+(?<=\\)u00{code}|%{code})"
    if piece[0] == "\\":
        return rf"(?:{run}{{{len(piece)},}}+|{escapes}{{{len(piece)}}})"
    plain = re.escape(piece) if piece.isalnum() or first else rf"\\*+{re.escape(piece)}"
    return rf"(?:{plain}|{escapes})"
