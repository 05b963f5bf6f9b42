"""Selection of channels, members and components of the world by name or id."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from gateway_proto._checks import shown
from gateway_proto.server import World

__all__ = ["Place", "pick_author", "pick_channel", "pick_component"]

Data = Mapping[str, Any]
_TEXT_TYPES = (0, 5)


@attrs.frozen
class Place:
    """Channel, and its guild; None for a private channel."""

    channel: Data
    guild: Data | None


def pick_channel(world: World, wanted: Any) -> Place:
    """Return a channel by name, id or object; None means the first text channel of a guild."""
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

    By name, id or object; None means the first that is not a bot.
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


def pick_component(world: World, wanted: Any, message: Any) -> tuple[Data, Data]:
    """Return a component by its custom_id, label or object, and the message that has it.

    Without a message the latest of the world that has such a component.
    """
    key = str(wanted.get("custom_id")) if isinstance(wanted, Mapping) else str(wanted)
    id_ = message.get("id") if isinstance(message, Mapping) else message
    messages = [m for m in world.messages if id_ is None or m["id"] == str(id_)]
    pairs = [(c, m) for m in reversed(messages) for c in _components(m) if c.get("custom_id")]
    for name in ("custom_id", "label"):
        for component, found in pairs:
            if component.get(name) == key:
                if component.get("disabled"):
                    raise AssertionError(f"component {key!r} is disabled")
                return component, found
    names = (f"{c.get('label') or c.get('placeholder')} ({c['custom_id']})" for c, _ in pairs)
    raise _unknown("component", key, names)


def _components(value: Any) -> Iterator[Data]:
    """Return all components of a message or component, also those inside of others."""
    for component in [*(value.get("components") or ()), value.get("accessory")]:
        if isinstance(component, Mapping):
            yield component
            yield from _components(component)


def _is_meant(data: Data, key: str, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return bool(data["id"] == str(wanted.get("id")))
    return str(wanted) in (data["id"], data.get(key))


def _unknown(what: str, wanted: Any, names: Iterable[str]) -> AssertionError:
    given = f"no {what}" if wanted is None else f"unknown {what} {shown(wanted)}"
    known = ", ".join(itertools.islice(names, 20)) or "none"
    return AssertionError(f"{given}: the world has {known}")
