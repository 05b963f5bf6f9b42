"""names → bits: which dispatches a session asks for."""

from __future__ import annotations

import enum

from gateway_proto.errors import LocalProtocolError

__all__ = ["Intents"]


class Intents(enum.IntFlag):
    """The documentation's intents, for version 6 and later."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_MODERATION = 1 << 2
    GUILD_EXPRESSIONS = 1 << 3
    GUILD_INTEGRATIONS = 1 << 4
    GUILD_WEBHOOKS = 1 << 5
    GUILD_INVITES = 1 << 6
    GUILD_VOICE_STATES = 1 << 7
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15
    GUILD_SCHEDULED_EVENTS = 1 << 16
    AUTO_MODERATION_CONFIGURATION = 1 << 20
    AUTO_MODERATION_EXECUTION = 1 << 21
    GUILD_MESSAGE_POLLS = 1 << 24
    DIRECT_MESSAGE_POLLS = 1 << 25

    @classmethod
    def parse(cls, text: str) -> Intents:
        """The intents of "guilds,guild_messages" or of a number.

        Raises `LocalProtocolError` for a name that there is not.
        """
        if text.strip().isdecimal():
            return cls(int(text))
        intents = cls(0)
        for name in filter(None, (word.strip() for word in text.split(","))):
            try:
                intents |= cls[name.upper()]
            except KeyError:
                known = ", ".join(member.name.lower() for member in cls if member.name)
                raise LocalProtocolError(
                    f"there is no intent {name!r}: use a number or names of {known}"
                ) from None
        return intents
