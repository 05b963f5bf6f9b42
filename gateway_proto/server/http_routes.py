"""HTTP routes of the lookup, in the server role: `/gateway` and `/gateway/bot`.

<https://docs.discord.com/developers/events/gateway#get-gateway>
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gateway_proto.events import GatewayFound

__all__ = ["HttpResponse", "handle_api_request", "route_of"]


class HttpResponse(msgspec.Struct, frozen=True):
    """HTTP response of the server role; its Content-Type is application/json."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def route_of(path: str) -> str | None:
    """Return a path without "/api" and the version; None if nothing remains.

    Version 3 requests /api/gateway, later versions for /api/v10/gateway.
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        del parts[0]
    if parts and re.fullmatch(r"v[0-9]{1,3}", parts[0]):
        del parts[0]
    return "/" + "/".join(parts) if any(parts) else None


def handle_api_request(
    method: str, route: str, *, found: GatewayFound, authorized: bool
) -> HttpResponse | None:
    """Return the response of `/gateway` and `/gateway/bot`; None for another route."""
    if route not in ("/gateway", "/gateway/bot"):
        return None
    if method not in ("GET", "HEAD"):
        return _json(405, {"message": "405: Method Not Allowed", "code": 0})
    if route == "/gateway":
        return _json(200, {"url": found.url})
    if not authorized:
        return _json(401, {"message": "401: Unauthorized", "code": 0})
    return _json(200, msgspec.to_builtins(found))


def _json(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(body))
