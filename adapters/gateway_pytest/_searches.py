"""Searches that a test can wait for: an event, a request, a number of ready shards."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, get_args

from gateway_proto import Closed, LocalProtocolError, State
from gateway_proto._checks import POSITIVE, TEXT, optional, shown
from gateway_proto.server import HttpRequested, Server, ServerEvent
from gateway_proto.server.http_routes import route_of
from gateway_pytest._waiting import Search

__all__ = ["Searches", "request_filter"]

_METHOD = optional(TEXT)
_PATH = optional(TEXT)

_RECEIVED: tuple[type, ...] = get_args(ServerEvent)
_MIN_CLOSE_CODE = 1000
"""RFC 6455, section 7.4.2. A lower code is the status of an HTTP response."""


class Searches:
    """Searches in the events that a server has received."""

    def __init__(self, server: Server, received: list[ServerEvent]) -> None:
        self._server = server
        self._received = received
        self._seen = {"events": 0, "requests": 0}

    def ready(self, shards: int | None) -> Search[int]:
        """Search for a number of ready shards; None means the number that the server recommends."""
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
            received = _lines(self._received)
            return f"{count()} of {wanted} shards were ready in {timeout:g} s; received:{received}"

        return Search(look, report)

    def event(self, what: Any) -> Search[Any]:
        """Search for an event of a type or that a predicate accepts, after the last found."""
        is_type = isinstance(what, type)
        if not is_type and not callable(what):
            raise LocalProtocolError(f"invalid what {shown(what)}: expected a type or a predicate")
        if is_type and not any(issubclass(t, what) or issubclass(what, t) for t in _RECEIVED):
            names = ", ".join(sorted(one.__name__ for one in _RECEIVED))
            raise LocalProtocolError(
                f"invalid what {what.__name__}: expected a type that the server receives, of "
                f"{names}"
            )
        name = what.__name__ if is_type else "event that the predicate accepts"
        is_meant = (lambda event: isinstance(event, what)) if is_type else what

        def report(first: int) -> str:
            return f"received instead:{_lines(self._received[first:])}"

        return self._search(is_meant, name, "events", report)

    def request(self, method: str | None, path: str | None) -> Search[HttpRequested]:
        """Search for an HTTP request, after the last found."""
        is_meant = request_filter(method, path)
        name = f"{method or 'request'} {path or ''}".strip()

        def accepts(event: ServerEvent) -> bool:
            return isinstance(event, HttpRequested) and is_meant(event)

        def report(first: int) -> str:
            events = enumerate(list(self._received))
            requests = [(at < first, e) for at, e in events if isinstance(e, HttpRequested)]
            return _requests_text(requests, is_meant, method, path)

        return self._search(accepts, name, "requests", report)

    def _search(
        self,
        is_meant: Callable[[ServerEvent], object],
        name: str,
        kind: str,
        describe: Callable[[int], str],
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
            return f"no {name} was received in {timeout:g} s; {describe(first)}"

        return Search(look, report)


def _lines(events: Sequence[ServerEvent]) -> str:
    """Write events, one on each line, without the ends of HTTP exchanges."""
    shown = [repr(event) for event in events if not _is_http_end(event)]
    return "\n  ".join(["", *shown]) if shown else " nothing"


def _is_http_end(event: ServerEvent) -> bool:
    return isinstance(event, Closed) and event.code is not None and event.code < _MIN_CLOSE_CODE


def _requests_text(
    requests: Sequence[tuple[bool, HttpRequested]],
    is_meant: Callable[[HttpRequested], bool],
    method: str | None,
    path: str | None,
) -> str:
    """Write all requests, those before the last one that was waited for with a mark."""
    if not requests:
        return "there was no request"
    lines = [
        f"{request.method} {request.path} ({request.status})" + (", waited for before" * is_old)
        for is_old, request in requests
    ]
    text = "\n  ".join(["received requests:", *lines])
    if any(is_meant(request) for _, request in requests):
        return (
            f"{text}\nthose that match arrived before the end of an earlier wait: "
            "gateway_server.requests(method, path) returns all"
        )
    near = _near_miss([request for _, request in requests], method, path)
    return text if near is None else f"{text}\ndid you mean {near}?"


def _near_miss(
    requests: Sequence[HttpRequested], method: str | None, path: str | None
) -> str | None:
    """Return the method and route of the request that is most similar; None without one."""
    if path is None:
        return None
    same_path = request_filter(None, path)
    names: dict[str, str] = {}
    for request in requests:
        known = route_of(request.path) or request.path
        route = request.route or known
        if same_path(request):
            return f"{request.method} {route}"
        prefix = "" if method is None else f"{request.method} "
        names |= {prefix + text: f"{request.method} {route}" for text in (known, route)}
    wanted = ("" if method is None else f"{method.upper()} ") + (route_of(path) or path)
    found = difflib.get_close_matches(wanted, names, n=1, cutoff=0.7)
    return names[found[0]] if found else None


def request_filter(method: str | None, path: str | None) -> Callable[[HttpRequested], bool]:
    """Return whether a request has a method and a path; None: any."""
    _METHOD.named("method", method)
    _PATH.named("path", path)
    pattern = None
    if path is not None:
        parts = re.split(r"(\{[^{}/]*\})", route_of(path) or path)
        pattern = re.compile(
            "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
        )

    def is_meant(request: HttpRequested) -> bool:
        if method is not None and request.method != method.upper():
            return False
        known = route_of(request.path) or request.path
        return pattern is None or pattern.fullmatch(known) is not None

    return is_meant
