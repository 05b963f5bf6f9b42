"""commands → payloads: the half of a client's connection that sends, and what has no room yet."""

from __future__ import annotations

import abc
import math

from gateway_proto._connection import GatewayConnection
from gateway_proto._layers.frames import ClientFrames, Unframed
from gateway_proto._layers.inflate import inflater
from gateway_proto._layers.payloads import Payload
from gateway_proto._layers.state import State, client_table
from gateway_proto._timing.deadlines import Timer
from gateway_proto._timing.outbox import Outbox, Waiting
from gateway_proto._timing.voice_states import VoiceStates
from gateway_proto.commands import (
    Command,
    Heartbeat,
    Identify,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.config import Config
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import CommandsWait, Dispatch, Event
from gateway_proto.requests import Request, Requests

__all__ = ["Sending"]

_LAST_SENT = 4
"""Commands that are kept for the report of a close that blames one."""


class Sending(GatewayConnection[Command, Event, Dispatch | Payload], abc.ABC):
    """Commands, their rate limits, and requests whose answers are awaited."""

    __slots__ = (
        "_config",
        "_dialect",
        "_last_sent",
        "_outbox",
        "_requests",
        "_unsent",
        "_voice_states",
        "_wait_reported",
        "presence",
    )

    def __init__(
        self,
        config: Config,
        *,
        now: float,
        presence: UpdatePresence | None,
        requests: Requests,
        voice_states: VoiceStates | None,
        frames: ClientFrames | Unframed,
    ) -> None:
        dialect = config.dialect
        super().__init__(
            now=now,
            close_timeout=config.close_timeout,
            events_limit=config.events_limit,
            output_limit=config.output_limit,
            table=client_table(dialect),
            frames=frames,
            inflater=inflater(config.compression, limit=config.message_limit),
        )
        self._config = config
        self._dialect = dialect
        self._requests = requests
        self._outbox: Outbox[Command] = Outbox(
            send_limit=dialect.send_limit,
            presence_limit=dialect.presence_limit,
            held_until=requests.held_until,
        )
        if voice_states is None and config.restore_voice_states:
            voice_states = VoiceStates(limit=config.waiting_limit)
        self._voice_states = voice_states
        self._unsent: tuple[Command, ...] = ()
        self._last_sent: tuple[Command, ...] = ()
        self._wait_reported = False
        self.presence: UpdatePresence | None = presence or config.presence
        """The last presence that the caller asked for."""

    @property
    def waiting(self) -> tuple[Command, ...]:
        """Commands that wait for capacity under the rate limits, in order; a presence is last."""
        return self._outbox.waiting

    @property
    def voice_states(self) -> tuple[UpdateVoiceState, ...]:
        """What `Config.restore_voice_states` sends again in a new session, in order."""
        return () if self._voice_states is None else self._voice_states.wanted

    def send(self, message: Command, *, now: float) -> None:
        """Send a command, or let it wait for room under the rate limit.

        A presence is a state: it may be given at any time, and the last one counts. Other
        commands before READY, and those that the machine sends by itself, raise
        `LocalProtocolError`; so does one that is too large, or one too many that waits.
        """
        if self._state in (State.CLOSING, State.CLOSED):
            raise LocalProtocolError("the connection is closed: send on the next one")
        if isinstance(message, Identify | Resume | Heartbeat):
            raise LocalProtocolError(f"the machine sends {type(message).__name__} by itself")
        text = self._config.spell(message)
        if isinstance(message, UpdatePresence):
            self._config.spell(self._config.identify(message))  # it must have room in there too
            now = self._at(now)
            self.presence = message
            if self._state is State.READY:
                self._outbox.put_presence(Waiting(message, text, now))
        else:
            self._check_ready(message)
            if self._voice_states is not None and isinstance(message, UpdateVoiceState):
                self._voice_states.check(message)
                self._voice_states.want(message)
            now = self._at(now)
            self._outbox.put(Waiting(message, text, now))
        self._flush(now)

    def request(self, request: Request, *, now: float, timeout: float = 30.0) -> int:
        """Send a request and collect its answer; returns its number.

        `RequestAnswered` or `RequestFailed` with that number follows. `timeout` is seconds without
        any part of the answer, counted from when the request is sent: one that waits for the rate
        limits (all members of a guild: once in 30 seconds) takes that much longer. Raises
        `LocalProtocolError` as `send` does.
        """
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise LocalProtocolError(f"invalid timeout {timeout!r:.50}: expected seconds")
        if not 0 < timeout < math.inf:
            raise LocalProtocolError(f"invalid timeout {timeout!r:.50}: expected seconds above 0")
        if not isinstance(request, Request):
            raise LocalProtocolError(f"{request!r} is no request with an answer: use send")
        self._check_ready(request)
        if isinstance(getattr(request, "guild_id", ""), tuple):
            raise LocalProtocolError(
                "the answers of several guilds are not told apart: ask for one"
            )
        self._config.spell(request)
        nonce = f"{int(self._config.chance() * 2**32):x}"
        number, request = self._requests.open(request, timeout, nonce)
        now = self._at(now)
        self._outbox.put(Waiting(request, self._config.spell(request), now, number))
        self._flush(now)
        return number

    def _check_ready(self, command: Command) -> None:
        if self._state is not State.READY:
            raise LocalProtocolError(
                f"{type(command).__name__} needs READY, and the connection is "
                f"{self._state.value}: wait for Ready or Resumed"
            )
        if len(self._outbox) >= self._config.waiting_limit:
            raise LocalProtocolError(
                f"{len(self._outbox)} commands wait for room under the rate limit already"
            )

    def _write(self, command: Command, text: str | bytes) -> None:
        self._last_sent = (*self._last_sent, command)[-_LAST_SENT:]
        self._frames.send(text)

    def _flush(self, now: float) -> None:
        """Send what waits and has room; set timers for the rest."""
        while (waiting := self._outbox.take(now)) is not None:
            self._write(waiting.command, waiting.text)
            self._requests.note(waiting.command, now)
            if waiting.number is not None:
                self._requests.sent(waiting.number, now)
        for timer, at in (
            (Timer.SEND, self._outbox.free_at(now)),
            (Timer.REQUEST, self._requests.next_timer()),
        ):
            if at is None:
                self._deadlines.clear(timer)
            else:
                self._deadlines.set(timer, at)
        since = self._outbox.waiting_since
        if since is None:
            self._deadlines.clear(Timer.WAITING)
            self._wait_reported = False
        elif not self._wait_reported:
            self._deadlines.set(Timer.WAITING, since + self._config.waiting_reported_after)

    def _clear_outbox(self, why: str, now: float) -> None:
        """What waits was meant for the session that is over; what is awaited will not come."""
        self._unsent += self._not_restored(self._outbox.clear())
        self._events += self._requests.fail(why)
        self._flush(now)

    def _leave_unsent(self) -> tuple[Command, ...]:
        """At the end: what still waits, and waited for a session before."""
        waiting = self._outbox.clear()
        numbers = [entry.number for entry in waiting if entry.number is not None]
        self._events += self._requests.fail("the connection ended before it was sent", numbers)
        return self._unsent + self._not_restored(waiting)

    def _not_restored(self, waiting: list[Waiting[Command]]) -> tuple[Command, ...]:
        """Return the commands that are not sent again without the caller."""
        commands: list[Command] = []
        for entry in waiting:
            if self._voice_states is not None and isinstance(entry.command, UpdateVoiceState):
                self._voice_states.drop(entry.command)
            else:
                commands.append(entry.command)
        return tuple(commands)

    def _restore_voice_states(self, now: float) -> None:
        """Queue the voice states that the session does not know."""
        if self._voice_states is not None:
            for command in self._voice_states.take():
                self._outbox.put(Waiting(command, self._config.spell(command), now))

    def _report_waiting(self, now: float) -> None:
        since = self._outbox.waiting_since
        assert since is not None  # the timer is cleared with the queue
        self._wait_reported = True
        self._events.append(CommandsWait(len(self._outbox), now - since))
