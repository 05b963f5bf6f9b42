"""Dispatches generated from a seed: names and `d`, in the documented shapes.

About 1.2 kB on average and 0.75 kB in the median; a few guilds and chunks of members have 100 kB
and more. Texts are in several scripts, as UTF-8 that is not escaped.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

__all__ = ["dispatches"]

_COMMON = (
    "the of and to in is that it was for on are as with his they at be this have from or one had "
    "by word but not what all were we when your can said there use an each which she do how their "
    "if will up other about out many then them these so some her would make like him into time "
    "raid tonight server patch lol build channel nice thanks maybe later stream update broken"
)
_OTHER = (
    "für über schön größer naïve café mañana señor où été привет как дела сегодня спасибо "
    "こんにちは ありがとう 今日は 你好 谢谢 안녕하세요 감사합니다 "
    "😂 🎉 👍 ❤️ 🔥 <@80351110224678912>"
)
_WORDS = _COMMON.split()
_OTHER_WORDS = _OTHER.split()
_STATUSES = ("online", "idle", "dnd", "offline")
_GAMES = ("Minecraft", "League of Legends", "VALORANT", "原神", "Spotify", "Visual Studio Code")
_EMOJI = ("👍", "😂", "❤️", "🔥", "🎉", "👀")
_HEX = "0123456789abcdef"
Object = dict[str, Any]


class _Writer:
    """Generator of documented objects, from one random source."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def id(self) -> str:
        return str(self.random.randrange(10**17, 13 * 10**17))

    def some_id(self, kinds: int) -> str:
        """One of a few: what is busy comes again."""
        return str(10**17 + int(kinds * self.random.random() ** 3) * 1_234_567_890_123)

    def hash(self) -> str:
        return f"{self.random.getrandbits(128):032x}"

    def time(self) -> str:
        c = self.random
        return (
            f"2026-{c.randrange(1, 13):02}-{c.randrange(1, 29):02}T{c.randrange(24):02}:"
            f"{c.randrange(60):02}:{c.randrange(60):02}.{c.randrange(10**6):06}+00:00"
        )

    def text(self, words: int) -> str:
        other = self.random.random() < 0.12
        return " ".join(self.random.choices(_OTHER_WORDS if other else _WORDS, k=words))

    def maybe(self, probability: float, value: Any) -> Any:
        return value if self.random.random() < probability else None

    def user(self) -> Object:
        return {
            "id": self.some_id(5000),
            "username": f"{self.random.choice(_WORDS)}{self.random.randrange(10000)}",
            "discriminator": "0",
            "global_name": self.maybe(0.7, self.text(2)),
            "avatar": self.maybe(0.8, self.hash()),
            "avatar_decoration_data": None,
            "public_flags": self.random.choice((0, 0, 0, 64, 256, 4194304)),
            "primary_guild": None,
            "clan": None,
        }

    def member(self, *, user: bool) -> Object:
        member: Object = {
            "roles": [self.some_id(300) for _ in range(self.random.choice((0, 1, 2, 3, 5)))],
            "premium_since": self.maybe(0.05, self.time()),
            "pending": False,
            "nick": self.maybe(0.3, self.text(2)),
            "mute": False,
            "joined_at": self.time(),
            "flags": 0,
            "deaf": False,
            "communication_disabled_until": None,
            "banner": None,
            "avatar": self.maybe(0.1, self.hash()),
        }
        return {"user": self.user(), **member} if user else member

    def message(self) -> Object:
        words = int(self.random.paretovariate(1.1) * 4)
        return {
            "type": 0,
            "tts": False,
            "timestamp": self.time(),
            "pinned": False,
            "nonce": self.id(),
            "mentions": [self.user() for _ in range(self.random.choice((0, 0, 0, 1)))],
            "mention_roles": [],
            "mention_everyone": False,
            "member": self.member(user=False),
            "id": self.id(),
            "flags": 0,
            "embeds": [self.embed()] if self.random.random() < 0.12 else [],
            "edited_timestamp": None,
            "content": self.text(min(words, 300)),
            "components": [],
            "channel_type": 0,
            "channel_id": self.some_id(400),
            "author": self.user(),
            "attachments": [self.attachment()] if self.random.random() < 0.1 else [],
            "guild_id": self.some_id(100),
        }

    def embed(self) -> Object:
        return {
            "type": "rich",
            "title": self.text(5),
            "description": self.text(40),
            "color": self.random.getrandbits(24),
            "url": f"https://example.com/{self.hash()}",
            "fields": [
                {"name": self.text(2), "value": self.text(8), "inline": True} for _ in range(3)
            ],
            "footer": {"text": self.text(4), "icon_url": f"https://example.com/{self.hash()}.png"},
        }

    def attachment(self) -> Object:
        id_ = self.id()
        url = f"https://cdn.example.com/attachments/{self.some_id(400)}/{id_}/image.png"
        return {
            "width": 1920,
            "url": f"{url}?ex={self.hash()[:8]}&is={self.hash()[:8]}&hm={self.hash()}",
            "size": self.random.randrange(5_000_000),
            "proxy_url": url,
            "placeholder_version": 1,
            "placeholder": self.hash()[:28],
            "id": id_,
            "height": 1080,
            "filename": "image.png",
            "content_type": "image/png",
        }

    def activity(self) -> Object:
        return {
            "type": 0,
            "timestamps": {"start": 1_790_000_000_000 + self.random.randrange(10**9)},
            "state": self.text(3),
            "name": self.random.choice(_GAMES),
            "id": self.hash()[:16],
            "details": self.text(4),
            "created_at": 1_790_000_000_000 + self.random.randrange(10**9),
            "assets": {"large_text": self.text(2), "large_image": self.id()},
            "application_id": self.some_id(50),
        }

    def presence(self) -> Object:
        status = self.random.choice(_STATUSES)
        activities = range(self.random.choice((0, 1, 1, 2)))
        return {
            "user": {"id": self.some_id(5000)},
            "status": status,
            "processed_at_timestamp": 0,
            "guild_id": self.some_id(100),
            "client_status": {} if status == "offline" else {"desktop": status},
            "broadcast": None,
            "activities": [self.activity() for _ in activities],
        }

    def typing(self) -> Object:
        return {
            "user_id": self.some_id(5000),
            "timestamp": 1_790_000_000 + self.random.randrange(10**6),
            "member": self.member(user=True),
            "channel_id": self.some_id(400),
            "guild_id": self.some_id(100),
        }

    def member_update(self) -> Object:
        member = self.member(user=True)
        return {**member, "unusual_dm_activity_until": None, "guild_id": self.some_id(100)}

    def reaction(self) -> Object:
        return {
            "user_id": self.some_id(5000),
            "type": 0,
            "message_id": self.some_id(3000),
            "message_author_id": self.some_id(5000),
            "member": self.member(user=True),
            "emoji": {"name": self.random.choice(_EMOJI), "id": None},
            "channel_id": self.some_id(400),
            "burst_colors": [],
            "burst": False,
            "guild_id": self.some_id(100),
        }

    def voice_state(self) -> Object:
        return {
            "member": self.member(user=True),
            "user_id": self.some_id(5000),
            "suppress": False,
            "session_id": self.hash(),
            "self_video": False,
            "self_mute": self.random.random() < 0.5,
            "self_deaf": False,
            "request_to_speak_timestamp": None,
            "mute": False,
            "guild_id": self.some_id(100),
            "deaf": False,
            "channel_id": self.maybe(0.8, self.some_id(400)),
        }

    def deletion(self) -> Object:
        ids = {"id": self.id(), "channel_id": self.some_id(400)}
        return {**ids, "guild_id": self.some_id(100)}

    def channel(self, position: int) -> Object:
        return {
            "version": 1_790_000_000_000,
            "type": 0,
            "topic": self.maybe(0.4, self.text(12)),
            "rate_limit_per_user": 0,
            "position": position,
            "permission_overwrites": [
                {"type": 0, "id": self.id(), "deny": "1024", "allow": "0"} for _ in range(2)
            ],
            "parent_id": self.id(),
            "name": self.text(1),
            "last_message_id": self.id(),
            "id": self.id(),
            "flags": 0,
        }

    def role(self, position: int) -> Object:
        return {
            "version": 1_790_000_000_000,
            "unicode_emoji": None,
            "tags": {},
            "position": position,
            "permissions": str(self.random.getrandbits(49)),
            "name": self.text(2),
            "mentionable": False,
            "managed": False,
            "id": self.id(),
            "icon": None,
            "hoist": False,
            "flags": 0,
            "color": self.random.getrandbits(24),
        }

    def guild(self) -> Object:
        # Most guilds are small; a few are the largest thing that ever comes.
        size = int(min(self.random.paretovariate(0.9) * 12, 900))
        return {
            "voice_states": [],
            "verification_level": 1,
            "unavailable": False,
            "threads": [],
            "system_channel_id": self.id(),
            "stickers": [],
            "stage_instances": [],
            "rules_channel_id": None,
            "roles": [self.role(n) for n in range(max(3, size // 10))],
            "region": "deprecated",
            "presences": [self.presence() for _ in range(size // 4)],
            "premium_tier": 2,
            "premium_subscription_count": self.random.randrange(30),
            "preferred_locale": "en-US",
            "owner_id": self.id(),
            "nsfw_level": 0,
            "name": self.text(3),
            "members": [self.member(user=True) for _ in range(size)],
            "member_count": size * 7,
            "max_members": 500_000,
            "large": size > 250,
            "joined_at": self.time(),
            "id": self.some_id(100),
            "icon": self.hash(),
            "guild_scheduled_events": [],
            "features": ["COMMUNITY", "NEWS", "ANIMATED_ICON", "INVITE_SPLASH"],
            "emojis": [
                {
                    "roles": [],
                    "require_colons": True,
                    "name": self.text(1),
                    "managed": False,
                    "id": self.id(),
                    "available": True,
                    "animated": False,
                }
                for _ in range(min(size, 50))
            ],
            "description": None,
            "channels": [self.channel(n) for n in range(max(5, size // 6))],
            "afk_timeout": 300,
            "afk_channel_id": None,
        }

    def chunk(self) -> Object:
        return {
            "not_found": [],
            "nonce": self.hash(),
            "members": [self.member(user=True) for _ in range(self.random.choice((50, 400, 1000)))],
            "guild_id": self.some_id(100),
            "chunk_index": 0,
            "chunk_count": 1,
        }


_MIX = {
    "PRESENCE_UPDATE": (29.0, _Writer.presence),
    "MESSAGE_CREATE": (28.0, _Writer.message),
    "TYPING_START": (15.0, _Writer.typing),
    "GUILD_MEMBER_UPDATE": (7.0, _Writer.member_update),
    "MESSAGE_UPDATE": (5.0, _Writer.message),
    "MESSAGE_REACTION_ADD": (7.0, _Writer.reaction),
    "VOICE_STATE_UPDATE": (6.0, _Writer.voice_state),
    "MESSAGE_DELETE": (2.7, _Writer.deletion),
    "GUILD_CREATE": (0.4, _Writer.guild),
    "GUILD_MEMBERS_CHUNK": (0.07, _Writer.chunk),
}
"""Parts in a hundred, and who writes it."""


def dispatches(count: int, *, seed: int = 5) -> Iterator[tuple[str, Object]]:
    """So many dispatches, each a name and its `d`; the same ones for the same seed."""
    writer = _Writer(seed)
    names = list(_MIX)
    weights = [weight for weight, _ in _MIX.values()]
    for name in writer.random.choices(names, weights, k=count):
        yield name, _MIX[name][1](writer)
