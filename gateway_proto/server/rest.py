"""REST routes of the server role: recorded requests, scripted replies, answers from the world.

<https://docs.discord.com/developers/reference>
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import attrs
import msgspec

from gateway_proto._checks import (
    POSITIVE,
    SECONDS,
    WORD,
    Check,
    integer,
    one_of,
    optional,
    rejected,
)
from gateway_proto.encoding.raw_value import encode_json
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import HttpRequested
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.http_routes import HttpResponse, route_of
from gateway_proto.server.multipart import InvalidBodyError, read_body
from gateway_proto.server.rest_call import Call, Handler, RestError, Route, iso_time
from gateway_proto.server.world import World

__all__ = ["Rest", "RestHost", "as_entry"]

_METHODS = one_of(("GET", "POST", "PUT", "PATCH", "DELETE"))
_STATUS = integer(200, 599)
_PATH = Check(
    lambda path: WORD.allows(path) and path.startswith("/"),
    "a path such as '/channels/{channel_id}/messages'",
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS = ("content-length", "connection", "transfer-encoding")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_VIA = (b"Via", b"1.1 google")
"""The proxy in front of Discord's API.

A client takes a 429 without Via for a ban by Cloudflare, and does not retry:
<https://github.com/Rapptz/discord.py/blob/v2.7.1/discord/http.py#L712>.
"""
_UNSET = msgspec.UNSET
_UNIX_OFFSET = 1767225600.0
"""2026-01-01T00:00:00Z: Unix time at `now` 0, unless `ServerConfig.unix_offset` sets it."""
_EPOCH = 1420070400.0
"""Unix time of the snowflake epoch.

<https://docs.discord.com/developers/reference#snowflakes>
"""


class RestHost(Protocol):
    """Methods of the server that REST routes call."""

    world: World

    def dispatch(self, name: str, data: Any, *, now: float) -> int:
        """Dispatch to the sessions that receive it."""
        ...


@attrs.frozen
class _Reply:
    method: str
    pattern: re.Pattern[str]
    answer: HttpResponse | None  # None: no response


class Rest:
    """REST routes of a server.

    `requests` has the last requests with their bodies, without their tokens. `unknown` has those
    without a route. `find_route` returns the route of a path, if there is one.
    """

    def __init__(
        self, config: Callable[[], ServerConfig], find_route: Callable[[str], Route | None]
    ) -> None:
        self._config = config
        self._find_route = find_route
        self.requests: deque[HttpRequested] = deque()
        """Last requests, oldest first."""
        self.unknown: deque[HttpRequested] = deque(maxlen=config().requests_limit)
        """Last requests without a route and a scripted reply."""
        self._sizes: deque[int] = deque()
        self._size = 0
        self._replies: list[tuple[_Reply, list[int | None]]] = []
        self._last_id = 0

    # ----- scripts -----

    def reply(
        self,
        method: str,
        path: str,
        *,
        status: int = 200,
        json: Any = _UNSET,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer requests of a method and path with this response instead of the world.

        A part of the path in braces matches any text. `times` is the number of requests. None means
        all. The latest reply for a path has priority. `body` is sent unchanged, even if it is not
        JSON. Without `json` and `body`, errors (status from 400) have the body that Discord sends,
        and other responses have no body.
        """
        _STATUS.named("status", status)
        if json is not _UNSET:
            data = encode_json(json)
        elif body is None:
            data = _default_body(status)
        elif isinstance(body, bytes):
            data = body
        else:
            raise rejected("body", body, "bytes")
        pairs = _header_pairs(headers or {})
        self._script(method, path, HttpResponse(status, data, pairs), times)

    def ignore(self, method: str, path: str, *, times: int | None = 1) -> None:
        """Leave requests without a response, until the timeout of the client or the server."""
        self._script(method, path, None, times)

    def rate_limit(
        self,
        method: str,
        path: str,
        *,
        retry_after: float = 1.0,
        scope: str = "user",
        bucket: str = "gateway_proto",
        times: int | None = 1,
    ) -> None:
        """Answer requests with 429. `scope` is "user", "global" or "shared".

        <https://docs.discord.com/developers/topics/rate-limits>
        """
        SECONDS.named("retry_after", retry_after)
        one_of(("user", "global", "shared")).named("scope", scope)
        WORD.named("bucket", bucket)
        is_global = scope == "global"
        headers = {"Retry-After": f"{retry_after:g}", "X-RateLimit-Scope": scope}
        if is_global:
            headers["X-RateLimit-Global"] = "true"
        else:
            headers |= {
                "X-RateLimit-Limit": "5",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset-After": f"{retry_after:g}",
                "X-RateLimit-Bucket": bucket,
            }
        json = _rate_limited(retry_after, is_global=is_global)
        self.reply(method, path, status=429, json=json, headers=headers, times=times)

    def clear(self) -> None:
        """Forget recorded requests and scripted replies."""
        self.requests.clear()
        self.unknown.clear()
        self._sizes.clear()
        self._size = 0
        self._replies.clear()

    def _script(
        self, method: str, path: str, answer: HttpResponse | None, times: int | None
    ) -> None:
        _METHODS.named("method", method)
        _PATH.named("path", path)
        optional(POSITIVE).named("times", times)
        parts = re.split(r"(\{[^{}/]*\})", route_of(path) or path)
        pattern = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
        self._replies.append((_Reply(method, re.compile(pattern), answer), [times]))

    def _scripted(self, method: str, path: str) -> _Reply | None:
        for entry in reversed(self._replies):
            reply, left = entry
            if reply.method != method or reply.pattern.fullmatch(path) is None:
                continue
            if left[0] is not None:
                left[0] -= 1
                if not left[0]:
                    self._replies.remove(entry)
            return reply
        return None

    # ----- for the server -----

    def new_id(self, *, now: float) -> str:
        """Return a snowflake of the current time. Each is larger than the previous one."""
        millis = int((self._unix_time(now) - _EPOCH) * 1000)
        self._last_id = max(self._last_id + 1, millis << 22)
        return str(self._last_id)

    def timestamp(self, *, now: float) -> str:
        """Return the current time in ISO 8601."""
        return iso_time(self._unix_time(now))

    def _unix_time(self, now: float) -> float:
        offset = self._config().unix_offset
        return max(_EPOCH, (_UNIX_OFFSET if offset is None else offset) + now)

    def answer(
        self,
        host: RestHost,
        method: str,
        target: str,
        body: bytes,
        content_type: str,
        *,
        authorized: bool,
        usual: Callable[[str, str], HttpResponse | None],
        now: float,
    ) -> tuple[HttpResponse | None, HttpRequested]:
        """Return the response to a request, or None for no response, and its record.

        `usual` answers routes of the gateway, such as "/gateway/bot".
        """
        path, _, query = target.partition("?")
        known = route_of(path)
        found = None if known is None else self._find_route(known)
        try:
            json, files = read_body(body, content_type)
            bad = None
        except InvalidBodyError as error:
            json, files, bad = None, (), _json(error.status, error.json)
        route = None if found is None else found.path
        scripted = self._scripted(method, unquote(path if known is None else known))
        answer: HttpResponse | None
        is_known = True
        if scripted is not None:
            answer = scripted.answer
        elif bad is not None:
            answer = bad
        elif known is not None and (usual_answer := usual(method, known)) is not None:
            answer, route = usual_answer, known
        elif found is None:
            answer, is_known = _json(404, {"message": "404: Not Found", "code": 0}), False
        elif (handler := found.handlers.get("GET" if method == "HEAD" else method)) is None:
            answer, is_known = _json(405, {"message": "405: Method Not Allowed", "code": 0}), False
        elif found.needs_token and not authorized:
            answer = _json(401, {"message": "401: Unauthorized", "code": 0})
        else:
            call = Call(
                host.world,
                found.params,
                dict(parse_qsl(query, keep_blank_values=True)),
                json,
                files,
                self.timestamp(now=now),
                lambda: self.new_id(now=now),
            )
            answer = _handled(host, handler, call, now)
        answer = None if answer is None else _with_via(answer)
        status = 0 if answer is None else answer.status
        requested = HttpRequested(method, path, status, query, json, files, route)
        self.record(requested, len(body))
        if not is_known:
            self.unknown.append(requested)
        return answer, requested

    def record(self, requested: HttpRequested, size: int) -> None:
        """Record a request, and drop old ones beyond the limits."""
        self.requests.append(requested)
        self._sizes.append(size)
        self._size += size
        config = self._config()
        while len(self.requests) > config.requests_limit or self._size > config.requests_bytes:
            self.requests.popleft()
            self._size -= self._sizes.popleft()


def as_entry(requested: HttpRequested) -> dict[str, Any]:
    """Return the fields of a request for the log, with sizes in place of file data."""
    files = [
        {"name": file.name, "filename": file.filename, "size": len(file.data)}
        for file in requested.files
    ]
    return {**msgspec.structs.asdict(requested), "files": files}


def _handled(host: RestHost, handler: Handler, call: Call, now: float) -> HttpResponse:
    before = host.world
    try:
        outcome = handler(call)
        answer = _json(outcome.status, outcome.json)
        if outcome.world is not None:
            host.world = outcome.world
        for name, data in outcome.dispatches:
            host.dispatch(name, data, now=now)
    except RestError as error:
        return _json(error.status, error.json)
    except LocalProtocolError:
        # The body has values that cannot be encoded for a session.
        host.world = before
        return _json(400, {"message": "Invalid Form Body", "code": 50035})
    return answer


def _default_body(status: int) -> bytes:
    """Return the body of a scripted response without one.

    <https://docs.discord.com/developers/reference#error-messages>
    """
    if status < 400:
        return b""
    if status == 429:
        return encode_json(_rate_limited(1.0, is_global=False))
    phrase = _PHRASES.get(status, "Unknown Error")
    return encode_json({"message": f"{status}: {phrase}", "code": 0})


def _rate_limited(retry_after: float, *, is_global: bool) -> dict[str, Any]:
    """Return the body of a 429.

    <https://docs.discord.com/developers/topics/rate-limits#exceeding-a-rate-limit>
    """
    return {
        "message": "You are being rate limited.",
        "retry_after": retry_after,
        "global": is_global,
    }


def _with_via(answer: HttpResponse) -> HttpResponse:
    """Return a response with the header field Via, unless it already has one."""
    if any(name.lower() == b"via" for name, _ in answer.headers):
        return answer
    return HttpResponse(answer.status, answer.body, (*answer.headers, _VIA))


def _json(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status, b"" if status == 204 else encode_json(body))


def _header_pairs(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    pairs = []
    for name, value in headers.items():
        is_name = isinstance(name, str) and _HEADER_NAME.fullmatch(name)
        if not is_name or name.lower() in _OWN_HEADERS:
            raise rejected("header name", name, "a field name that the server does not set")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise rejected(f"header {name}", value, "a str of printable ASCII")
        pairs.append((name.encode(), value.strip().encode()))
    return tuple(pairs)
