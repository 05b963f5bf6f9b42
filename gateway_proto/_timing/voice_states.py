"""voice states that the caller asked for → those to send, again in a new session."""

from __future__ import annotations

from gateway_proto.commands import UpdateVoiceState
from gateway_proto.errors import LocalProtocolError

__all__ = ["VoiceStates"]


class VoiceStates:
    """The last voice state of each guild, and which of them the session does not know yet.

    It outlives connections. What counts is what the caller asked for: that another user has moved
    or disconnected the client changes nothing here.
    """

    __slots__ = ("_limit", "_unsent", "_wanted")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._wanted: dict[str | None, UpdateVoiceState] = {}
        self._unsent: dict[str | None, UpdateVoiceState] = {}

    @property
    def wanted(self) -> tuple[UpdateVoiceState, ...]:
        """One for each guild with a channel, in the order in which they were asked for."""
        return tuple(self._wanted.values())

    def check(self, command: UpdateVoiceState) -> None:
        """Raise `LocalProtocolError` if there are too many guilds to remember one more."""
        is_new = command.channel_id is not None and command.guild_id not in self._wanted
        if is_new and len(self._wanted) >= self._limit:
            raise LocalProtocolError(
                f"too many voice states to restore: {len(self._wanted)} guilds have one, and "
                "Config.waiting_limit allows no more"
            )

    def want(self, command: UpdateVoiceState) -> None:
        """Remember a voice state in place of the guild's last; without a channel, forget that."""
        self._wanted.pop(command.guild_id, None)
        if command.channel_id is not None:
            self._wanted[command.guild_id] = command

    def drop(self, command: UpdateVoiceState) -> None:
        """Note that the connection ended before a voice state was sent; the guild's last counts."""
        self._unsent.pop(command.guild_id, None)
        self._unsent[command.guild_id] = command

    def begin_session(self) -> None:
        """Plan to send all again: a new session is in no channel."""
        self._unsent = dict(self._wanted)

    def take(self) -> list[UpdateVoiceState]:
        """Return what the session does not know yet, in order; each once."""
        unsent, self._unsent = self._unsent, {}
        return list(unsent.values())
