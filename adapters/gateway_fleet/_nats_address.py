"""URLs of `NatsStore`, and names in the subjects of NATS."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

__all__ = ["NatsAddress", "parse_address", "text_of_token", "token_of"]

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class NatsAddress(NamedTuple):
    """Servers of a cluster, and what they are sent to identify the user."""

    servers: tuple[str, ...]
    user: str | None
    """Name of the user, or a token if the password is None."""
    password: str | None
    tls: bool


def parse_address(url: str) -> NatsAddress | None:
    """Return the parts of `nats://[user:password@]host[:port][,host[:port]...]`, or None."""
    scheme, _, rest = url.partition("://")
    login, _, hosts = rest.rstrip("/").rpartition("@")
    servers = []
    for host in hosts.split(","):
        found = _HOST.fullmatch(host)
        if found is None or int((found[2] or ":4222")[1:]) > 65535:
            return None
        servers.append(f"{scheme}://{found[1]}{found[2] or ':4222'}")
    if scheme not in ("nats", "tls"):
        return None
    user, colon, password = login.partition(":")
    return NatsAddress(
        tuple(servers),
        unquote(user) or None,
        unquote(password) if colon else None,
        scheme == "tls",
    )


def token_of(text: str) -> str:
    """Return a part of a subject for any text: letters, digits, hyphens, underscores and `=XX`."""
    quoted = quote(text, safe="").replace(".", "%2E").replace("~", "%7E")
    return quoted.replace("%", "=")


def text_of_token(token: str) -> str:
    """Return the text of a `token_of` value."""
    return unquote(token.replace("=", "%"))
