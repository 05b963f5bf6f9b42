"""Text that may quote the token → the same text without it."""

from __future__ import annotations

__all__ = ["without_token"]

_SHORTEST_SECRET = 6
"""Characters. A shorter token, as in tests, would replace parts of ordinary words."""


def without_token(text: str, token: str) -> str:
    """Replace the token in a text of the peer: a reason, a URL or an answer may repeat it."""
    return text.replace(token, "<token>") if len(token) >= _SHORTEST_SECRET else text
