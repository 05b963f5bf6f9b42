"""Client: lookup, dial, resume, backoff and budgets, over many connections.

A `Client` owns no transport. `next_dial` names where to open one and when; `dial_succeeded` returns
a connection for it. When that connection ends, the client schedules the next dial, which is one of:

1. resume at the resume URL of READY, `Config.resume_attempts` times;
2. resume at the main URL, as often;
3. identify at the main URL, after a lookup if no URL is known.

Backoffs delay the dials. One is for outages and ends with HELLO. Two are for connections that open
but do not last, with longer waits after those that sent Identify. Close codes and `Config` limits
can make the client give up, which `GaveUp` reports. URLs from the network are checked against the
URL policy before they are dialled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec

from gateway_proto._checks import BOOL, as_now, instance_of
from gateway_proto._redaction import without_token
from gateway_proto.client.command_encoding import encode_identify
from gateway_proto.client.connection import ClientConnection, close_policy
from gateway_proto.client.outcome import ConnectionOutcome
from gateway_proto.client.requests import PendingRequests
from gateway_proto.commands import Command, Identify, Resume, UpdatePresence, UpdateVoiceState
from gateway_proto.config import Config
from gateway_proto.connection import RESUMABLE_CLOSE_CODE, Connection
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    Closed,
    DialFailed,
    DialPurpose,
    DialScheduled,
    Event,
    GatewayFound,
    GaveUp,
    IdentifyBudgetSpent,
    Initiator,
    SessionIgnored,
    UrlRejected,
)
from gateway_proto.session import Session, check_client
from gateway_proto.timing.backoff import DialBackoffs
from gateway_proto.timing.identify_budget import IdentifyBudget
from gateway_proto.urls import MAX_URL_LENGTH, Url
from gateway_proto.versions import NextAction

if TYPE_CHECKING:
    from gateway_proto.client.lookup import LookupConnection
    from gateway_proto.timing.voice_states import VoiceStates

__all__ = ["Client", "Dial"]

_BUDGET = instance_of(IdentifyBudget, "an IdentifyBudget")
_ERROR = instance_of(str, "a str, or the exception")
_UNAUTHORIZED = (401, 403)
_IDENTIFY_MARGIN = 0.25
"""Seconds. The server counts from when it handled an Identify, not from when it was sent."""


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """Request to open a transport."""

    host: str
    port: int
    tls: bool
    at: float
    """Seconds of the caller's clock; dial immediately if it has passed."""
    url: str
    """URL with path and query, for transports that need one."""
    purpose: DialPurpose


class Client:
    """Client: one dial after the other, until it is stopped or gives up.

    `gateway` is the result of an earlier lookup. With `lookup_only` the client ends after the
    lookup. A `session` that does not fit the config is ignored, and reported by `SessionIgnored`.
    With `Config.wait_for_identify_slot`, `on_slot_needed` is called with a connection that needs a
    slot, and the time. It is for a queue that several clients share, as in `ShardManager`, which
    must not wait until the event `IdentifySlotNeeded` is taken.
    """

    # Slots take a fifth of the memory of a `__dict__` with the same attributes. Python creates the
    # `__dict__` only when a recorder patches the methods of a client.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_backoffs",
        "_config",
        "_dial",
        "_dial_failures",
        "_events",
        "_failed_command",
        "_gateway",
        "_gateway_failures",
        "_identified_at",
        "_identify_failures",
        "_lookup_only",
        "_lost_at",
        "_on_slot_needed",
        "_presence",
        "_query",
        "_redirect",
        "_refusals",
        "_requests",
        "_resume_failures",
        "_resume_url_failures",
        "_resume_url_losses",
        "_session",
        "_shares_budget",
        "_url_policy",
        "_voice_states",
        "_was_open",
        "_was_ready",
        "budget",
        "connection",
        "gave_up",
        "last_closed",
        "lookup_answer",
    )

    def __init__(
        self,
        config: Config,
        *,
        session: Session | None = None,
        gateway: Url | None = None,
        lookup_only: bool = False,
        on_slot_needed: Callable[[ClientConnection, float], None] | None = None,
    ) -> None:
        check_client(config, session, gateway, lookup_only, on_slot_needed)
        encode_identify(config, config.presence)  # report one that is too large before the dial
        self._config = config
        self._events: list[Event] = []
        self._session = self._fitting(session)
        self._url_policy = config.url_policy
        self._query = config.query
        self._backoffs = DialBackoffs(
            initial=config.backoff_initial,
            maximum=config.backoff_max,
            outage_maximum=config.dial_backoff_max,
            random=config.next_random,
        )
        self._gateway = config.endpoint if config.gateway_url is not None else gateway
        self._redirect: Url | None = None
        self._presence: UpdatePresence | None = None
        self._gateway_failures = 0
        self._resume_url_failures = 0
        self._resume_url_losses = 0
        self._resume_failures = 0
        self._identify_failures = 0
        self._dial_failures = 0
        self._refusals = 0
        self._was_open = False
        self._was_ready = False
        self._identified_at: float | None = None
        self._lookup_only = lookup_only
        self._on_slot_needed = on_slot_needed
        self._requests = PendingRequests(config.version)
        self._voice_states: VoiceStates[UpdateVoiceState] | None = None
        if config.restore_voice_states:
            # Imported on use: most clients restore none.
            from gateway_proto.timing.voice_states import VoiceStates

            self._voice_states = VoiceStates(limit=config.command_queue_limit)
        self._failed_command: Command | None = None
        self._lost_at: float | None = None
        self._dial: Dial | None = None
        self.budget: IdentifyBudget = IdentifyBudget(
            per_day=config.identify_budget, reserve=config.identify_reserve
        )
        """Budget of Identifies of the token."""
        self._shares_budget = False
        self.connection: ClientConnection | LookupConnection | None = None
        """The connection that is open or opening; None between connections."""
        self.last_closed: Closed | None = None
        """The end of the last connection."""
        self.lookup_answer: GatewayFound | None = None
        """The last lookup's response, if the URL policy allows the gateway that it names."""
        self.gave_up: str | None = None
        """Reason for giving up; None before that, and after `stop`."""
        self._schedule_dial(-math.inf, 0.0, "the client starts")

    @property
    def session(self) -> Session | None:
        """The session as of the last event received."""
        if isinstance(self.connection, ClientConnection):
            return self.connection.session
        return self._session

    @property
    def latency(self) -> float | None:
        """Latency of the present connection in seconds; None before its first heartbeat ACK."""
        connection = self.connection
        return connection.latency if isinstance(connection, ClientConnection) else None

    @property
    def queued_commands(self) -> tuple[Command, ...]:
        """Commands queued under the rate limits, in order; a presence is last."""
        connection = self.connection
        return connection.queued_commands if isinstance(connection, ClientConnection) else ()

    def _keep_desired_states(self, former: Client) -> None:
        """Send the presence and the voice states of a client that this one replaces."""
        connection = former.connection
        self._presence = former._presence
        if isinstance(connection, ClientConnection):
            self._presence = connection._outcome.presence
        self._voice_states = former._voice_states

    def share_budget(self, budget: IdentifyBudget) -> None:
        """Count Identifies in a budget of several clients; the owner of the slots checks it."""
        _BUDGET.named("budget", budget)
        self.budget = budget
        self._shares_budget = True

    def next_dial(self) -> Dial | None:
        """Return where to open a transport next; None while connected, or after the last."""
        return self._dial

    def events(self) -> list[Event]:
        """Return the client's own events since the last call; its connections have others."""
        events = self._events
        self._events = []
        return events

    @overload
    def dial_succeeded(
        self, *, now: float, framing: Literal[True] = True
    ) -> Connection[Any, Any]: ...
    @overload
    def dial_succeeded(self, *, now: float, framing: Literal[False]) -> ClientConnection: ...
    @overload
    def dial_succeeded(self, *, now: float, framing: bool) -> Connection[Any, Any]: ...

    def dial_succeeded(self, *, now: float, framing: bool = True) -> Connection[Any, Any]:
        """Return a connection for the transport that `next_dial` requested: lookup or gateway.

        With `framing=False` the transport carries WebSocket messages; a lookup has bytes only.
        Raises `LocalProtocolError` if no dial was requested, or for a lookup with `framing=False`.
        """
        BOOL.named("framing", framing)
        now = as_now(now)
        if not framing and self._dial is not None and self._dial.purpose is DialPurpose.LOOKUP:
            raise LocalProtocolError("invalid framing False: a lookup is HTTP, expected True")
        dial = self._consume_dial()
        url = Url.parse(dial.url)
        if dial.purpose is DialPurpose.LOOKUP:
            # Imported on use: the shards of a `ShardManager`, and clients with a URL, look up none.
            from gateway_proto.client.lookup import LookupConnection

            self.connection = LookupConnection(
                self._config,
                url,
                now=now,
                next_action=NextAction.IDENTIFY if self._session is None else NextAction.RESUME,
                on_finished=self._on_lookup_finished,
            )
        else:
            self.connection = ClientConnection(
                self._config,
                url,
                now=now,
                session=self._session,
                presence=self._presence,
                requests=self._requests,
                budget=self.budget,
                voice_states=self._voice_states,
                on_slot_needed=self._on_slot_needed,
                on_finished=self._on_connection_closed,
                framing=framing,
            )
        return self.connection

    def dial_failed(self, error: str | Exception, *, permanent: bool = False, now: float) -> None:
        """Report that no transport could be opened, and why; schedules the next dial.

        `permanent` means that waiting cannot help, as with an invalid certificate: another URL, if
        there is one, is dialled immediately.
        """
        text = str(error) if isinstance(error, Exception) else error
        _ERROR.named("error", text)
        BOOL.named("permanent", permanent)
        now = as_now(now)
        dial = self._consume_dial()
        error = self._redacted(text)
        self._events.append(DialFailed(dial.url, error))
        self._events += self._requests.expire(now)
        error = f"could not connect to {dial.host} port {dial.port}: {error}"
        next_step = permanent and self._redirect is not None
        # An unreachable resume host leads to the main URL; a network outage keeps the session.
        if dial.purpose is DialPurpose.RESUME and self._on_resume_url():
            next_step = permanent
            self._resume_url_failures += self._config.resume_attempts if permanent else 1
        elif dial.purpose is not DialPurpose.LOOKUP and self._redirect is None:
            self._gateway_failed(permanent=permanent)
        self._redirect = None
        if next_step:
            self._dial_again(now, 0.0, error)
        else:
            self._backoffs.outage.record_loss()
            self._dial_again(now, self._backoffs.outage.delay(), error)

    def stop(self, *, keep_session: bool, now: float) -> None:
        """Stop, with a close code that keeps the session or one that ends it."""
        BOOL.named("keep_session", keep_session)
        now = as_now(now)
        self._dial = None
        if self.connection is not None:
            self.connection.close(RESUMABLE_CLOSE_CODE if keep_session else 1000, now=now)
        elif not keep_session:
            self._session = None
        self._events += self._requests.fail("the client was stopped")

    # ----- the next dial -----

    def _fitting(self, session: Session | None) -> Session | None:
        """Return the session to start with, and report one that cannot be resumed."""
        misfit = None if session is None else session.misfit(self._config)
        if misfit is None:
            return session
        self._events.append(SessionIgnored(misfit))
        return None

    def _consume_dial(self) -> Dial:
        dial = self._dial
        if dial is None:
            raise LocalProtocolError("no dial was asked for: next_dial() is None")
        self._dial = None
        return dial

    def _on_resume_url(self) -> bool:
        return (
            self._session is not None
            and self._session.resume_url is not None
            and self._redirect is None
            and self._resume_url_failures < self._config.resume_attempts
            and not self._resumes_at_gateway()
        )

    def _resumes_at_gateway(self) -> bool:
        """Whether the resume URL is the main URL, so that both are one step."""
        session, gateway = self._session, self._gateway
        if session is None or session.resume_url is None or gateway is None:
            return False
        url, _ = self._url_policy.check(session.resume_url)
        query = self._query
        return url is not None and url.with_query(query).same_as(gateway.with_query(query))

    def _resume_is_exhausted(self) -> bool:
        if self._session is None or self._on_resume_url():
            return False
        losses = self._resume_failures
        if self._resumes_at_gateway():
            losses += self._resume_url_losses
        return losses >= self._config.resume_attempts

    def _schedule_dial(self, now: float, delay: float, reason: str) -> None:
        """Schedule the next dial."""
        if self._session is not None and self._is_session_expired(now + delay):
            self._session = None
            reason += f"; the session was lost more than {self._config.resume_within:g} s ago"
        if self._resume_is_exhausted():
            self._session = None
            reason += "; the session is given up"
        url, purpose = self._next_url(), DialPurpose.IDENTIFY
        if self._session is not None:
            purpose = DialPurpose.RESUME
        else:
            self._events += self._requests.fail("the session is lost")
        if url is None:
            url, purpose = self._config.endpoint, DialPurpose.LOOKUP
        if purpose is DialPurpose.IDENTIFY:
            spent = self._identify_budget_error(now)
            if spent is not None and spent.seconds is None:
                self._give_up(spent.reason)
                return
            if spent is not None and spent.seconds is not None:
                # The budget renews itself: wait for it, and report it.
                self._events.append(spent)
                delay, reason = max(delay, spent.seconds), f"{reason}; {spent.reason}"
            last = self._identified_at
            # Only the first redirect is followed immediately: a server may redirect in a circle.
            is_redirected = self._redirect is not None and self._backoffs.losses <= 1
            if last is not None and not is_redirected and not self._config.wait_for_identify_slot:
                seconds = self._config.version.identify_seconds + _IDENTIFY_MARGIN
                delay = max(delay, last + seconds - now)
        if purpose is not DialPurpose.LOOKUP:
            url = url.with_query(self._query)
        self._events.append(
            DialScheduled(purpose=purpose, url=str(url), delay=delay, reason=reason)
        )
        self._dial = Dial(
            host=url.host,
            port=url.port,
            tls=url.tls,
            at=now + delay,
            url=str(url),
            purpose=purpose,
        )

    def _is_session_expired(self, at: float) -> bool:
        within, lost_at = self._config.resume_within, self._lost_at
        return within is not None and lost_at is not None and at > lost_at + within

    def _identify_budget_error(self, now: float) -> IdentifyBudgetSpent | None:
        """Return the report that no session may be opened now; None if one may be opened."""
        spent = self.budget.spent(now)
        if spent is None:
            return None
        seconds, reason = spent
        if seconds is not None and self._shares_budget:
            # A shard waits with an open connection, as for its identify slot, and its manager
            # reports it. A dial that depends on other clients would make traces irreproducible.
            return None
        return IdentifyBudgetSpent(seconds, reason)

    def _next_url(self) -> Url | None:
        """Return the gateway's URL; None if a lookup is needed."""
        if self._redirect is not None:
            return self._redirect
        if self._on_resume_url():
            assert self._session is not None and self._session.resume_url is not None
            url, _ = self._check_url(self._session.resume_url)
            if url is not None:
                return url
            self._session = msgspec.structs.replace(self._session, resume_url=None)
        return self._gateway

    def _check_url(self, text: str) -> tuple[Url | None, str]:
        """Return a URL of the network, or None and why it is rejected, which is reported."""
        url, why = self._url_policy.check(text)
        why = self._redacted(why)
        if url is None:
            shown = self._redacted(text)
            shown = shown if len(shown) <= MAX_URL_LENGTH else f"{shown[:200]}..."
            self._events.append(UrlRejected(shown, why))
        return url, why

    def _redacted(self, text: str) -> str:
        return without_token(text, self._config.token)

    def _give_up(self, reason: str) -> None:
        self.gave_up = reason
        self._events += self._requests.fail(reason)
        self._events.append(GaveUp(reason))

    def _gateway_failed(self, *, permanent: bool = False) -> None:
        """Count a failure to open a WebSocket at the gateway from the lookup."""
        self._gateway_failures += 1
        # Clients cache the URL and look it up again when they cannot connect with it:
        # https://docs.discord.com/developers/events/gateway#get-gateway
        may_look_up, cacheable = not self._config.gateway_url, self._config.version.lookup_cacheable
        attempts = self._config.gateway_attempts if cacheable else 1
        if may_look_up and (permanent or self._gateway_failures >= attempts):
            self._gateway, self._gateway_failures = None, 0

    def _on_lookup_finished(self, found: GatewayFound | None, closed: Closed, now: float) -> None:
        self.connection = None
        self.last_closed = closed
        if closed.next_action is NextAction.STOP:
            return
        error = self._describe_close(closed)
        sends_token = self._config.version.lookup_authorized or self._config.use_gateway_bot
        if found is not None:
            self._gateway, why = self._check_url(found.url)
            if self._gateway is not None:
                self.lookup_answer = found
                if (limit := found.session_start_limit) is not None:
                    self.budget.set_limit(limit.total, limit.remaining, limit.reset_after, now=now)
                if not self._lookup_only:
                    self._schedule_dial(now, 0.0, "the lookup named the gateway")
                return
            url = self._redacted(found.url)
            error = f"the lookup named a gateway that is not trusted: {url!r:.200} ({why:.200})"
            if not self._was_open:
                self._give_up(error)
                return
        elif closed.code == 401 and (sends_token or not self._was_open):
            self._give_up(f"{error}: is the token right?")
            return
        self._refused(closed, now, error, configured=True)

    def _refused(self, closed: Closed, now: float, error: str, *, configured: bool) -> None:
        """Schedule the next dial after a lookup or upgrade without a WebSocket."""
        # A 404 of a URL that never worked is permanent. Later it may be an outage: a proxy without
        # its backend answers 404 too.
        if closed.code == 404 and configured and not self._was_open:
            self._give_up(f"{error}: is the URL right?")
            return
        self._backoffs.outage.record_loss()
        delay = max(self._backoffs.outage.delay(), closed.retry_after or 0.0)
        # RFC 9110, 15.5.2 and 15.5.4: the same request would fail again.
        if closed.code in _UNAUTHORIZED:
            self._refusals += 1
            if self._refusals > 1:
                delay = max(delay, self._config.backoff_max)
        self._dial_again(now, delay, error)

    def _dial_again(self, now: float, delay: float, error: str) -> None:
        """Schedule the next dial after one without a WebSocket, unless the limit is reached."""
        self._dial_failures += 1
        limit = self._config.dial_attempts
        if limit is not None and self._dial_failures >= limit:
            self._give_up(error)
            return
        self._schedule_dial(now, delay, error)

    def _on_connection_closed(self, outcome: ConnectionOutcome, closed: Closed, now: float) -> None:
        self.last_closed = closed
        self.connection = None
        self._presence = outcome.presence
        configured = self._redirect is None and not self._on_resume_url()
        self._count_outcome(outcome, now)
        self._session = outcome.session
        if outcome.ready_at is not None or self._lost_at is None:
            self._lost_at = now
        reason = self._describe_close(closed)
        if closed.next_action is NextAction.STOP:
            if closed.initiator is Initiator.PEER:
                self._give_up(f"{reason}, after which no reconnect helps")
            self._events += self._requests.fail("the client was stopped")
            return
        reason += self._token_hint(outcome, closed)
        limit = self._config.identify_attempts
        if limit is not None and self._identify_failures >= limit:
            self._give_up(
                f"{self._identify_failures} connections in a row did not become ready, the last "
                f"because: {reason}"
            )
            return
        if self._same_command_failed_twice(closed):
            # Only its type: the reason is logged, and a command contains the user's data.
            self._give_up(
                f"{reason}, twice after the same command: {type(self._failed_command).__name__}"
            )
            return
        self._redirect = None
        if outcome.redirect is not None:
            self._redirect, _ = self._check_url(outcome.redirect)
        if not self._config.version.lookup_cacheable and self._config.gateway_url is None:
            self._gateway = None
        if not outcome.opened:
            self._refused(closed, now, reason, configured=configured)
            return
        self._dial_failures = 0
        self._schedule_dial(now, self._delay(outcome, closed), reason)

    def _delay(self, outcome: ConnectionOutcome, closed: Closed) -> float:
        """Return the delay in seconds after a connection whose WebSocket was open."""
        if outcome.resume_refused:
            # INVALID_SESSION in answer to Resume has its own delay and is not a gateway failure:
            # https://docs.discord.com/developers/events/gateway#resuming
            return closed.retry_after or 0.0
        backoff = self._backoffs.after(
            reached=outcome.reached, identified=bool(outcome.identified_at)
        )
        # Op 7 asks for an immediate reconnect: back off if it repeats.
        # https://docs.discord.com/developers/events/gateway-events#reconnect
        if outcome.reconnect_requested and self._backoffs.losses <= 1:
            return 0.0
        return max(backoff.delay(), closed.retry_after or 0.0)

    def _token_hint(self, outcome: ConnectionOutcome, closed: Closed) -> str:
        """Return a hint about the token if the connection ended after Identify, else ""."""
        if not outcome.identified_at or outcome.ready_at is not None or self._was_ready:
            return ""
        if closed.initiator is Initiator.SELF:
            return ""
        # These codes name another cause, or the token itself (4004), if the version has them:
        # https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
        code = closed.code
        documented = (*self._config.version.close_policies, *self._config.close_policies)
        if code in documented and code in range(4001, 4015) and code != 4003:
            return ""
        return "; it came in answer to Identify: is the token right?"

    def _same_command_failed_twice(self, closed: Closed) -> bool:
        """Whether one command caused two closes in a row, without a stable time between."""
        command = closed.last_sent[-1] if closed.last_sent else None
        if isinstance(command, Identify | Resume):
            command = None  # sent by the client itself: repeated rejection may be an outage
        before, self._failed_command = self._failed_command, command
        return command is not None and command == before and self._backoffs.losses > 1

    def _count_outcome(self, outcome: ConnectionOutcome, now: float) -> None:
        """Count the failure for the step that was tried: resume URL, main URL or identify.

        A rejected upgrade counts for the resume URL, but does not drop the session.
        """
        if outcome.identified_at:
            self._identified_at = outcome.identified_at[-1]
        ready_at = outcome.ready_at
        # An unanswered Resume took a whole timeout: do not try it again at the same URL.
        failures = self._config.resume_attempts if outcome.resume_unanswered else 1
        if outcome.opened:
            self._gateway_failures = self._refusals = 0
            self._was_open = True
        if ready_at is not None:
            self._was_ready = True
            self._resume_url_failures = self._resume_url_losses = 0
            self._resume_failures = self._identify_failures = 0
        elif self._on_resume_url():
            self._resume_url_failures += failures
            self._resume_url_losses += failures if outcome.opened else 0
        elif not outcome.opened and self._redirect is None:
            self._gateway_failed()
        elif outcome.opened and self._session is not None:
            self._resume_failures += failures
        if ready_at is None and outcome.identified_at:
            self._identify_failures += 1
        if outcome.reached:
            self._backoffs.outage.reset()
            if ready_at is not None and now - ready_at >= self._config.backoff_reset_after:
                self._backoffs.end_losses()
        if outcome.opened and not outcome.resume_refused:
            self._backoffs.after(
                reached=outcome.reached, identified=bool(outcome.identified_at)
            ).record_loss()

    def _describe_close(self, closed: Closed) -> str:
        if closed.error is not None:
            return closed.error
        if closed.initiator is Initiator.PEER:
            if closed.code is None:
                return "the server closed without a code"
            meaning = close_policy(self._config, closed.code).meaning
            return f"the server closed with {closed.code} {closed.reason!r} ({meaning})"
        return closed.reason
