"""Commands with answers: requests whose answers are collected from dispatches.

    number = connection.request(RequestGuildMembers("1", user_ids=["2", "3"]), now=now)
    ...
    case RequestAnswered(number, request, GuildMembers(members=members)): ...
    case RequestFailed(number, request, why, retry_after): ...

An answer may arrive over several connections of one session, since missed dispatches are
replayed. When the session is lost, pending requests fail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from gateway_proto.commands import (
    Request,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
)
from gateway_proto.encoding.raw_members import raw_members, scalar
from gateway_proto.encoding.raw_value import decode_raw
from gateway_proto.errors import DataError
from gateway_proto.events import (
    ChannelInfo,
    Dispatch,
    GuildMembers,
    RequestAnswered,
    RequestFailed,
    SoundboardSounds,
)
from gateway_proto.timing.rate_limit import SECONDS_PER_DAY
from gateway_proto.versions import Opcode, ProtocolVersion

__all__ = ["RESPONSE_DISPATCHES", "PendingRequests"]

RESPONSE_DISPATCHES = frozenset(
    {"GUILD_MEMBERS_CHUNK", "SOUNDBOARD_SOUNDS", "CHANNEL_INFO", "RATE_LIMITED"}
)
"""The dispatches that answer requests."""

_WHOLE_CHUNK = 1000
"""Members of a chunk that is not the last.
<https://docs.discord.com/developers/events/gateway-events#request-guild-members>"""
_MAX_BYTES = 512 * 2**20
"""Maximum number of bytes of an answer in all its parts; a member takes about 400."""
_PART_OVERHEAD = 1024
"""Bytes that a part of an answer counts for in addition to its size."""
_MAX_HELD = 1000
"""Maximum number of guilds whose rate limits are stored at once."""
_MAX_ID = 64
"""Maximum characters of the id of a guild; snowflakes have 20."""

_Key: TypeAlias = tuple[int, str]
"""Op code and guild id."""
_MEMBERS = int(Opcode.REQUEST_GUILD_MEMBERS)
_ALL_MEMBERS = -1
"""In place of an op code: requests for all members of a guild."""
_KINDS: dict[int, type[Any]] = {
    _MEMBERS: RequestGuildMembers,
    int(Opcode.REQUEST_SOUNDBOARD_SOUNDS): RequestSoundboardSounds,
    int(Opcode.REQUEST_CHANNEL_INFO): RequestChannelInfo,
}
_KIND_OF_ANSWER: dict[str, type[Any]] = {
    "GUILD_MEMBERS_CHUNK": RequestGuildMembers,
    "SOUNDBOARD_SOUNDS": RequestSoundboardSounds,
    "CHANNEL_INFO": RequestChannelInfo,
}


# Answers are read leniently: a field that is null or of another type counts as absent. Servers in
# JavaScript write `undefined` as nil in ETF. Only parts of an awaited answer are decoded.
_CHUNK_LISTS = ("members", "not_found", "presences")
_CHUNK = ("guild_id", "nonce", "chunk_index", "chunk_count", *_CHUNK_LISTS)
_SOUNDS = ("guild_id", "soundboard_sounds")
_CHANNELS = ("guild_id", "channels")
_RATE_LIMITED = ("opcode", "retry_after", "meta")
_META = ("guild_id", "nonce")
_Fields: TypeAlias = dict[str, bytes]
"""Undecoded members by name."""


class _Chunk(msgspec.Struct):
    guild_id: Any
    members: list[Any]
    not_found: list[Any]
    presences: list[Any]


class _PendingRequest(msgspec.Struct):
    """A request and the received parts of its answer."""

    number: int
    request: Request
    timeout: float
    deadline: float | None = None  # None before it is sent
    chunks: dict[int, _Chunk] = {}
    count: int | None = None
    sounds: dict[str, tuple[Any, ...]] = {}
    size: int = 0  # bytes of the chunks
    unread: str | None = None  # why an answer, perhaps to this request, cannot be decoded


class PendingRequests:
    """Pending requests, and the times at which rate-limited requests are allowed again."""

    __slots__ = ("_count", "_free_at", "_version", "pending")

    def __init__(self, version: ProtocolVersion) -> None:
        self._version = version
        self.pending: dict[int, _PendingRequest] = {}
        """Requests without a complete answer, by number."""
        self._count = 0
        self._free_at: dict[_Key, float] = {}

    # ----- requests -----

    def add(self, request: Request, timeout: float, nonce: str) -> tuple[int, Request]:
        """Add a request; return its number, and the request with a nonce, as it is to be sent."""
        self._count += 1
        if (
            isinstance(request, RequestGuildMembers)
            and request.nonce is None
            and self._version.members_by_user
        ):
            request = msgspec.structs.replace(request, nonce=f"{nonce}-{self._count:x}")
        self.pending[self._count] = _PendingRequest(self._count, request, timeout)
        return self._count, request

    def start_timeout(self, number: int, now: float) -> None:
        """Start the timeout of a request that was sent."""
        pending = self.pending[number]
        pending.deadline = now + pending.timeout

    def not_before(self, command: Any, now: float) -> float:
        """Return when a limit of its own allows a command.

        Requests for all members of a guild have a limit of their own, and RATE_LIMITED delays
        requests of its kind for its guild:
        <https://docs.discord.com/developers/events/gateway-events#rate-limited>.
        """
        if not self._free_at:
            return now
        return max([now, *(self._free_at.get(key, now) for key in _keys(command))])

    def record_sent(self, command: Any, now: float) -> None:
        """Record a command that was sent."""
        limit = self._version.members_limit
        if limit is not None and _asks_for_all(command):
            self._hold((_ALL_MEMBERS, command.guild_id), now + limit[1], now)

    # ----- answers -----

    def handle_dispatch(
        self, dispatch: Dispatch, now: float
    ) -> list[RequestAnswered | RequestFailed]:
        """Process one of `RESPONSE_DISPATCHES`; return the requests that it completes."""
        raw = dispatch.raw
        try:
            match dispatch.name:
                case "GUILD_MEMBERS_CHUNK":
                    chunk = raw_members(raw, _CHUNK)
                    guild_id, nonce = scalar(chunk.get("guild_id")), scalar(chunk.get("nonce"))
                    if nonce is not None or _is_id(guild_id):
                        pending = self._members_request(guild_id, nonce)
                        return [] if pending is None else self._chunk(pending, chunk, raw, now)
                case "SOUNDBOARD_SOUNDS":
                    sounds = raw_members(raw, _SOUNDS)
                    if _is_id(guild_id := scalar(sounds.get("guild_id"))):
                        return self._sounds(str(guild_id), sounds, raw, now)
                case "CHANNEL_INFO":
                    channels = raw_members(raw, _CHANNELS)
                    if _is_id(guild_id := scalar(channels.get("guild_id"))):
                        return self._channels(str(guild_id), channels)
                case _:
                    return self._rate_limited(raw_members(raw, _RATE_LIMITED), now)
            why = f"{dispatch.name} names no guild"
        except DataError as error:
            why = f"{dispatch.name} cannot be read: {error}"
        return self._unread(_KIND_OF_ANSWER.get(dispatch.name), why)

    def extend_deadlines(self, seconds: float, now: float) -> None:
        """Extend timeouts by a pause of `seconds`: unread data may contain the answers."""
        for pending in self.pending.values():
            if pending.deadline is not None:
                pending.deadline = min(pending.deadline + seconds, now + pending.timeout)

    def expire(self, now: float) -> list[RequestAnswered | RequestFailed]:
        """End the requests whose timeout is over at `now`."""
        over: list[RequestAnswered | RequestFailed] = []
        for pending in list(self.pending.values()):
            if pending.deadline is None or pending.deadline > now:
                continue
            if pending.chunks and pending.count is None:
                # Chunks without numbers: the last one is known only by the timeout.
                over.append(self._answered(pending))
                continue
            why = pending.unread or f"no answer for {pending.timeout:g} s"
            over.append(self._failed(pending, why))
        return over

    def next_timer(self) -> float | None:
        """Return the time of the next timeout."""
        deadlines = [p.deadline for p in self.pending.values() if p.deadline is not None]
        return min(deadlines, default=None)

    def fail(self, why: str, numbers: Sequence[int] | None = None) -> list[RequestFailed]:
        """Fail the requests with these numbers, or all."""
        return [
            self._failed(pending, why)
            for pending in list(self.pending.values())
            if numbers is None or pending.number in numbers
        ]

    # ----- internals -----

    def _hold(self, key: _Key, until: float, now: float) -> None:
        free_at = self._free_at
        for over in [key for key, at in free_at.items() if at <= now]:
            del free_at[over]
        if len(free_at) < _MAX_HELD or key in free_at:
            free_at[key] = until

    def _failed(
        self, pending: _PendingRequest, why: str, retry_after: float | None = None
    ) -> RequestFailed:
        del self.pending[pending.number]
        return RequestFailed(pending.number, pending.request, why, retry_after)

    def _unread(self, kind: type[Any] | None, why: str) -> list[RequestAnswered | RequestFailed]:
        """Fail the request whose answer cannot be decoded; if several fit, store why."""
        of_kind = [] if kind is None else self._of(kind)
        if len(of_kind) == 1:
            return [self._failed(of_kind[0], why)]
        for pending in of_kind:
            pending.unread = why
        return []

    def _answered(self, pending: _PendingRequest) -> RequestAnswered:
        del self.pending[pending.number]
        chunks = [pending.chunks[index] for index in sorted(pending.chunks)]
        answer = GuildMembers(
            str(chunks[0].guild_id) if _is_id(chunks[0].guild_id) else _guilds(pending.request)[0],
            tuple(member for chunk in chunks for member in chunk.members),
            tuple(missing for chunk in chunks for missing in chunk.not_found),
            tuple(presence for chunk in chunks for presence in chunk.presences),
        )
        return RequestAnswered(pending.number, pending.request, answer)

    def _of(self, kind: type[Any]) -> list[_PendingRequest]:
        """Return the requests of a kind that were sent, oldest first."""
        return [
            pending
            for pending in self.pending.values()
            if isinstance(pending.request, kind) and pending.deadline is not None
        ]

    def _members_request(self, guild_id: Any, nonce: Any) -> _PendingRequest | None:
        for pending in self._of(RequestGuildMembers):
            request = pending.request
            assert isinstance(request, RequestGuildMembers)
            if request.nonce is not None and request.nonce == nonce:
                return pending
            guilds = request.guild_id
            guilds = (guilds,) if isinstance(guilds, str) else guilds
            # Compatible servers omit the nonce.
            if nonce is None and str(guild_id) in guilds:
                return pending
        return None

    def _chunk(
        self, pending: _PendingRequest, fields: _Fields, raw: bytes, now: float
    ) -> list[RequestAnswered | RequestFailed]:
        if (failed := self._count_part(pending, raw)) is not None:
            return [failed]
        chunk = _Chunk(
            scalar(fields.get("guild_id")),
            *(_list(fields, name) for name in _CHUNK_LISTS),
        )
        pending.deadline = now + pending.timeout
        index = _integer(scalar(fields.get("chunk_index")))
        count = _integer(scalar(fields.get("chunk_count")))
        # A replayed chunk replaces its first copy.
        pending.chunks[len(pending.chunks) if index is None else index] = chunk
        if index is not None and count is not None:
            pending.count = count
            over = len(pending.chunks) >= pending.count
        else:
            over = len(chunk.members) < _WHOLE_CHUNK
        return [self._answered(pending)] if over else []

    def _count_part(self, pending: _PendingRequest, raw: bytes) -> RequestFailed | None:
        """Count a part of an answer; fail the request if the answer has become too large."""
        pending.size += len(raw) + _PART_OVERHEAD
        if pending.size <= _MAX_BYTES:
            return None
        return self._failed(pending, f"the answer has more than {_MAX_BYTES} bytes")

    def _sounds(
        self, guild_id: str, fields: _Fields, raw: bytes, now: float
    ) -> list[RequestAnswered | RequestFailed]:
        over: list[RequestAnswered | RequestFailed] = []
        for pending in self._of(RequestSoundboardSounds):
            request = pending.request
            assert isinstance(request, RequestSoundboardSounds)
            if guild_id not in request.guild_ids:
                continue
            if (failed := self._count_part(pending, raw)) is not None:
                over.append(failed)
                continue
            pending.deadline = now + pending.timeout
            pending.sounds[guild_id] = tuple(_list(fields, "soundboard_sounds"))
            if pending.sounds.keys() >= set(request.guild_ids):
                del self.pending[pending.number]
                answer = SoundboardSounds(dict(pending.sounds))
                over.append(RequestAnswered(pending.number, request, answer))
        return over

    def _channels(self, guild_id: str, fields: _Fields) -> list[RequestAnswered | RequestFailed]:
        for pending in self._of(RequestChannelInfo):
            request = pending.request
            assert isinstance(request, RequestChannelInfo)
            if request.guild_id == guild_id:
                # One answer for each request, in order: requested fields may differ.
                channels = tuple(_list(fields, "channels"))
                del self.pending[pending.number]
                answer = ChannelInfo(request.guild_id, channels)
                return [RequestAnswered(pending.number, request, answer)]
        return []

    def _rate_limited(self, fields: _Fields, now: float) -> list[RequestAnswered | RequestFailed]:
        """Fail the request that the server limits, and delay those of its kind.

        https://docs.discord.com/developers/events/gateway-events#rate-limited
        """
        named = _positive(scalar(fields.get("opcode")))
        opcode = _MEMBERS if named is None else int(named)
        try:
            meta = raw_members(fields.get("meta", b""), _META)
        except DataError:
            meta = {}
        guild_id, nonce = scalar(meta.get("guild_id")), scalar(meta.get("nonce"))
        # A longer text is not an id, and it would be kept.
        guild_id = str(guild_id) if _is_id(guild_id) and len(str(guild_id)) <= _MAX_ID else None
        pending = self._limited(opcode, guild_id, nonce)
        if pending is None and guild_id is None and named is not None:
            # Without a guild the request is known only if it is the only one.
            of_kind = self._of(_KINDS.get(opcode, _PendingRequest))
            pending = of_kind[0] if len(of_kind) == 1 else None
        retry_after = _positive(scalar(fields.get("retry_after")))
        if retry_after is not None and opcode in _KINDS:
            # The delay that the server names replaces the documented limit.
            until = now + min(retry_after, SECONDS_PER_DAY)
            for key in self._limited_keys(opcode, guild_id, pending):
                self._hold(key, until, now)
        if pending is None:
            return []
        return [self._failed(pending, "the server limits this request", retry_after)]

    def _limited(self, opcode: int, guild_id: str | None, nonce: Any) -> _PendingRequest | None:
        if opcode == _MEMBERS:
            return self._members_request(guild_id, nonce)
        pending = self._of(_KINDS.get(opcode, _PendingRequest))
        return next((one for one in pending if guild_id in _guilds(one.request)), None)

    def _limited_keys(
        self, opcode: int, guild_id: str | None, pending: _PendingRequest | None
    ) -> list[_Key]:
        if pending is not None:
            return _keys(pending.request)[:1]
        if guild_id is None:
            return []
        # A command sent without a pending request.
        all_members = (_ALL_MEMBERS, guild_id)
        is_all = opcode == _MEMBERS and all_members in self._free_at
        return [all_members if is_all else (opcode, guild_id)]


def _keys(command: Any) -> list[_Key]:
    """Return the keys of the rate limits of a command, the narrowest first."""
    for opcode, kind in _KINDS.items():
        if isinstance(command, kind):
            keys: list[_Key] = [(opcode, guild_id) for guild_id in _guilds(command)]
            return [(_ALL_MEMBERS, command.guild_id), *keys] if _asks_for_all(command) else keys
    return []


def _guilds(request: Request) -> tuple[str, ...]:
    if isinstance(request, RequestSoundboardSounds):
        return request.guild_ids
    return (request.guild_id,) if isinstance(request.guild_id, str) else request.guild_id


def _positive(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def _asks_for_all(command: Any) -> bool:
    return (
        isinstance(command, RequestGuildMembers)
        and isinstance(command.guild_id, str)
        and not command.query
        and not command.limit
        and command.user_ids is None
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int)


def _list(fields: _Fields, name: str) -> list[Any]:
    """Decode a list; empty for another value. Raises `DataError`."""
    value = decode_raw(fields[name], Any) if name in fields else None
    return value if isinstance(value, list) else []


def _integer(value: Any) -> int | None:
    """Return a count or an index from 0 on, which some servers write as a float or as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 2**31 else None
