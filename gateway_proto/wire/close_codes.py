"""Close codes and reasons that a close frame can carry (RFC 6455, 7.4).

What a code means to a client, and what the client does next, is in `versions.py`:
`ProtocolVersion.close_policies`.
"""

from __future__ import annotations

from typing import Any

from gateway_proto._checks import shown
from gateway_proto.errors import LocalProtocolError

__all__ = [
    "ALL_DEFINED",
    "NO_CLOSE_FRAME",
    "check_close",
    "is_defined",
    "may_be_received",
    "reply_to",
    "reported_code",
]

_NO_CODE = 1005
NO_CLOSE_FRAME = 1006
ALL_DEFINED = "1000 to 1003, 1007 to 1014 or 3000 to 4999"
"""The codes of `is_defined`, in words."""
_TLS_FAILED = 1015
_MAX_REASON = 123
"""Bytes: a control frame has at most 125, of which the code takes two (RFC 6455, 5.5 and 5.5.1)."""


def check_close(code: Any, reason: Any, *, as_server: bool = False) -> None:
    """Raise `LocalProtocolError` unless a client or server may send a close with these.

    RFC 6455, 7.4: 1000 and 1001 are for an endpoint's own end, 3000 to 4999 for libraries and
    applications; the others report failures, which the package itself detects. The server role
    sends these too, as the servers that it stands for do: 1011, 1012.
    """
    allowed = ALL_DEFINED if as_server else "1000, 1001 or 3000 to 4999"
    if not _is_code(code) or not (
        is_defined(code) if as_server else code in (1000, 1001) or 3000 <= code <= 4999
    ):
        raise LocalProtocolError(f"invalid close code {shown(code)}: use {allowed}")
    if not isinstance(reason, str):
        raise LocalProtocolError(f"invalid close reason {shown(reason)}: expected a str")
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        raise LocalProtocolError(
            f"invalid close reason {reason!r:.50}: a lone surrogate cannot be written as UTF-8"
        ) from None
    if size > _MAX_REASON:
        raise LocalProtocolError(
            f"invalid close reason {reason!r:.50}: {size} bytes in UTF-8, and a close frame takes "
            f"{_MAX_REASON}"
        )


def reported_code(code: Any) -> int | None:
    """Return the code of the peer's close frame as a WebSocket library reports it; None: no code.

    Libraries report 1005 for a frame without a code (RFC 6455, 7.1.5). `NO_CLOSE_FRAME` is returned
    as it is. Raises `LocalProtocolError` for a value that no close frame carries.
    """
    if code is None:
        return None
    if not _is_code(code) or not (may_be_received(code) or code in (_NO_CODE, NO_CLOSE_FRAME)):
        raise LocalProtocolError(
            f"invalid close code {shown(code)}: expected None, or 1000 to 4999 without 1015"
        )
    return None if code == _NO_CODE else int(code)


def may_be_received(code: int) -> bool:
    """Whether a close frame can carry the code; reserved ones may come from later extensions.

    RFC 6455, 7.4: 0 to 999 are not used; 1005, 1006 and 1015 are only reported locally.
    """
    return 1000 <= code <= 4999 and code not in (_NO_CODE, NO_CLOSE_FRAME, _TLS_FAILED)


def reply_to(code: int | None) -> int:
    """Return the code that answers the peer's close: its own, if an endpoint may send it."""
    if code is None:
        return 1000
    return code if is_defined(code) else 1002


def is_defined(code: int) -> bool:
    """Whether a close frame may be sent with the code.

    RFC 6455, 7.4.2: what is undefined below 3000 is reserved, and 1004 is not defined yet.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _is_code(code: Any) -> bool:
    return isinstance(code, int) and not isinstance(code, bool)
