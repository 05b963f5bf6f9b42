"""What a test can wait for: an event, a number of shards that are ready."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from gateway_proto import HttpRequested, LocalProtocolError, Server, ServerEvent, State
from gateway_proto._checks import POSITIVE
from gateway_proto.endpoint import route_of
from gateway_pytest._waiting import Search

__all__ = ["Searches", "request_filter"]


class Searches:
    """Searches in what a server has received."""

    def __init__(self, server: Server, received: list[ServerEvent]) -> None:
        self._server = server
        self._received = received
        self._seen = {"events": 0, "requests": 0}

    def ready(self, shards: int | None) -> Search[int]:
        """Search for shards that are ready; None: as many as the settings recommend."""
        wanted = self._server.config.shards if shards is None else shards
        POSITIVE.named("shards", wanted)

        def count() -> int:
            sessions = list(self._server.sessions.values())
            connections = [session.connection for session in sessions]
            return sum(c is not None and c.state is State.READY for c in connections)

        def look() -> int | None:
            ready = count()
            return ready if ready >= wanted else None

        def report(timeout: float) -> str:
            came = _lines(self._received)
            return f"{count()} of {wanted} shards were ready in {timeout:g} s; what came:{came}"

        return Search(look, report)

    def event(self, what: Any) -> Search[Any]:
        """Search for an event of a type or that a predicate accepts, after the last found."""
        is_type = isinstance(what, type)
        if not is_type and not callable(what):
            raise LocalProtocolError(f"invalid what {what!r}: expected a type or a predicate")
        name = what.__name__ if is_type else "event that the predicate accepts"
        is_meant = (lambda event: isinstance(event, what)) if is_type else what
        return self._search(is_meant, name, "events")

    def request(self, method: str | None, path: str | None) -> Search[HttpRequested]:
        """Search for an HTTP request, after the last found."""
        is_meant = request_filter(method, path)
        name = f"{method or 'request'} {path or ''}".strip()

        def accepts(event: ServerEvent) -> bool:
            return isinstance(event, HttpRequested) and is_meant(event)

        return self._search(accepts, name, "requests")

    def _search(
        self, is_meant: Callable[[ServerEvent], object], name: str, kind: str
    ) -> Search[Any]:
        first = at = self._seen[kind]

        def look() -> Any:
            nonlocal at
            while at < len(self._received):
                event = self._received[at]
                at += 1
                if is_meant(event):
                    self._seen[kind] = at
                    return event
            return None

        def report(timeout: float) -> str:
            came = _lines(self._received[first:])
            return f"no {name} was received in {timeout:g} s; what came:{came}"

        return Search(look, report)


def _lines(events: Sequence[ServerEvent]) -> str:
    """Write events, one on each line."""
    return "\n  ".join(["", *map(repr, events)]) if events else " nothing"


def request_filter(method: str | None, path: str | None) -> Callable[[HttpRequested], bool]:
    """Return whether a request has a method and a path; None: any."""
    pattern = None
    if path is not None:
        parts = re.split(r"(\{[^{}/]*\})", path)
        pattern = re.compile(
            "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
        )

    def is_meant(request: HttpRequested) -> bool:
        if method is not None and request.method != method.upper():
            return False
        known = route_of(request.path) or request.path
        return pattern is None or pattern.fullmatch(known) is not None

    return is_meant
