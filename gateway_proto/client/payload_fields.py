"""Fields of received payloads that change the state of a client's connection."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_proto._checks import is_text, shown
from gateway_proto.encoding.raw_members import raw_members, scalar
from gateway_proto.errors import DataError
from gateway_proto.session import MAX_SESSION_ID_LENGTH
from gateway_proto.timing.heartbeat import parse_interval
from gateway_proto.urls import MAX_URL_LENGTH

__all__ = [
    "ReadyFields",
    "heartbeat_interval",
    "is_resumable",
    "ready_fields",
    "reconnect_url",
    "resume_url_problem",
]


class ReadyFields(msgspec.Struct):
    """Fields of READY; only the session id is required."""

    session_id: str
    resume_gateway_url: Any
    heartbeat_interval: Any


def ready_fields(raw: bytes) -> ReadyFields:
    """Return the fields of READY; raises `DataError`.

    An id that no Resume can carry is rejected: the session would be lost later.
    """
    try:
        found = raw_members(raw, ("session_id", "resume_gateway_url", "heartbeat_interval"))
    except DataError as error:
        raise DataError(f"READY is not understood: {error}") from None
    session_id = scalar(found.get("session_id"))
    if isinstance(session_id, int) and not isinstance(session_id, bool):
        session_id = str(session_id)
    if not isinstance(session_id, str):
        raise DataError("READY has no session_id: expected text")
    if not session_id or not is_text(session_id):
        raise DataError(f"READY names an invalid session id: {shown(session_id)}")
    if len(session_id) > MAX_SESSION_ID_LENGTH:
        raise DataError(f"READY names a session id of {len(session_id)} characters")
    return ReadyFields(
        session_id,
        scalar(found.get("resume_gateway_url")),
        scalar(found.get("heartbeat_interval")),
    )


def resume_url_problem(url: str) -> str | None:
    """Return why a session cannot keep a resume URL; None if it can."""
    if len(url) > MAX_URL_LENGTH:
        return f"it has {len(url)} characters, more than {MAX_URL_LENGTH}"
    return None if is_text(url) else "it has a lone surrogate"


def heartbeat_interval(raw: bytes) -> int | None:
    """Return the `heartbeat_interval` of `d` in milliseconds; None if it has no usable one."""
    return parse_interval(_member(raw, "heartbeat_interval"))


def reconnect_url(raw: bytes) -> str | None:
    """Return the `url` of a version 3 or 4 RECONNECT; None if it has none.

    Compatible servers send null or an integer as `d`; the lookup then names the gateway.
    """
    url = _member(raw, "url")
    return url if isinstance(url, str) else None


def is_resumable(raw: bytes) -> bool:
    """Whether the `d` of INVALID_SESSION is true; missing and other values count as false.

    <https://docs.discord.com/developers/events/gateway-events#invalid-session>
    """
    return scalar(raw) is True


def _member(raw: bytes, name: str) -> Any:
    """Return a scalar member of an object; None without one."""
    try:
        return scalar(raw_members(raw, (name,)).get(name))
    except DataError:
        return None
