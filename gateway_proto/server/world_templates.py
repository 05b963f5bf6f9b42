"""Documented fields of Discord's objects, with their default values.

Sources: <https://docs.discord.com/developers/resources/guild>, `/user`, `/channel`, `/message`,
`/emoji`, `/sticker`, `/soundboard`, `/voice`, `/application`, and
<https://docs.discord.com/developers/topics/permissions#role-object>.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "APPLICATION",
    "CHANNEL",
    "DM_CHANNEL",
    "EMOJI",
    "EVERYONE_PERMISSIONS",
    "FORUM_CHANNEL",
    "FORUM_TYPES",
    "GUILD",
    "GUILD_CREATE",
    "MEMBER",
    "MESSAGE",
    "OWN_USER",
    "PRESENCE",
    "ROLE",
    "SOUND",
    "STICKER",
    "TEXT_CHANNEL",
    "TEXT_TYPES",
    "THREAD",
    "THREAD_METADATA",
    "THREAD_TYPES",
    "TIMESTAMP",
    "USER",
    "VOICE_CHANNEL",
    "VOICE_STATE",
    "VOICE_TYPES",
]

Data = Mapping[str, Any]

TIMESTAMP = "2026-01-01T00:00:00.000000+00:00"
"""Default creation time of objects."""
EVERYONE_PERMISSIONS = "2248473465835073"
"""Permissions of @everyone in a new guild. Observed on Discord."""
THREAD_TYPES = (10, 11, 12)
VOICE_TYPES = (2, 13)
TEXT_TYPES = (0, 5)
FORUM_TYPES = (15, 16)

USER: Data = {
    "id": "0",
    "username": "",
    "discriminator": "0",
    "global_name": None,
    "avatar": None,
    "bot": False,
    "system": False,
    "banner": None,
    "accent_color": None,
    "public_flags": 0,
    "avatar_decoration_data": None,
    "collectibles": None,
    "primary_guild": None,
}
OWN_USER: Data = {
    "bot": True,
    "mfa_enabled": False,
    "locale": "en-US",
    "verified": True,
    "email": None,
    "flags": 0,
    "premium_type": 0,
    "bio": "",
}
"""Further fields of the bot's own user."""
MEMBER: Data = {
    "nick": None,
    "avatar": None,
    "banner": None,
    "roles": [],
    "joined_at": TIMESTAMP,
    "premium_since": None,
    "deaf": False,
    "mute": False,
    "flags": 0,
    "pending": False,
    "communication_disabled_until": None,
    "avatar_decoration_data": None,
}
ROLE: Data = {
    "id": "0",
    "name": "new role",
    "description": None,
    "color": 0,
    "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
    "hoist": False,
    "icon": None,
    "unicode_emoji": None,
    "position": 1,
    "permissions": "0",
    "managed": False,
    "mentionable": False,
    "flags": 0,
}
CHANNEL: Data = {
    "id": "0",
    "type": 0,
    "guild_id": None,
    "position": 0,
    "permission_overwrites": [],
    "name": "",
    "parent_id": None,
    "flags": 0,
}
TEXT_CHANNEL: Data = {
    "topic": None,
    "nsfw": False,
    "last_message_id": None,
    "last_pin_timestamp": None,
    "rate_limit_per_user": 0,
    "default_auto_archive_duration": 1440,
}
VOICE_CHANNEL: Data = {
    "nsfw": False,
    "last_message_id": None,
    "bitrate": 64000,
    "user_limit": 0,
    "rate_limit_per_user": 0,
    "rtc_region": None,
    "video_quality_mode": 1,
}
FORUM_CHANNEL: Data = {
    **TEXT_CHANNEL,
    "available_tags": [],
    "default_reaction_emoji": None,
    "default_sort_order": None,
    "default_forum_layout": 0,
    "default_thread_rate_limit_per_user": 0,
}
DM_CHANNEL: Data = {"id": "0", "type": 1, "last_message_id": None, "flags": 0, "recipients": []}
THREAD: Data = {
    "id": "0",
    "type": 11,
    "guild_id": None,
    "parent_id": None,
    "owner_id": None,
    "name": "",
    "last_message_id": None,
    "rate_limit_per_user": 0,
    "message_count": 0,
    "member_count": 1,
    "total_message_sent": 0,
    "flags": 0,
    "applied_tags": [],
}
THREAD_METADATA: Data = {
    "archived": False,
    "auto_archive_duration": 1440,
    "archive_timestamp": TIMESTAMP,
    "locked": False,
    "invitable": True,
    "create_timestamp": TIMESTAMP,
}
EMOJI: Data = {
    "id": "0",
    "name": "emoji",
    "roles": [],
    "require_colons": True,
    "managed": False,
    "animated": False,
    "available": True,
}
STICKER: Data = {
    "id": "0",
    "name": "sticker",
    "description": None,
    "tags": "",
    "type": 2,
    "format_type": 1,
    "available": True,
    "sort_value": 0,
}
SOUND: Data = {
    "name": "sound",
    "sound_id": "0",
    "volume": 1.0,
    "emoji_id": None,
    "emoji_name": None,
    "available": True,
}
VOICE_STATE: Data = {
    "channel_id": None,
    "user_id": "0",
    "session_id": "0",
    "deaf": False,
    "mute": False,
    "self_deaf": False,
    "self_mute": False,
    "self_stream": False,
    "self_video": False,
    "suppress": False,
    "request_to_speak_timestamp": None,
}
PRESENCE: Data = {"status": "online", "activities": [], "client_status": {"desktop": "online"}}
GUILD: Data = {
    "id": "0",
    "name": "guild",
    "icon": None,
    "icon_hash": None,
    "splash": None,
    "discovery_splash": None,
    "owner_id": "0",
    "region": "deprecated",
    "afk_channel_id": None,
    "afk_timeout": 300,
    "widget_enabled": False,
    "widget_channel_id": None,
    "verification_level": 0,
    "default_message_notifications": 0,
    "explicit_content_filter": 0,
    "roles": [],
    "emojis": [],
    "features": [],
    "mfa_level": 0,
    "application_id": None,
    "system_channel_id": None,
    "system_channel_flags": 0,
    "rules_channel_id": None,
    "max_presences": None,
    "max_members": 500000,
    "vanity_url_code": None,
    "description": None,
    "banner": None,
    "premium_tier": 0,
    "premium_subscription_count": 0,
    "preferred_locale": "en-US",
    "public_updates_channel_id": None,
    "max_video_channel_users": 25,
    "max_stage_video_channel_users": 50,
    "nsfw_level": 0,
    "nsfw": False,
    "hub_type": None,
    "stickers": [],
    "premium_progress_bar_enabled": False,
    "safety_alerts_channel_id": None,
    "incidents_data": None,
}
GUILD_CREATE: Data = {
    "joined_at": TIMESTAMP,
    "large": False,
    "unavailable": False,
    "member_count": 0,
    "voice_states": [],
    "members": [],
    "channels": [],
    "threads": [],
    "presences": [],
    "stage_instances": [],
    "guild_scheduled_events": [],
    "soundboard_sounds": [],
}
"""Further fields of a guild in GUILD_CREATE.

<https://docs.discord.com/developers/events/gateway-events#guild-create>
"""
MESSAGE: Data = {
    "id": "0",
    "channel_id": "0",
    "type": 0,
    "content": "",
    "timestamp": TIMESTAMP,
    "edited_timestamp": None,
    "tts": False,
    "mention_everyone": False,
    "mentions": [],
    "mention_roles": [],
    "attachments": [],
    "embeds": [],
    "components": [],
    "pinned": False,
    "flags": 0,
}
APPLICATION: Data = {
    "id": "0",
    "name": "",
    "icon": None,
    "description": "",
    # Deprecated and always empty in version 10; interactions.py requires it.
    "summary": "",
    "type": None,
    "rpc_origins": [],
    "bot_public": True,
    "bot_require_code_grant": False,
    "terms_of_service_url": None,
    "privacy_policy_url": None,
    "verify_key": "0" * 64,
    "team": None,
    "flags": 0,
    "hook": True,
    "is_monetized": False,
    "approximate_guild_count": 0,
    "approximate_user_install_count": 0,
    "approximate_user_authorization_count": 0,
    "redirect_uris": [],
    "interactions_endpoint_url": None,
    "role_connections_verification_url": None,
    "event_webhooks_url": None,
    "event_webhooks_status": 1,
    "event_webhooks_types": [],
    "tags": [],
    "install_params": {"scopes": ["applications.commands", "bot"], "permissions": "0"},
    "integration_types_config": {
        "0": {
            "oauth2_install_params": {
                "scopes": ["applications.commands", "bot"],
                "permissions": "0",
            }
        }
    },
}
