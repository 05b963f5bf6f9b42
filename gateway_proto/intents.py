"""Names of dispatches, intents, and the relation between them.

Type checkers and editors know `DispatchName.MESSAGE_CREATE`. It is a str that equals
`Dispatch.name`, so it works with `==`, in `match` and as a key.

Source: <https://docs.discord.com/developers/events/gateway-events#receive-events>.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from gateway_proto._checks import rejected
from gateway_proto.versions import VERSIONS

__all__ = ["INTENT_EVENTS", "DispatchName", "Intents"]


class Intents(enum.IntFlag):
    """The documented intents, for version 6 and later.

    Combine them with `|`, take `unprivileged()` or `all()`, or `parse` their names. Source:
    <https://docs.discord.com/developers/events/gateway#gateway-intents>.
    """

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

    @property
    def privileged(self) -> Intents:
        """Members that must be enabled for the bot. Without that the server closes with 4014."""
        return self & _PRIVILEGED

    @classmethod
    def all(cls) -> Intents:
        """Return every intent. Those of `privileged` must be enabled for the bot."""
        # Not ~0: the server closes with 4013 because of undefined bits, see
        # https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
        return cls(sum(cls))

    @classmethod
    def unprivileged(cls) -> Intents:
        """Return every intent that need not be enabled for a bot."""
        return cls.all() & ~_PRIVILEGED

    @classmethod
    def for_event(cls, name: str) -> Intents:
        """Return all intents that subscribe to a dispatch. Empty for one such as READY.

        Raises `LocalProtocolError` for a name that is not a str.
        """
        if not isinstance(name, str):
            raise rejected("name", name, "a str, such as 'MESSAGE_CREATE'")
        intents = cls(0)
        for intent, names in INTENT_EVENTS.items():
            if name in names:
                intents |= intent
        return intents

    @property
    def events(self) -> frozenset[str]:
        """Names of the dispatches that they subscribe to."""
        return frozenset().union(*(INTENT_EVENTS[intent] for intent in self))

    @classmethod
    def parse(cls, text: str) -> Intents:
        """Return the intents of "guilds,guild_messages", or of a number as text.

        Raises `LocalProtocolError` for an unknown name or a number out of range.
        """
        if not isinstance(text, str):
            raise rejected("intents", text, "a str, such as 'guilds,guild_messages'")
        if text.strip().isdecimal():
            return cls._of_number(text.strip())
        intents = cls(0)
        for name in filter(None, (word.strip() for word in text.split(","))):
            try:
                intents |= cls[name.upper()]
            except KeyError:
                known = ", ".join(member.name.lower() for member in cls if member.name)
                raise rejected("intent", name, f"a number or names of {known}") from None
        return intents

    @classmethod
    def _of_number(cls, digits: str) -> Intents:
        # Python does not convert more than 4300 digits.
        if len(digits) > 16 or int(digits) > 2**53:
            raise rejected("intents", digits, f"a number up to {2**53}")
        return cls(int(digits))


# https://docs.discord.com/developers/events/gateway#privileged-intents
_PRIVILEGED = Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES | Intents.MESSAGE_CONTENT


def _names(*stems_and_endings: tuple[str, str]) -> frozenset[str]:
    return frozenset(
        f"{stem}_{ending}" for stem, endings in stems_and_endings for ending in endings.split()
    )


_REACTIONS = _names(("MESSAGE_REACTION", "ADD REMOVE REMOVE_ALL REMOVE_EMOJI"))
_POLLS = _names(("MESSAGE_POLL_VOTE", "ADD REMOVE"))

# https://docs.discord.com/developers/events/gateway#list-of-intents
INTENT_EVENTS: Mapping[Intents, frozenset[str]] = MappingProxyType(
    {
        Intents.GUILDS: _names(
            ("GUILD", "CREATE UPDATE DELETE ROLE_CREATE ROLE_UPDATE ROLE_DELETE"),
            ("CHANNEL", "CREATE UPDATE DELETE PINS_UPDATE"),
            ("THREAD", "CREATE UPDATE DELETE LIST_SYNC MEMBER_UPDATE MEMBERS_UPDATE"),
            ("STAGE_INSTANCE", "CREATE UPDATE DELETE"),
            ("VOICE_CHANNEL", "STATUS_UPDATE START_TIME_UPDATE"),
        ),
        Intents.GUILD_MEMBERS: _names(
            ("GUILD_MEMBER", "ADD UPDATE REMOVE"), ("THREAD_MEMBERS", "UPDATE")
        ),
        Intents.GUILD_MODERATION: _names(
            ("GUILD", "AUDIT_LOG_ENTRY_CREATE BAN_ADD BAN_REMOVE"),
        ),
        Intents.GUILD_EXPRESSIONS: _names(
            ("GUILD", "EMOJIS_UPDATE STICKERS_UPDATE SOUNDBOARD_SOUNDS_UPDATE"),
            ("GUILD_SOUNDBOARD_SOUND", "CREATE UPDATE DELETE"),
        ),
        Intents.GUILD_INTEGRATIONS: _names(
            ("GUILD_INTEGRATIONS", "UPDATE"), ("INTEGRATION", "CREATE UPDATE DELETE")
        ),
        Intents.GUILD_WEBHOOKS: _names(("WEBHOOKS", "UPDATE")),
        Intents.GUILD_INVITES: _names(("INVITE", "CREATE DELETE")),
        Intents.GUILD_VOICE_STATES: _names(("VOICE", "CHANNEL_EFFECT_SEND STATE_UPDATE")),
        Intents.GUILD_PRESENCES: _names(("PRESENCE", "UPDATE")),
        Intents.GUILD_MESSAGES: _names(("MESSAGE", "CREATE UPDATE DELETE DELETE_BULK")),
        Intents.GUILD_MESSAGE_REACTIONS: _REACTIONS,
        Intents.GUILD_MESSAGE_TYPING: _names(("TYPING", "START")),
        Intents.DIRECT_MESSAGES: _names(
            ("MESSAGE", "CREATE UPDATE DELETE"), ("CHANNEL_PINS", "UPDATE")
        ),
        Intents.DIRECT_MESSAGE_REACTIONS: _REACTIONS,
        Intents.DIRECT_MESSAGE_TYPING: _names(("TYPING", "START")),
        Intents.MESSAGE_CONTENT: frozenset(),
        Intents.GUILD_SCHEDULED_EVENTS: _names(
            ("GUILD_SCHEDULED_EVENT", "CREATE UPDATE DELETE USER_ADD USER_REMOVE")
        ),
        Intents.AUTO_MODERATION_CONFIGURATION: _names(
            ("AUTO_MODERATION_RULE", "CREATE UPDATE DELETE")
        ),
        Intents.AUTO_MODERATION_EXECUTION: _names(("AUTO_MODERATION_ACTION", "EXECUTION")),
        Intents.GUILD_MESSAGE_POLLS: _POLLS,
        Intents.DIRECT_MESSAGE_POLLS: _POLLS,
    }
)
"""Dispatches by intent, as in the documentation of 2026-08.

MESSAGE_CONTENT has none: it fills the content fields of other intents' dispatches.
"""


class DispatchName(enum.StrEnum):
    """Dispatches of the documentation of 2026-08 and, below them, of clients of 2016.

    A server may send others, so `Dispatch.name` is any str. Sources:
    <https://docs.discord.com/developers/events/gateway-events#receive-events>, and Discord.Net of
    2016-03-24: <https://github.com/discord-net/Discord.Net/tree/b888ea23d>.
    """

    READY = "READY"
    RESUMED = "RESUMED"
    RATE_LIMITED = "RATE_LIMITED"
    APPLICATION_COMMAND_PERMISSIONS_UPDATE = "APPLICATION_COMMAND_PERMISSIONS_UPDATE"
    AUTO_MODERATION_RULE_CREATE = "AUTO_MODERATION_RULE_CREATE"
    AUTO_MODERATION_RULE_UPDATE = "AUTO_MODERATION_RULE_UPDATE"
    AUTO_MODERATION_RULE_DELETE = "AUTO_MODERATION_RULE_DELETE"
    AUTO_MODERATION_ACTION_EXECUTION = "AUTO_MODERATION_ACTION_EXECUTION"
    CHANNEL_CREATE = "CHANNEL_CREATE"
    CHANNEL_UPDATE = "CHANNEL_UPDATE"
    CHANNEL_DELETE = "CHANNEL_DELETE"
    CHANNEL_PINS_UPDATE = "CHANNEL_PINS_UPDATE"
    CHANNEL_INFO = "CHANNEL_INFO"
    THREAD_CREATE = "THREAD_CREATE"
    THREAD_UPDATE = "THREAD_UPDATE"
    THREAD_DELETE = "THREAD_DELETE"
    THREAD_LIST_SYNC = "THREAD_LIST_SYNC"
    THREAD_MEMBER_UPDATE = "THREAD_MEMBER_UPDATE"
    THREAD_MEMBERS_UPDATE = "THREAD_MEMBERS_UPDATE"
    ENTITLEMENT_CREATE = "ENTITLEMENT_CREATE"
    ENTITLEMENT_UPDATE = "ENTITLEMENT_UPDATE"
    ENTITLEMENT_DELETE = "ENTITLEMENT_DELETE"
    GUILD_CREATE = "GUILD_CREATE"
    GUILD_UPDATE = "GUILD_UPDATE"
    GUILD_DELETE = "GUILD_DELETE"
    GUILD_AUDIT_LOG_ENTRY_CREATE = "GUILD_AUDIT_LOG_ENTRY_CREATE"
    GUILD_BAN_ADD = "GUILD_BAN_ADD"
    GUILD_BAN_REMOVE = "GUILD_BAN_REMOVE"
    GUILD_EMOJIS_UPDATE = "GUILD_EMOJIS_UPDATE"
    GUILD_STICKERS_UPDATE = "GUILD_STICKERS_UPDATE"
    GUILD_INTEGRATIONS_UPDATE = "GUILD_INTEGRATIONS_UPDATE"
    GUILD_MEMBER_ADD = "GUILD_MEMBER_ADD"
    GUILD_MEMBER_UPDATE = "GUILD_MEMBER_UPDATE"
    GUILD_MEMBER_REMOVE = "GUILD_MEMBER_REMOVE"
    GUILD_MEMBERS_CHUNK = "GUILD_MEMBERS_CHUNK"
    GUILD_ROLE_CREATE = "GUILD_ROLE_CREATE"
    GUILD_ROLE_UPDATE = "GUILD_ROLE_UPDATE"
    GUILD_ROLE_DELETE = "GUILD_ROLE_DELETE"
    GUILD_SCHEDULED_EVENT_CREATE = "GUILD_SCHEDULED_EVENT_CREATE"
    GUILD_SCHEDULED_EVENT_UPDATE = "GUILD_SCHEDULED_EVENT_UPDATE"
    GUILD_SCHEDULED_EVENT_DELETE = "GUILD_SCHEDULED_EVENT_DELETE"
    GUILD_SCHEDULED_EVENT_USER_ADD = "GUILD_SCHEDULED_EVENT_USER_ADD"
    GUILD_SCHEDULED_EVENT_USER_REMOVE = "GUILD_SCHEDULED_EVENT_USER_REMOVE"
    GUILD_SOUNDBOARD_SOUND_CREATE = "GUILD_SOUNDBOARD_SOUND_CREATE"
    GUILD_SOUNDBOARD_SOUND_UPDATE = "GUILD_SOUNDBOARD_SOUND_UPDATE"
    GUILD_SOUNDBOARD_SOUND_DELETE = "GUILD_SOUNDBOARD_SOUND_DELETE"
    GUILD_SOUNDBOARD_SOUNDS_UPDATE = "GUILD_SOUNDBOARD_SOUNDS_UPDATE"
    SOUNDBOARD_SOUNDS = "SOUNDBOARD_SOUNDS"
    INTEGRATION_CREATE = "INTEGRATION_CREATE"
    INTEGRATION_UPDATE = "INTEGRATION_UPDATE"
    INTEGRATION_DELETE = "INTEGRATION_DELETE"
    INTERACTION_CREATE = "INTERACTION_CREATE"
    INVITE_CREATE = "INVITE_CREATE"
    INVITE_DELETE = "INVITE_DELETE"
    MESSAGE_CREATE = "MESSAGE_CREATE"
    MESSAGE_UPDATE = "MESSAGE_UPDATE"
    MESSAGE_DELETE = "MESSAGE_DELETE"
    MESSAGE_DELETE_BULK = "MESSAGE_DELETE_BULK"
    MESSAGE_REACTION_ADD = "MESSAGE_REACTION_ADD"
    MESSAGE_REACTION_REMOVE = "MESSAGE_REACTION_REMOVE"
    MESSAGE_REACTION_REMOVE_ALL = "MESSAGE_REACTION_REMOVE_ALL"
    MESSAGE_REACTION_REMOVE_EMOJI = "MESSAGE_REACTION_REMOVE_EMOJI"
    MESSAGE_POLL_VOTE_ADD = "MESSAGE_POLL_VOTE_ADD"
    MESSAGE_POLL_VOTE_REMOVE = "MESSAGE_POLL_VOTE_REMOVE"
    PRESENCE_UPDATE = "PRESENCE_UPDATE"
    STAGE_INSTANCE_CREATE = "STAGE_INSTANCE_CREATE"
    STAGE_INSTANCE_UPDATE = "STAGE_INSTANCE_UPDATE"
    STAGE_INSTANCE_DELETE = "STAGE_INSTANCE_DELETE"
    SUBSCRIPTION_CREATE = "SUBSCRIPTION_CREATE"
    SUBSCRIPTION_UPDATE = "SUBSCRIPTION_UPDATE"
    SUBSCRIPTION_DELETE = "SUBSCRIPTION_DELETE"
    TYPING_START = "TYPING_START"
    USER_UPDATE = "USER_UPDATE"
    VOICE_CHANNEL_EFFECT_SEND = "VOICE_CHANNEL_EFFECT_SEND"
    VOICE_CHANNEL_STATUS_UPDATE = "VOICE_CHANNEL_STATUS_UPDATE"
    VOICE_CHANNEL_START_TIME_UPDATE = "VOICE_CHANNEL_START_TIME_UPDATE"
    VOICE_STATE_UPDATE = "VOICE_STATE_UPDATE"
    VOICE_SERVER_UPDATE = "VOICE_SERVER_UPDATE"
    WEBHOOKS_UPDATE = "WEBHOOKS_UPDATE"

    # Dispatches of 2016, only for user accounts.
    MESSAGE_ACK = "MESSAGE_ACK"
    PRESENCES_REPLACE = "PRESENCES_REPLACE"
    RELATIONSHIP_ADD = "RELATIONSHIP_ADD"
    RELATIONSHIP_REMOVE = "RELATIONSHIP_REMOVE"
    USER_SETTINGS_UPDATE = "USER_SETTINGS_UPDATE"
    USER_GUILD_SETTINGS_UPDATE = "USER_GUILD_SETTINGS_UPDATE"

    @property
    def versions(self) -> range:
        """Versions that have the dispatch: `10 in name.versions`.

        Later additions that need no specific version are in 6 and later, which share gateways.
        """
        if self in _ONLY_2016:
            return range(_FIRST, _TODAY)
        if self in _SINCE_2016:
            return range(_FIRST, _END)
        return range(_SINCE.get(self, _TODAY), _END)

    @property
    def intents(self) -> Intents:
        """Intents of which each subscribes to it. Empty if it needs none."""
        return Intents.for_event(self)


_FIRST, _TODAY, _END = min(VERSIONS), 6, max(VERSIONS) + 1
_ONLY_2016 = frozenset(
    {
        DispatchName.MESSAGE_ACK,
        DispatchName.PRESENCES_REPLACE,
        DispatchName.RELATIONSHIP_ADD,
        DispatchName.RELATIONSHIP_REMOVE,
        DispatchName.USER_SETTINGS_UPDATE,
        DispatchName.USER_GUILD_SETTINGS_UPDATE,
    }
)
_SINCE_2016 = frozenset(
    {
        DispatchName.READY,
        DispatchName.RESUMED,
        DispatchName.CHANNEL_CREATE,
        DispatchName.CHANNEL_UPDATE,
        DispatchName.CHANNEL_DELETE,
        DispatchName.GUILD_CREATE,
        DispatchName.GUILD_UPDATE,
        DispatchName.GUILD_DELETE,
        DispatchName.GUILD_BAN_ADD,
        DispatchName.GUILD_BAN_REMOVE,
        DispatchName.GUILD_EMOJIS_UPDATE,
        DispatchName.GUILD_INTEGRATIONS_UPDATE,
        DispatchName.GUILD_MEMBER_ADD,
        DispatchName.GUILD_MEMBER_UPDATE,
        DispatchName.GUILD_MEMBER_REMOVE,
        DispatchName.GUILD_MEMBERS_CHUNK,
        DispatchName.GUILD_ROLE_CREATE,
        DispatchName.GUILD_ROLE_UPDATE,
        DispatchName.GUILD_ROLE_DELETE,
        DispatchName.MESSAGE_CREATE,
        DispatchName.MESSAGE_UPDATE,
        DispatchName.MESSAGE_DELETE,
        DispatchName.PRESENCE_UPDATE,
        DispatchName.TYPING_START,
        DispatchName.USER_UPDATE,
        DispatchName.VOICE_STATE_UPDATE,
        DispatchName.VOICE_SERVER_UPDATE,
    }
)
_SINCE = {
    **{name: 9 for name in DispatchName if name.startswith("THREAD_")},
    DispatchName.SOUNDBOARD_SOUNDS: 10,
    DispatchName.CHANNEL_INFO: 10,
}
