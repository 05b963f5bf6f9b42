"""Members of guilds that a session receives, and the limit of its requests for them.

Rules:
<https://docs.discord.com/developers/events/gateway-events#request-guild-members> and
<https://docs.discord.com/developers/events/gateway-events#guild-create>.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway_proto._checks import is_text
from gateway_proto.commands import RequestGuildMembers
from gateway_proto.intents import Intents
from gateway_proto.versions import Opcode

__all__ = ["MembersLimit", "MembersView"]

Data = Mapping[str, Any]

_CHUNK = 1000
"""The most members of one GUILD_MEMBERS_CHUNK."""
_MAX_MATCHES = 100
"""Maximum results of a query, and of `user_ids`."""
_MAX_NONCE = 32
"""Bytes. "If you send an invalid nonce it will be ignored"."""
_VERY_LARGE = 75_000
"""Members of a guild above which GUILD_CREATE has only those in voice, for all intents."""


class MembersLimit:
    """The time of the last request for all members, for each bot and guild.

    <https://docs.discord.com/developers/change-log>, 2025-08-14: "1 request per guild per bot every
    30 seconds", for an empty `query` with `limit` 0.
    """

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()  # oldest first

    def seconds_left(self, token: str, guild_id: str, seconds: float, *, now: float) -> float:
        """Count a request and return 0, or return the seconds until one is allowed."""
        while self._asked and next(iter(self._asked.values())) + seconds <= now:
            self._asked.popitem(last=False)
        at = self._asked.get((token, guild_id))
        if at is not None:
            return at + seconds - now
        self._asked[token, guild_id] = now
        return 0.0

    def clear(self) -> None:
        """Allow every request again."""
        self._asked.clear()


class MembersView:
    """The members of guilds that one session receives."""

    def __init__(self, intents: int | None, large_threshold: int, user_id: str) -> None:
        self._sees_presences = intents is None or bool(intents & Intents.GUILD_PRESENCES)
        self._sees_all_members = intents is None or bool(intents & Intents.GUILD_MEMBERS)
        self._large_threshold = large_threshold
        self._user_id = user_id

    def guild_create(self, guild: Data) -> dict[str, Any]:
        """Return the guild as GUILD_CREATE has it, and READY in version 3.

        "If your bot does not have the GUILD_PRESENCES Gateway Intent, or if the guild has over 75k
        members, members and presences returned in this event will only contain your bot and users
        in voice channels". Above `large_threshold` it has the members "who are online, have a role,
        have a nickname, or are in a voice channel", else all.
        """
        members, presences = guild.get("members"), guild.get("presences")
        count = _count(guild)
        data = dict(guild)
        if count > self._large_threshold:
            data["large"] = True
        is_voice_only = not self._sees_presences or count > _VERY_LARGE
        shown = {self._user_id, *_in_voice(guild)}
        if members is not None and is_voice_only:
            data["members"] = [member for member in members if _id(member) in shown]
        elif members is not None and count > self._large_threshold:
            shown |= _online(guild)
            data["members"] = [
                member
                for member in members
                if _id(member) in shown or member.get("roles") or member.get("nick")
            ]
        if presences is not None and not self._sees_presences:
            data["presences"] = []
        elif presences is not None and is_voice_only:
            data["presences"] = [presence for presence in presences if _id(presence) in shown]
        return data

    def answers(
        self,
        request: RequestGuildMembers,
        guild_of: Callable[[str], Data | None],
        seconds_left: Callable[[str], float],
        *,
        many_guilds: bool,
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the dispatches that answer a request: their names and data.

        Guilds that do not exist have no answer.
        """
        # str(): a client may send an id as an integer, of any size.
        asked = request.guild_id if isinstance(request.guild_id, tuple) else (request.guild_id,)
        # "You will be limited to requesting 1 guild_id per request". Of several, the first was
        # answered: <https://github.com/discord/discord-api-docs/issues/2184>.
        guild_ids = dict.fromkeys(map(str, asked if many_guilds else asked[:1]))
        is_everybody = not request.query and request.user_ids is None
        if is_everybody and not self._sees_all_members:
            # "GUILD_MEMBERS intent is required to request the entire member list". Observed on
            # Discord: no answer, <https://github.com/shardlab/discordrb/pull/53>.
            return []
        found: list[tuple[str, dict[str, Any]]] = []
        for guild_id in guild_ids:
            guild = guild_of(guild_id)
            if guild is None:
                continue
            left = seconds_left(guild_id) if is_everybody and not request.limit else 0.0
            if left:
                found.append(("RATE_LIMITED", _rate_limited(request, guild_id, left)))
            else:
                chunks = self._chunks(guild_id, guild, request)
                found.extend(("GUILD_MEMBERS_CHUNK", chunk) for chunk in chunks)
        return found

    def _chunks(
        self, guild_id: str, guild: Data, request: RequestGuildMembers
    ) -> Iterable[dict[str, Any]]:
        matches, not_found = _matches(guild.get("members", ()), request)
        presences: dict[str, Any] = {}
        # "GUILD_PRESENCES intent is required to set presences = true."
        has_presences = request.presences and self._sees_presences
        if has_presences:
            presences = {_id(presence): presence for presence in guild.get("presences", ())}
        parts = [matches[at : at + _CHUNK] for at in range(0, len(matches), _CHUNK)] or [[]]
        for index, part in enumerate(parts):
            chunk: dict[str, Any] = {
                "guild_id": guild_id,
                "members": part,
                "chunk_index": index,
                "chunk_count": len(parts),
            }
            if index == 0 and not_found:
                chunk["not_found"] = not_found
            if has_presences:
                ids = map(_id, part)
                chunk["presences"] = [presences[id_] for id_ in ids if id_ in presences]
            yield chunk | _nonce(request)


def _matches(members: Iterable[Any], request: RequestGuildMembers) -> tuple[list[Any], list[str]]:
    """Return the members that a request is about, and the ids that are not among them."""
    if request.user_ids is not None:
        # "Requesting user_ids will continue to be limited to returning 100 members".
        wanted = list(dict.fromkeys(map(str, request.user_ids)))[:_MAX_MATCHES]
        by_id = {_id(member): member for member in members}
        return [by_id[id_] for id_ in wanted if id_ in by_id], [i for i in wanted if i not in by_id]
    limit = max(0, request.limit)
    if not request.query:
        return list(members)[: limit or None], []
    # "Requesting a prefix (query parameter) will return a maximum of 100 members". A limit of 0 is
    # only for an empty query: here it means no limit of the client's own.
    prefix = request.query.lower()
    named = [m for m in members if _username(m).lower().startswith(prefix)]
    return named[: min(limit or _MAX_MATCHES, _MAX_MATCHES)], []


def _rate_limited(request: RequestGuildMembers, guild_id: str, seconds: float) -> dict[str, Any]:
    # <https://docs.discord.com/developers/events/gateway-events#rate-limited>
    meta = {"guild_id": guild_id, **_nonce(request)}
    return {"opcode": int(Opcode.REQUEST_GUILD_MEMBERS), "retry_after": seconds, "meta": meta}


def _nonce(request: RequestGuildMembers) -> dict[str, Any]:
    nonce = request.nonce
    is_valid = nonce is not None and is_text(nonce) and len(nonce.encode()) <= _MAX_NONCE
    return {"nonce": nonce} if is_valid else {}


def _count(guild: Data) -> int:
    count = guild.get("member_count")
    return count if isinstance(count, int) else len(guild.get("members") or ())


def _in_voice(guild: Data) -> set[str]:
    states = guild.get("voice_states") or ()
    return {
        str(state.get("user_id"))
        for state in states
        if isinstance(state, Mapping) and state.get("channel_id") is not None
    }


def _online(guild: Data) -> set[str]:
    presences = guild.get("presences") or ()
    return {_id(presence) for presence in presences if presence.get("status") != "offline"}


def _id(value: Any) -> str:
    """Return the id of the user of a member or presence."""
    return str(value["user"]["id"])


def _username(member: Any) -> str:
    return str(member["user"].get("username", ""))
