"""Removal of the token from text of the peer."""

from __future__ import annotations

from gateway_proto._checks import MAX_TOKEN_LENGTH

__all__ = ["EXCERPT", "excerpt_of", "without_token"]

EXCERPT = 100
"""Maximum number of characters of a malformed message in its event."""

_MIN_TOKEN_LENGTH = 6
"""Characters. A shorter token, as in tests, would replace parts of ordinary words."""


def without_token(text: str, token: str) -> str:
    """Return a text of the peer without the token, which a reason, URL or response may repeat."""
    return text.replace(token, "<token>") if len(token) >= _MIN_TOKEN_LENGTH else text


def excerpt_of(text: str | bytes) -> str:
    """Return the start of a message, long enough to redact a token in its excerpt."""
    start = text[: EXCERPT + MAX_TOKEN_LENGTH]
    return start if isinstance(start, str) else start.decode("utf-8", "backslashreplace")
