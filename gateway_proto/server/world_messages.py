"""Changes of the messages of a World by dispatches.

Messages are a list that is ordered by id, so that they are found by bisection: 4 µs of 1,000
messages, where comparing all ids took 450 µs. A change modifies the list in place.

<https://docs.discord.com/developers/events/gateway-events#messages>
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway_proto._checks import is_id
from gateway_proto.server.world_lists import MAX_KEPT, find, id_of, put, without
from gateway_proto.server.world_objects import complete_message, objects

__all__ = ["MESSAGE_CHANGES", "changed_messages", "find_message"]

Data = Mapping[str, Any]
MessageChange = Callable[[list[Data], Data, str], bool]


def find_message(messages: Sequence[Data], id_: str | int) -> Data | None:
    """Return the message with an id, or None."""
    return find(messages[_span(messages, str(id_))], id_)


def changed_messages(
    messages: Iterable[Data], dispatches: Iterable[tuple[str, Any]], me: str
) -> tuple[Data, ...] | None:
    """Return the messages after dispatches, copied once for all of them; None if none changes.

    `me` is the id of the bot's user.
    """
    changed, is_changed = list(messages), False
    for name, data in dispatches:
        if isinstance(data, Mapping) and MESSAGE_CHANGES[name](changed, data, me):
            is_changed = True
    return tuple(changed) if is_changed else None


def _number(message: Data) -> int:
    return int(message["id"])


def _span(messages: Sequence[Data], id_: str) -> slice:
    """Return where the messages with the number of an id are, or would be."""
    number = int(id_) if is_id(id_) else -1
    start = bisect_left(messages, number, key=_number)
    return slice(start, bisect_right(messages, number, start, key=_number))


def _put_message(messages: list[Data], data: Data, me: str) -> bool:
    id_ = id_of(data)
    if not id_:
        return False
    span = _span(messages, id_)
    if span.stop == 0 and len(messages) >= MAX_KEPT:
        return False  # older than all
    messages[span] = put(messages[span], complete_message(data))
    del messages[:-MAX_KEPT]
    return True


def _update_message(messages: list[Data], data: Data, me: str) -> bool:
    old = find_message(messages, id_of(data))
    return old is not None and _put_message(messages, {**old, **data}, me)


def _remove_message(messages: list[Data], data: Data, me: str) -> bool:
    id_ = id_of(data)
    span = _span(messages, id_)
    before = len(messages)
    messages[span] = without(messages[span], id_)
    return len(messages) < before


def _remove_messages(messages: list[Data], data: Data, me: str) -> bool:
    ids = data.get("ids")
    gone = {str(id_) for id_ in ids} if isinstance(ids, list | tuple) else set()
    before = len(messages)
    messages[:] = [message for message in messages if message["id"] not in gone]
    return len(messages) < before


# ----- reactions -----


def _emoji_key(data: Data) -> str:
    emoji = data.get("emoji")
    return str(emoji.get("id") or emoji.get("name")) if isinstance(emoji, Mapping) else ""


def _reaction(emoji: Any, user_ids: list[str], me: str) -> Data:
    count = len(user_ids)
    return {
        "emoji": emoji,
        "count": count,
        "count_details": {"burst": 0, "normal": count},
        "me": me in user_ids,
        "me_burst": False,
        "burst_colors": [],
        "user_ids": user_ids,
    }


def _changed_reactions(old: list[Data], data: Data, me: str, *, added: bool) -> list[Data] | None:
    wanted = _emoji_key(data)
    if not wanted:
        return None
    user_id = str(data.get("user_id"))
    before = next((r for r in old if _emoji_key(r) == wanted), {})
    user_ids = [id_ for id_ in before.get("user_ids", ()) if id_ != user_id]
    if added:
        user_ids.append(user_id)
    new = _reaction(data["emoji"], user_ids, me)
    return put(old, new, _emoji_key) if user_ids else without(old, wanted, _emoji_key)


def _added(old: list[Data], data: Data, me: str) -> list[Data] | None:
    return _changed_reactions(old, data, me, added=True)


def _removed(old: list[Data], data: Data, me: str) -> list[Data] | None:
    return _changed_reactions(old, data, me, added=False)


def _cleared(old: list[Data], data: Data, me: str) -> list[Data] | None:
    return without(old, _emoji_key(data), _emoji_key) if "emoji" in data else []


def _reactions(change: Callable[[list[Data], Data, str], list[Data] | None]) -> MessageChange:
    def changed(messages: list[Data], data: Data, me: str) -> bool:
        id_ = str(data.get("message_id"))
        message = find_message(messages, id_)
        if message is None:
            return False
        reactions = change(objects(message.get("reactions")), data, me)
        if reactions is None:
            return False
        span = _span(messages, id_)
        messages[span] = put(messages[span], {**message, "reactions": reactions})
        return True

    return changed


MESSAGE_CHANGES: Mapping[str, MessageChange] = {
    "MESSAGE_CREATE": _put_message,
    "MESSAGE_UPDATE": _update_message,
    "MESSAGE_DELETE": _remove_message,
    "MESSAGE_DELETE_BULK": _remove_messages,
    "MESSAGE_REACTION_ADD": _reactions(_added),
    "MESSAGE_REACTION_REMOVE": _reactions(_removed),
    "MESSAGE_REACTION_REMOVE_ALL": _reactions(_cleared),
    "MESSAGE_REACTION_REMOVE_EMOJI": _reactions(_cleared),
}
"""Functions that change the messages, and return whether they did; the last argument is the id of
the bot's user."""
