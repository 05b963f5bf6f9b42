"""GET /gateway ↔ the gateway's URL: the lookup, for both roles.

For a client the lookup is a connection like any other: the same pump drives it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11
import msgspec

from gateway_proto._connection import Connection
from gateway_proto._layers.close_codes import check_close
from gateway_proto._layers.state import Input, State, Table
from gateway_proto._timing.deadlines import Timer
from gateway_proto.config import Config
from gateway_proto.dialects import Then
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import By, Closed, Event, GatewayFound, SessionStartLimit
from gateway_proto.urls import Url

__all__ = ["Answer", "LookupConnection", "answer", "seconds_to_wait"]

_BODY_LIMIT = 65536
_TABLE: Table = {
    (State.UPGRADING, Input.END): State.CLOSED,
    (State.UPGRADING, Input.CLOSE): State.CLOSED,
}


class _Found(msgspec.Struct):
    url: str
    shards: int | None = None
    session_start_limit: SessionStartLimit | None = None


def seconds_to_wait(headers: dict[str, str]) -> float | None:
    """The Retry-After of a response, where it is a number of seconds."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    # What is no number or no end is nothing to wait for.
    return seconds if 0 <= seconds <= 86400 else None


class LookupConnection(Connection[None, Event]):
    """`GET /gateway`: ends with `Closed`, after `GatewayFound` if all went well."""

    def __init__(
        self,
        config: Config,
        url: Url,
        *,
        now: float,
        then: Then = Then.IDENTIFY,
        on_finished: Callable[[GatewayFound | None, Closed, float], None] | None = None,
    ) -> None:
        super().__init__(now=now, table=_TABLE)
        self._then = then
        self._on_finished = on_finished
        self._found: GatewayFound | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._response: h11.Response | None = None
        self._body = b""
        headers = [
            ("Host", url.host_header),
            ("User-Agent", config.user_agent),
            ("Accept", "application/json"),
            ("Connection", "close"),
        ]
        if config.dialect.lookup_authorized or config.lookup_bot:
            headers.append(("Authorization", ("Bot " if config.bot else "") + config.token))
        self._out = self._http.send(
            h11.Request(method="GET", target=url.target, headers=headers)
        ) + self._http.send(h11.EndOfMessage())
        self._deadlines.set(Timer.HANDSHAKE, now + config.handshake_timeout)

    def receive_data(self, data: bytes, *, now: float) -> None:
        """Take bytes of the transport; then fire the timers that are due."""
        now = self._at(now)
        if data:  # none is no end: that is receive_eof
            self._receive(data, now)
        self.handle_timer(now=now)

    def receive_eof(self, *, now: float) -> None:
        """The transport is at its end, which may be the response's end too."""
        now = self._at(now)
        self._receive(b"", now)
        self._end(By.TRANSPORT, "the lookup's answer ended too early", now)

    def data_to_send(self) -> bytes:
        """The request, once."""
        data = self._out
        self._out = b""
        return data

    def send(self, message: None, *, now: float) -> None:
        """Raises `LocalProtocolError`: a lookup has nothing to send."""
        raise LocalProtocolError("a lookup is no gateway connection: wait for READY to send")

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """End the lookup; raises `LocalProtocolError` as the close of a gateway connection does."""
        check_close(code, reason)
        closed = Closed(code=code, reason=reason, by=By.SELF, then=Then.STOP)
        if self._move(Input.CLOSE):
            self._finish(closed, self._at(now))

    def _fired(self, timer: Timer, now: float) -> None:
        self._end(By.SELF, f"waited too long for {timer.value} of the lookup", now)

    def _receive(self, data: bytes, now: float) -> None:
        if self._state is State.CLOSED:
            return
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > _BODY_LIMIT:
                        self._end(By.SELF, f"its answer has more than {_BODY_LIMIT} bytes", now)
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._answered(now)
                    return
                elif not isinstance(event, h11.InformationalResponse):
                    return  # NEED_DATA, PAUSED or ConnectionClosed
        except h11.RemoteProtocolError as error:
            if data:
                self._end(By.SELF, f"the lookup's answer is not HTTP: {error}", now)

    def _answered(self, now: float) -> None:
        assert self._response is not None
        status = self._response.status_code
        if status != 200:
            headers = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in self._response.headers
            }
            self._end(
                By.PEER,
                f"the lookup was answered with HTTP {status}",
                now,
                code=status,
                retry_after=seconds_to_wait(headers),
            )
            return
        try:
            found = msgspec.json.decode(self._body, type=_Found)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._end(By.SELF, f"the lookup's answer has no URL of a gateway: {error}", now)
            return
        self._found = GatewayFound(found.url, found.shards, found.session_start_limit)
        self._events.append(self._found)
        self._end(By.SELF, None, now, code=status)

    def _end(
        self,
        by: By,
        error: str | None,
        now: float,
        *,
        code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        if self._move(Input.END):
            closed = Closed(code=code, by=by, then=self._then, error=error, retry_after=retry_after)
            self._finish(closed, now)

    def _finished(self, closed: Closed, now: float) -> None:
        if self._on_finished is not None:
            self._on_finished(self._found, closed, now)


# ----- the server's side -----


class Answer(msgspec.Struct, frozen=True):
    """An HTTP response of the server role; its Content-Type is application/json."""

    status: int
    body: bytes


_APPLICATION: dict[str, Any] = {
    "name": "gateway_proto",
    "icon": None,
    "description": "",
    "rpc_origins": [],
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "0" * 64,
    "team": None,
    "flags": 0,
}


def answer(
    method: str, target: str, *, found: GatewayFound, user: dict[str, Any], authorized: bool
) -> Answer:
    """What the routes answer that clients ask before and beside the gateway.

    `found` is what `/gateway/bot` says, and of it the URL what `/gateway` does.
    """
    # Version 3 asks for /api/gateway, later versions for /api/v10/gateway.
    path = target.partition("?")[0].rstrip("/")
    _, _, route = path.partition("/api")
    first, _, rest = route.lstrip("/").partition("/")
    if first[:1] == "v" and first[1:].isdecimal():
        route = rest
    match route.strip("/"):
        case _ if method not in ("GET", "HEAD"):
            return _json(405, {"message": "405: Method Not Allowed", "code": 0})
        case "gateway":
            return _json(200, {"url": found.url})
        case "gateway/bot" | "users/@me" | "oauth2/applications/@me" | "applications/@me" if (
            not authorized
        ):
            return _json(401, {"message": "401: Unauthorized", "code": 0})
        case "gateway/bot":
            return _json(200, msgspec.to_builtins(found))
        case "users/@me":
            return _json(200, user)
        case "oauth2/applications/@me" | "applications/@me":
            return _json(200, {**_APPLICATION, "id": user["id"], "owner": user})
        case "soundboard-default-sounds":
            return _json(200, [])
        case _:
            return _json(404, {"message": "404: Not Found", "code": 0})


def _json(status: int, body: Any) -> Answer:
    return Answer(status, msgspec.json.encode(body))
