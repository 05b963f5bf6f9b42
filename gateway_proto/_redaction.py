"""Removal of the token from text of the peer."""

from __future__ import annotations

import functools
import re

from gateway_proto._checks import MAX_TOKEN_LENGTH

__all__ = ["EXCERPT", "excerpt_of", "without_token"]

EXCERPT = 100
"""Maximum number of characters of a malformed message in its event."""

_ESCAPE_LENGTH = 6
"""Characters of the longest escape of one character: that of JSON."""

_MIN_TOKEN_LENGTH = 6
"""Characters. A shorter token, as in tests, would replace parts of ordinary words."""


def without_token(text: str, token: str) -> str:
    """Return a text of the peer without the token, which a reason, URL or response may repeat.

    Its characters may be percent-encoded (RFC 3986, 2.1) or escaped as in JSON (RFC 8259, 7).
    """
    if len(token) < _MIN_TOKEN_LENGTH:
        return text
    text = text.replace(token, "<token>")
    return _escaped(token).sub("<token>", text) if "%" in text or "\\u" in text else text


@functools.lru_cache(maxsize=16)
def _escaped(token: str) -> re.Pattern[str]:
    """Pattern of a token, each character of which may be escaped."""
    hexadecimal = ((one, f"{ord(one):02x}") for one in token)
    spellings = (f"(?:{re.escape(one)}|(?:%|\\\\u00)(?i:{digits}))" for one, digits in hexadecimal)
    return re.compile("".join(spellings))


def excerpt_of(text: str | bytes) -> str:
    """Return the start of a message, long enough to redact a token in its excerpt."""
    start = text[: EXCERPT + _ESCAPE_LENGTH * MAX_TOKEN_LENGTH]
    return start if isinstance(start, str) else start.decode("utf-8", "backslashreplace")
