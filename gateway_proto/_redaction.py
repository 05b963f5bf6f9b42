"""Removal of the token from text of the peer."""

from __future__ import annotations

__all__ = ["without_token"]

_MIN_TOKEN_LENGTH = 6
"""Characters. A shorter token, as in tests, would replace parts of ordinary words."""


def without_token(text: str, token: str) -> str:
    """Return a text of the peer without the token, which a reason, URL or response may repeat."""
    return text.replace(token, "<token>") if len(token) >= _MIN_TOKEN_LENGTH else text
