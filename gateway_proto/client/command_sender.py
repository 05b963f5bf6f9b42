"""Commands of one connection on their way to the server: queue, pending requests, voice states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_proto.client.command_encoding import encode_command
from gateway_proto.client.requests import PendingRequests
from gateway_proto.commands import Command, Request, UpdatePresence, UpdateVoiceState
from gateway_proto.config import Config
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import CommandsDelayed, RequestFailed
from gateway_proto.timing.command_queue import CommandQueue, QueuedCommand
from gateway_proto.timing.timers import Timer

if TYPE_CHECKING:
    from gateway_proto.timing.voice_states import VoiceStates

__all__ = ["CommandSender"]

_LAST_SENT = 4
"""Commands that are kept for the report of a close code that a command caused."""


class CommandSender:
    """The command queue with the units that follow what becomes of its commands.

    It returns messages to send and does not know the connection.
    """

    __slots__ = ("_config", "_voice_states", "last_sent", "queue", "requests", "unsent")

    def __init__(
        self,
        config: Config,
        requests: PendingRequests,
        voice_states: VoiceStates[UpdateVoiceState] | None,
    ) -> None:
        if voice_states is None and config.restore_voice_states:
            # Imported on use: most clients restore none.
            from gateway_proto.timing.voice_states import VoiceStates

            voice_states = VoiceStates(limit=config.command_queue_limit)
        self._config = config
        self._voice_states = voice_states
        self.unsent: tuple[Command, ...] = ()
        """Commands of ended sessions that were dropped before they were sent."""
        self.last_sent: tuple[Command, ...] = ()
        """The last commands sent, oldest first."""
        self.requests: PendingRequests = requests
        self.queue: CommandQueue[Command] = CommandQueue(
            send_limit=config.version.send_limit,
            presence_limit=config.version.presence_limit,
            not_before=requests.not_before,
            report_after=config.command_delay_threshold,
        )

    @property
    def voice_states(self) -> tuple[UpdateVoiceState, ...]:
        """Voice states that are sent again in a new session, in the order of the commands."""
        return () if self._voice_states is None else self._voice_states.wanted

    def check_capacity(self, command: Command) -> None:
        """Raise `LocalProtocolError` if the queue is full, or has too many voice states."""
        queued, voice_states = len(self.queue.commands), self._voice_states
        if queued >= self._config.command_queue_limit:
            raise LocalProtocolError(
                f"{queued} commands are queued already: Config.command_queue_limit allows no more"
            )
        if voice_states is None or not isinstance(command, UpdateVoiceState):
            return
        if not voice_states.has_capacity(command):
            raise LocalProtocolError(
                f"too many voice states to restore: {len(voice_states.wanted)} guilds have one, "
                "and Config.command_queue_limit allows no more"
            )

    def put(self, command: Command, encoded: str | bytes, now: float) -> None:
        """Queue a command of the caller."""
        if self._voice_states is not None and isinstance(command, UpdateVoiceState):
            self._voice_states.record(command)
        self.queue.put(QueuedCommand(command, encoded, now))

    def put_presence(self, presence: UpdatePresence, now: float) -> None:
        """Queue a presence in place of the queued one."""
        self.queue.presence = QueuedCommand(presence, encode_command(self._config, presence), now)

    def put_request(self, request: Request, timeout: float, now: float) -> int:
        """Queue a request; returns its number."""
        nonce = f"{int(self._config.next_random() * 2**32):x}"
        number, request = self.requests.add(request, timeout, nonce)
        self.queue.put(QueuedCommand(request, encode_command(self._config, request), now, number))
        return number

    def start_session(self) -> None:
        """Plan to send all voice states again: a new session is in no channel."""
        if self._voice_states is not None:
            self._voice_states.start_session()

    def restore_voice_states(self, now: float) -> None:
        """Queue the voice states that the session does not know."""
        if self._voice_states is not None:
            for command in self._voice_states.take_unsent():
                self.queue.put(QueuedCommand(command, encode_command(self._config, command), now))

    def pop_messages(self, now: float) -> list[str | bytes]:
        """Return the messages that the rate limits allow now, and record them as sent."""
        messages = []
        while (waiting := self.queue.pop_sendable(now)) is not None:
            self.record_sent(waiting.command)
            self.requests.record_sent(waiting.command, now)
            if waiting.request_number is not None:
                self.requests.start_timeout(waiting.request_number, now)
            messages.append(waiting.encoded)
        return messages

    def record_sent(self, command: Command) -> None:
        """Record a command for the report of a close code that a command caused."""
        self.last_sent = (*self.last_sent, command)[-_LAST_SENT:]

    def timers(self, now: float) -> tuple[tuple[Timer, float | None], ...]:
        """Return the timers that the owner has to set, or to clear if the time is None."""
        return (
            (Timer.SEND, self.queue.next_slot_at(now)),
            (Timer.REQUEST, self.requests.next_timer()),
            (Timer.COMMAND_DELAY, self.queue.next_report_at()),
        )

    def report_delay(self, now: float) -> CommandsDelayed:
        """Return the report that commands have been queued for long."""
        return CommandsDelayed(len(self.queue.commands), self.queue.report_delay(now))

    def drop_queued(self, reason: str) -> list[RequestFailed]:
        """Drop queued commands and fail pending requests; both belonged to the ended session."""
        self.unsent += self._not_restored(self.queue.clear())
        return self.requests.fail(reason)

    def collect_unsent(self) -> tuple[tuple[Command, ...], list[RequestFailed]]:
        """Empty the queue at the end; return unsent commands, and the requests among them."""
        queued = self.queue.clear()
        numbers = [entry.request_number for entry in queued if entry.request_number is not None]
        failed = self.requests.fail("the connection ended before it was sent", numbers)
        return self.unsent + self._not_restored(queued), failed

    def _not_restored(self, queued: list[QueuedCommand[Command]]) -> tuple[Command, ...]:
        """Return the commands that are not sent again without the caller."""
        commands: list[Command] = []
        for entry in queued:
            if self._voice_states is not None and isinstance(entry.command, UpdateVoiceState):
                self._voice_states.record_unsent(entry.command)
            else:
                commands.append(entry.command)
        return tuple(commands)
