"""Answers of requests, out of the log of the shard that sent them.

The owner of a shard logs all dispatches, those that answer a request, too. So an answer of any size
is read from the log in pieces, survives the owner, and takes no space if its requester has died.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway_proto._checks import DURATION, as_now
from gateway_proto.client.command_encoding import check_is_request
from gateway_proto.client.requests import RESPONSE_DISPATCHES, PendingRequests
from gateway_proto.commands import Request, RequestGuildMembers
from gateway_proto.events import RequestAnswered, RequestFailed
from gateway_proto.fleet.feed_events import LoggedDispatch, feed_events
from gateway_proto.fleet.records import LogRecord
from gateway_proto.versions import ProtocolVersion

__all__ = ["LogAnswers", "RequestOutcome"]

RequestOutcome: TypeAlias = RequestAnswered | RequestFailed


class LogAnswers:
    """Requests that were sent to one shard, until the records of its log answer them.

    Add a request before it is sent, and then each record that follows the head of that time.
    """

    def __init__(self, version: ProtocolVersion) -> None:
        self._requests = PendingRequests(version)
        self._sessions: dict[int, str] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no request is pending."""
        return not self._requests.pending

    def add(
        self, request: Request, *, nonce: str, timeout: float, now: float
    ) -> tuple[int, Request]:
        """Add a request; return its number, and the request as it is to be sent.

        Its nonce is replaced, since `nonce` is unlike that of all other processes. Raises
        `LocalProtocolError`.
        """
        DURATION.named("timeout", timeout)
        check_is_request(request)
        now = as_now(now)
        if isinstance(request, RequestGuildMembers):
            request = msgspec.structs.replace(request, nonce=None)
        number, request = self._requests.add(request, timeout, nonce)
        self._requests.start_timeout(number, now)
        return number, request

    def sent(self, number: int, session: str, *, now: float) -> None:
        """Report that a request was sent in a session: its timeout begins."""
        if number in self._requests.pending:
            self._requests.start_timeout(number, now)
            self._sessions[number] = session

    def discard(self, number: int) -> None:
        """Forget a request."""
        self._requests.pending.pop(number, None)
        self._sessions.pop(number, None)

    def add_record(self, record: LogRecord, *, now: float) -> list[RequestOutcome]:
        """Add the next record of the log; return the requests that it completes."""
        over: list[RequestOutcome] = []
        if record.session_lost and self._sessions:
            session = "" if record.session is None else record.session.id
            lost = [number for number, of in self._sessions.items() if of != session]
            over += self._requests.fail("the session is lost", lost)
        for event in feed_events(record):
            if isinstance(event, LoggedDispatch) and event.name in RESPONSE_DISPATCHES:
                over += self._requests.handle_dispatch(event, now)
        return self._ended(over)

    def expire(self, *, now: float) -> list[RequestOutcome]:
        """End the requests whose timeout is over."""
        return self._ended(self._requests.expire(now))

    def next_timer(self) -> float | None:
        """Return when the next timeout is over; None if no request is pending."""
        return self._requests.next_timer()

    def _ended(self, over: list[RequestOutcome]) -> list[RequestOutcome]:
        for outcome in over:
            self._sessions.pop(outcome.number, None)
        return over
