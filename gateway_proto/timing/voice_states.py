"""Voice states that the caller asked for, to be sent again in a new session."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

__all__ = ["VoiceStates"]


class _VoiceState(Protocol):
    @property
    def guild_id(self) -> str | None: ...
    @property
    def channel_id(self) -> str | None: ...


V = TypeVar("V", bound=_VoiceState)


class VoiceStates(Generic[V]):
    """The last voice state of each guild, and those that the session does not know yet.

    It outlives connections. It follows only the caller's commands: if another user moves or
    disconnects the client, nothing changes here.
    """

    __slots__ = ("_limit", "_unsent", "_wanted")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._wanted: dict[str | None, V] = {}
        self._unsent: dict[str | None, V] = {}

    @property
    def wanted(self) -> tuple[V, ...]:
        """One for each guild with a channel, in the order of the caller's commands."""
        return tuple(self._wanted.values())

    def has_capacity(self, command: V) -> bool:
        """Whether a voice state can be recorded without exceeding the limit of guilds."""
        is_new = command.channel_id is not None and command.guild_id not in self._wanted
        return not is_new or len(self._wanted) < self._limit

    def record(self, command: V) -> None:
        """Replace the guild's voice state, or remove it if `command` leaves the channel."""
        self._wanted.pop(command.guild_id, None)
        if command.channel_id is not None:
            self._wanted[command.guild_id] = command

    def record_unsent(self, command: V) -> None:
        """Record that the connection ended before a voice state was sent; the last one counts."""
        self._unsent.pop(command.guild_id, None)
        self._unsent[command.guild_id] = command

    def start_session(self) -> None:
        """Plan to send all again: a new session is in no channel."""
        self._unsent = dict(self._wanted)

    def take_unsent(self) -> list[V]:
        """Return the voice states that the session does not know yet, in order; each once."""
        unsent, self._unsent = self._unsent, {}
        return list(unsent.values())
