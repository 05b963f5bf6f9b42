"""Names and ids of a test → channels, people and ids of the world."""

from __future__ import annotations

import datetime
import itertools
import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from gateway_proto import LocalProtocolError, World
from gateway_proto.world_objects import make_message

__all__ = ["Place", "message_of", "new_id", "pick_author", "pick_channel"]

Data = Mapping[str, Any]
_TEXT_TYPES = (0, 5)
# Snowflakes: <https://docs.discord.com/developers/reference#snowflakes>.
_EPOCH_MILLISECONDS = 1420070400000
_count = itertools.count()


@attrs.frozen
class Place:
    """A channel, and the guild that it belongs to."""

    channel: Data
    guild: Data | None


def new_id() -> str:
    """Return a snowflake of the present time, higher than all before."""
    milliseconds = int(time.time() * 1000) - _EPOCH_MILLISECONDS
    return str((milliseconds << 22) + (next(_count) & 0xFFF))


def pick_channel(world: World, wanted: Any) -> Place:
    """Return a channel by its name, id or object; None: the first text channel of a guild."""
    places = [
        Place(channel, guild)
        for guild in world.guilds
        for kind in ("channels", "threads")
        for channel in guild[kind]
    ]
    places += [Place(channel, None) for channel in world.private_channels]
    if wanted is None:
        found = [place for place in places if place.channel["type"] in _TEXT_TYPES]
    else:
        found = [place for place in places if _is_meant(place.channel, "name", wanted)]
    if not found:
        names = (f"{p.channel.get('name')} ({p.channel['id']})" for p in places)
        raise _unknown("channel", wanted, names)
    return found[0]


def pick_author(world: World, place: Place, wanted: Any) -> Data:
    """Return a member of a guild, or the user of a private channel as {"user": ...}.

    By name, id or object; None: the first that is no bot.
    """
    if place.guild is None:
        members: list[Data] = [{"user": user} for user in place.channel["recipients"]]
    else:
        members = place.guild["members"]
    if wanted is None:
        found = [member for member in members if not member["user"].get("bot")]
    else:
        user = wanted.get("user", wanted) if isinstance(wanted, Mapping) else wanted
        found = [member for member in members if _is_meant(member["user"], "username", user)]
    if not found:
        names = (f"{m['user']['username']} ({m['user']['id']})" for m in members)
        raise _unknown("author", wanted, names)
    return found[0]


def message_of(
    world: World, content: str, channel: Any, author: Any, fields: Data
) -> dict[str, Any]:
    """Return a message of a member, as MESSAGE_CREATE has it."""
    place = pick_channel(world, channel)
    member = dict(pick_author(world, place, author))
    user = member.pop("user")
    given: dict[str, Any] = {"timestamp": datetime.datetime.now(datetime.UTC).isoformat()}
    if place.guild is not None:
        given |= {"guild_id": place.guild["id"], "member": member}
    return make_message(
        new_id(), content, channel_id=place.channel["id"], author=user, **{**given, **fields}
    )


def _is_meant(data: Data, key: str, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return bool(data["id"] == str(wanted.get("id")))
    return str(wanted) in (data["id"], data.get(key))


def _unknown(what: str, wanted: Any, names: Iterable[str]) -> LocalProtocolError:
    given = f"no {what}" if wanted is None else f"unknown {what} {wanted!r}"
    known = ", ".join(itertools.islice(names, 20)) or "none"
    return LocalProtocolError(f"{given}: the world has {known}")
