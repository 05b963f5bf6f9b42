"""Names of dispatches, the versions that have them, and their intents.

Type checkers and editors know `DispatchName.MESSAGE_CREATE`. It is a str that equals
`Dispatch.name`, so it works with `==`, in `match` and as a key.

Source: <https://docs.discord.com/developers/events/gateway-events#receive-events>.
"""

from __future__ import annotations

import enum

from gateway_proto.dialects import DIALECTS
from gateway_proto.intents import Intents

__all__ = ["DispatchName"]


class DispatchName(enum.StrEnum):
    """Documented dispatches of 2026-08 and, below them, of 2016.

    A server may send others, so `Dispatch.name` is any str.
    """

    @staticmethod
    def _generate_next_value_(
        name: str, start: int, count: int, last_values: list[str]
    ) -> str:  # the value of `auto()`
        return name

    READY = enum.auto()
    RESUMED = enum.auto()
    RATE_LIMITED = enum.auto()
    APPLICATION_COMMAND_PERMISSIONS_UPDATE = enum.auto()
    AUTO_MODERATION_RULE_CREATE = enum.auto()
    AUTO_MODERATION_RULE_UPDATE = enum.auto()
    AUTO_MODERATION_RULE_DELETE = enum.auto()
    AUTO_MODERATION_ACTION_EXECUTION = enum.auto()
    CHANNEL_CREATE = enum.auto()
    CHANNEL_UPDATE = enum.auto()
    CHANNEL_DELETE = enum.auto()
    CHANNEL_PINS_UPDATE = enum.auto()
    CHANNEL_INFO = enum.auto()
    THREAD_CREATE = enum.auto()
    THREAD_UPDATE = enum.auto()
    THREAD_DELETE = enum.auto()
    THREAD_LIST_SYNC = enum.auto()
    THREAD_MEMBER_UPDATE = enum.auto()
    THREAD_MEMBERS_UPDATE = enum.auto()
    ENTITLEMENT_CREATE = enum.auto()
    ENTITLEMENT_UPDATE = enum.auto()
    ENTITLEMENT_DELETE = enum.auto()
    GUILD_CREATE = enum.auto()
    GUILD_UPDATE = enum.auto()
    GUILD_DELETE = enum.auto()
    GUILD_AUDIT_LOG_ENTRY_CREATE = enum.auto()
    GUILD_BAN_ADD = enum.auto()
    GUILD_BAN_REMOVE = enum.auto()
    GUILD_EMOJIS_UPDATE = enum.auto()
    GUILD_STICKERS_UPDATE = enum.auto()
    GUILD_INTEGRATIONS_UPDATE = enum.auto()
    GUILD_MEMBER_ADD = enum.auto()
    GUILD_MEMBER_UPDATE = enum.auto()
    GUILD_MEMBER_REMOVE = enum.auto()
    GUILD_MEMBERS_CHUNK = enum.auto()
    GUILD_ROLE_CREATE = enum.auto()
    GUILD_ROLE_UPDATE = enum.auto()
    GUILD_ROLE_DELETE = enum.auto()
    GUILD_SCHEDULED_EVENT_CREATE = enum.auto()
    GUILD_SCHEDULED_EVENT_UPDATE = enum.auto()
    GUILD_SCHEDULED_EVENT_DELETE = enum.auto()
    GUILD_SCHEDULED_EVENT_USER_ADD = enum.auto()
    GUILD_SCHEDULED_EVENT_USER_REMOVE = enum.auto()
    GUILD_SOUNDBOARD_SOUND_CREATE = enum.auto()
    GUILD_SOUNDBOARD_SOUND_UPDATE = enum.auto()
    GUILD_SOUNDBOARD_SOUND_DELETE = enum.auto()
    GUILD_SOUNDBOARD_SOUNDS_UPDATE = enum.auto()
    SOUNDBOARD_SOUNDS = enum.auto()
    INTEGRATION_CREATE = enum.auto()
    INTEGRATION_UPDATE = enum.auto()
    INTEGRATION_DELETE = enum.auto()
    INTERACTION_CREATE = enum.auto()
    INVITE_CREATE = enum.auto()
    INVITE_DELETE = enum.auto()
    MESSAGE_CREATE = enum.auto()
    MESSAGE_UPDATE = enum.auto()
    MESSAGE_DELETE = enum.auto()
    MESSAGE_DELETE_BULK = enum.auto()
    MESSAGE_REACTION_ADD = enum.auto()
    MESSAGE_REACTION_REMOVE = enum.auto()
    MESSAGE_REACTION_REMOVE_ALL = enum.auto()
    MESSAGE_REACTION_REMOVE_EMOJI = enum.auto()
    MESSAGE_POLL_VOTE_ADD = enum.auto()
    MESSAGE_POLL_VOTE_REMOVE = enum.auto()
    PRESENCE_UPDATE = enum.auto()
    STAGE_INSTANCE_CREATE = enum.auto()
    STAGE_INSTANCE_UPDATE = enum.auto()
    STAGE_INSTANCE_DELETE = enum.auto()
    SUBSCRIPTION_CREATE = enum.auto()
    SUBSCRIPTION_UPDATE = enum.auto()
    SUBSCRIPTION_DELETE = enum.auto()
    TYPING_START = enum.auto()
    USER_UPDATE = enum.auto()
    VOICE_CHANNEL_EFFECT_SEND = enum.auto()
    VOICE_CHANNEL_STATUS_UPDATE = enum.auto()
    VOICE_CHANNEL_START_TIME_UPDATE = enum.auto()
    VOICE_STATE_UPDATE = enum.auto()
    VOICE_SERVER_UPDATE = enum.auto()
    WEBHOOKS_UPDATE = enum.auto()

    # Dispatches of 2016, only for user accounts.
    MESSAGE_ACK = enum.auto()
    PRESENCES_REPLACE = enum.auto()
    RELATIONSHIP_ADD = enum.auto()
    RELATIONSHIP_REMOVE = enum.auto()
    USER_SETTINGS_UPDATE = enum.auto()
    USER_GUILD_SETTINGS_UPDATE = enum.auto()

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


_FIRST, _TODAY, _END = min(DIALECTS), 6, max(DIALECTS) + 1
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
