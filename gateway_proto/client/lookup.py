"""Lookup of the gateway's URL with `GET /gateway`, of the client role.

Adapters drive the client's lookup like any other connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h11

from gateway_proto._checks import as_bytes
from gateway_proto._redaction import without_token
from gateway_proto.config import Config
from gateway_proto.connection import Connection
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Closed, Event, GatewayFound, Initiator, SessionStartLimit
from gateway_proto.state import Input, State, TransitionTable
from gateway_proto.timing.timers import AWAITED, Timer
from gateway_proto.urls import Url
from gateway_proto.versions import NextAction
from gateway_proto.wire.close_codes import check_close
from gateway_proto.wire.frame_events import UpgradeRejected
from gateway_proto.wire.http_heads import joined
from gateway_proto.wire.http_values import MAX_RETRY_AFTER, json_value, parse_retry_after, whole

__all__ = ["LookupConnection", "refusal_text"]

_BODY_LIMIT = 65536
_HEAD_LIMIT = 16384
"""Bytes of the status line and the header fields of a response."""
_INTERIM_LIMIT = 32
"""Maximum number of informational responses; RFC 9110, 15.2, sets none."""
_MAX_NUMBER = 2**31
"""Largest number that is stored of a response."""
_MAX_SHOWN = 200
"""Maximum number of characters of a response in an error."""
_TABLE: TransitionTable = {
    (State.CONNECTING, Input.END): State.CLOSED,
    (State.CONNECTING, Input.CLOSE): State.CLOSED,
}


def refusal_text(what: str, status: int, headers: Mapping[str, str], path: str) -> str:
    """Return an error text for an HTTP response that is not a success, with a hint."""
    text = f"the {what} was answered with HTTP {status}"
    if status == 404:
        return f"{text} for the path {path.partition('?')[0]!r:.200}"
    location = headers.get("location")
    if 300 <= status < 400 and location is not None:
        # Redirects are not followed: the token goes only to the configured endpoint.
        return f"{text}, Location {location.strip()[:200]!r}: is the URL right?"
    return text


def closed_by_refusal(
    refused: UpgradeRejected, path: str, *, token: str, unix: float | None, next_action: NextAction
) -> Closed:
    """Return the end of a connection whose upgrade was answered with an HTTP response."""
    # Redacted before they are cut: a part of the token would not be found.
    headers = {name: without_token(text, token) for name, text in refused.headers.items()}
    reason = without_token(refused.body.decode("utf-8", "replace"), token)
    ray = headers.get("cf-ray", "")[:80]
    return Closed(
        code=refused.status,
        reason=reason[:_MAX_SHOWN].strip(),
        initiator=Initiator.PEER,
        next_action=next_action,
        error=refusal_text("upgrade", refused.status, headers, path)
        + (f" (cf-ray {ray})" if ray else ""),
        retry_after=parse_retry_after(headers, refused.body, unix=unix),
    )


class LookupConnection(Connection[None, Event]):
    """Connection for `GET /gateway`: `GatewayFound` if it succeeds, then `Closed`."""

    def __init__(
        self,
        config: Config,
        url: Url,
        *,
        now: float,
        next_action: NextAction = NextAction.IDENTIFY,
        on_finished: Callable[[GatewayFound | None, Closed, float], None] | None = None,
    ) -> None:
        super().__init__(now=now, table=_TABLE)
        self._next_action = next_action
        self._on_finished = on_finished
        self._found: GatewayFound | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        self._response: h11.Response | None = None
        self._interim = 0
        self._body = b""
        self._target = url.target
        self._unix_offset = config.unix_offset
        self._token = config.token
        headers = [
            ("Host", url.host_header),
            ("User-Agent", config.user_agent),
            ("Accept", "application/json"),
            ("Connection", "close"),
        ]
        if config.version.lookup_authorized or config.use_gateway_bot:
            headers.append(("Authorization", ("Bot " if config.bot else "") + config.token))
        self._out = self._http.send(
            h11.Request(method="GET", target=url.target, headers=headers)
        ) + self._http.send(h11.EndOfMessage())
        self._timers.set(Timer.HANDSHAKE, self._now + config.handshake_timeout)

    def receive_data(self, data: bytes, *, now: float) -> None:
        """Process bytes of the transport; then run the timers that are due."""
        if type(data) is not bytes:
            data = as_bytes(data)
        now = self._advance_clock(now)
        if data:  # an empty read is not EOF; see receive_eof()
            self._receive(data, now)
        self.handle_timer(now=now)

    def receive_eof(self, *, now: float) -> None:
        """Report that the transport closed, which may end the response."""
        now = self._advance_clock(now)
        self._receive(b"", now)
        self._end_early(Initiator.TRANSPORT, "the lookup's answer ended too early", now)

    def data_to_send(self) -> bytes:
        """Return the request, once."""
        data = self._out
        self._out = b""
        return data

    def send(self, message: None, *, now: float) -> None:
        """Raise `LocalProtocolError`: a lookup sends no commands."""
        raise LocalProtocolError("a lookup sends no commands: wait for READY")

    def close(self, code: int = 1000, reason: str = "", *, now: float) -> None:
        """End the lookup; raises `LocalProtocolError` as the close of a gateway connection does."""
        check_close(code, reason)
        closed = Closed(
            code=code, reason=reason, initiator=Initiator.SELF, next_action=NextAction.STOP
        )
        now = self._advance_clock(now)
        if self._transition(Input.CLOSE):
            self._finish(closed, now)

    def _on_timer(self, timer: Timer, now: float) -> None:
        self._end_early(Initiator.SELF, f"waited too long for {AWAITED[timer]} of the lookup", now)

    def _receive(self, data: bytes, now: float) -> None:
        if self._state is State.CLOSED:
            return
        try:
            for event in _read(self._http, data):
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > _BODY_LIMIT:
                        error = f"its answer has more than {_BODY_LIMIT} bytes"
                        self._end_early(Initiator.SELF, error, now)
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._answered(now)
                    return
                else:
                    self._interim += 1
                    if self._interim > _INTERIM_LIMIT:
                        error = f"more than {_INTERIM_LIMIT} informational responses"
                        self._end(Initiator.SELF, f"the lookup has no answer after {error}", now)
                        return
        except h11.RemoteProtocolError as error:
            if data:
                why = self._redacted(str(error))[:_MAX_SHOWN]  # it quotes the line
                self._end_early(Initiator.SELF, f"the lookup's answer is not HTTP: {why}", now)

    def _answered(self, now: float) -> None:
        assert self._response is not None
        if self._response.status_code != 200:
            self._refused(self._response, now)
            return
        try:
            self._found = _found(json_value(self._body))
        except (ValueError, RecursionError) as error:
            why = self._redacted(str(error))[:_MAX_SHOWN]
            self._end(Initiator.SELF, f"the lookup's answer has no URL of a gateway: {why}", now)
            return
        self._events.append(self._found)
        self._end(Initiator.SELF, None, now, code=200)

    def _end_early(self, initiator: Initiator, error: str, now: float) -> None:
        """End before the response is complete; its head already shows an error status."""
        if self._response is not None and self._response.status_code != 200:
            self._refused(self._response, now)
        else:
            self._end(initiator, error, now)

    def _refused(self, response: h11.Response, now: float) -> None:
        status = response.status_code
        headers = {name: self._redacted(text) for name, text in joined(response.headers).items()}
        unix = None if self._unix_offset is None else now + self._unix_offset
        self._end(
            Initiator.PEER,
            refusal_text("lookup", status, headers, self._target),
            now,
            code=status,
            retry_after=parse_retry_after(headers, self._body, unix=unix),
        )

    def _end(
        self,
        initiator: Initiator,
        error: str | None,
        now: float,
        *,
        code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        if self._transition(Input.END):
            closed = Closed(
                code=code,
                initiator=initiator,
                next_action=self._next_action,
                error=error,
                retry_after=retry_after,
            )
            self._finish(closed, now)

    def _redacted(self, text: str) -> str:
        return without_token(text, self._token)

    def _notify_finished(self, closed: Closed, now: float) -> None:
        if self._on_finished is not None:
            self._on_finished(self._found, closed, now)


def _read(http: h11.Connection, data: bytes) -> Iterator[h11.Event]:
    """Yield the events in `data`, which is empty at the end of the transport.

    h11 compares a head with its limit only while the head is incomplete, so it is given one byte
    more than the limit at most: what it accepts does not depend on how the bytes were split.
    """
    while True:
        room = _HEAD_LIMIT + 1 - len(http.trailing_data[0])
        http.receive_data(data[:room])
        while not isinstance(event := http.next_event(), type | h11.ConnectionClosed):
            yield event
        data = data[room:]
        if not data:
            return


def _found(answer: Any) -> GatewayFound:
    """Decode the response of a lookup; raises ValueError if it has no URL.

    Other fields are optional; invalid values are ignored.
    """
    url = answer.get("url") if isinstance(answer, dict) else None
    if not isinstance(url, str) or "\ufffd" in url:
        raise ValueError(f"it is {answer!r}")
    shards = whole(answer.get("shards"), most=_MAX_NUMBER, up=True)
    return GatewayFound(url.strip(), shards or None, _limit(answer.get("session_start_limit")))


def _limit(value: Any) -> SessionStartLimit | None:
    """Decode a session start limit; missing values are as documented. None if it has none."""
    if not isinstance(value, dict):
        return None
    total = whole(value.get("total"), most=_MAX_NUMBER)
    remaining = whole(value.get("remaining"), most=_MAX_NUMBER)
    if total == 0:
        total = remaining = None  # 0 would forbid every Identify: the server keeps no limit
    reset_after = whole(value.get("reset_after"), most=int(MAX_RETRY_AFTER * 1000), up=True)
    concurrency = whole(value.get("max_concurrency"), most=_MAX_NUMBER)
    if total is None and remaining is None and concurrency is None:
        return None
    # https://docs.discord.com/developers/events/gateway#sharding-for-large-bots: 1000 Identifies in
    # 24 hours.
    total = 1000 if total is None else total
    return SessionStartLimit(
        total,
        total if remaining is None else remaining,
        0 if reset_after is None else reset_after,
        max(1, concurrency or 1),
    )
