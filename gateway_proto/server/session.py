"""Server sessions: what a server keeps of a client between its connections.

A session filters dispatches by version, shard and intents, and keeps them for a resume.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway_proto._checks import LARGEST
from gateway_proto.commands import Identify, Resume, UpdatePresence
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import Closed, Initiator, SessionInvalidated
from gateway_proto.intents import Intents
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.dispatches import EncodedDispatch, Numbered
from gateway_proto.server.members import MembersView
from gateway_proto.shard_ids import shard_of
from gateway_proto.timing.rate_limit import SlidingWindow
from gateway_proto.versions import Encoding, NextAction, ProtocolVersion

if TYPE_CHECKING:
    from gateway_proto.server.connection import ServerConnection

__all__ = ["ServerSession", "SessionRegistry", "invalidates_session", "keeps_session"]

_DIRECT = (
    Intents.DIRECT_MESSAGES
    | Intents.DIRECT_MESSAGE_REACTIONS
    | Intents.DIRECT_MESSAGE_TYPING
    | Intents.DIRECT_MESSAGE_POLLS
)
_MESSAGE_CONTENT = int(Intents.MESSAGE_CONTENT)
_PRIVATE = (1, 3)
"""Types of the channels for direct messages: of two users, and of a group.

<https://docs.discord.com/developers/resources/channel#channel-object-channel-types>
"""


class ServerSession:
    """State of a client that the server keeps between its connections."""

    def __init__(
        self,
        id_: str,
        identify: Identify,
        version: ProtocolVersion,
        replay_limit: int,
        replay_bytes: int = LARGEST,
    ) -> None:
        self.id: str = id_
        self.token: str = identify.token.removeprefix("Bot ")
        self.shard: tuple[int, int] | None = identify.shard
        self.intents: int | None = identify.intents if version.intents else None
        """None means that the session receives the dispatches of every intent."""
        self.compress: bool = identify.compress
        self.version: ProtocolVersion = version
        self.sequence: int = 0
        """Sequence of the last dispatch."""
        self.connection: ServerConnection | None = None
        """None while the client is not connected."""
        self.large_threshold: int = identify.large_threshold or version.large_threshold
        """Members of a guild above which GUILD_CREATE omits offline members."""
        self.presence: UpdatePresence | None = identify.presence
        """Presence of the bot; None means the default one."""
        self._presences = SlidingWindow(*version.presence_limit)
        self.encoding: Encoding = Encoding.JSON
        """Encoding of the last connection."""
        self._replay: deque[Numbered] = deque()
        self._replay_size = 0  # bytes
        self._replay_limits = (replay_limit, replay_bytes)
        self._forgotten = 0  # the sequence up to which dispatches are no longer kept

    def __repr__(self) -> str:
        """Return the repr, without the token, the session's id and the data of dispatches."""
        number = None if self.connection is None else self.connection.number
        return (
            f"ServerSession(version={self.version.number}, shard={self.shard}, "
            f"intents={self.intents}, sequence={self.sequence}, connection={number})"
        )

    def receives(self, name: str, guild_id: str | int | None, data: Any = None) -> bool:
        """Whether a dispatch is for this session, by its version, shard and intents."""
        if not self.version.has_dispatch(name):
            return False
        if not self.version.private_channels and _creates_private_channel(name, data):
            return False
        needed = _needed(name, of_guild=guild_id is not None)
        if self.shard is not None and (guild_id is not None or needed):
            # <https://docs.discord.com/developers/events/gateway#sharding>: direct messages go to
            # shard 0.
            mine = 0 if guild_id is None else shard_of(guild_id, self.shard[1])
            if self.shard[0] != mine:
                return False
        return not needed or self.intents is None or bool(needed & self.intents)

    def update_presence(self, presence: UpdatePresence, *, now: float) -> bool:
        """Set the presence, and return True; return False if it exceeds the rate limit."""
        if self._presences.next_slot_at(now) > now:
            return False
        self._presences.record(now)
        self.presence = presence
        return True

    def members_view(self, user_id: str) -> MembersView:
        """Return what the session sees of members; `user_id` is that of the bot."""
        return MembersView(self.intents, self.large_threshold, user_id)

    @property
    def has_message_content(self) -> bool:
        """Whether messages of guilds have their content."""
        asked = self.intents is None or bool(self.intents & _MESSAGE_CONTENT)
        return asked or not self.version.content_intent

    def add_dispatch(self, dispatch: EncodedDispatch, *, replay: bool = True) -> Numbered:
        """Return a dispatch with the next sequence, and keep it for a replay."""
        self.sequence += 1
        numbered = self.sequence, dispatch
        if replay:
            self._keep(numbered)
        return numbered

    def _keep(self, numbered: Numbered) -> None:
        """Keep a dispatch for a resume; drop the oldest ones beyond the limits."""
        most, most_bytes = self._replay_limits
        self._replay.append(numbered)
        self._replay_size += numbered[1].size
        while len(self._replay) > most or self._replay_size > most_bytes:
            self._forgotten, oldest = self._replay.popleft()
            self._replay_size -= oldest.size

    @property
    def replay_size(self) -> int:
        """Size in bytes of the dispatches that are kept for a resume."""
        return self._replay_size

    def dispatches_after(
        self, after: int, encoding: Encoding = Encoding.JSON
    ) -> list[Numbered] | None:
        """Return the dispatches after a sequence, for a connection with this encoding.

        None if they are not all kept, or one of them cannot be written in this encoding.
        """
        if after < self._forgotten:
            return None
        missed = [numbered for numbered in self._replay if numbered[0] > after]
        if encoding is Encoding.JSON:
            return missed
        try:
            return [(sequence, dispatch.encoded(encoding)) for sequence, dispatch in missed]
        except LocalProtocolError:
            return None


class SessionRegistry:
    """The sessions of a server: those with a connection, and those that may be resumed."""

    def __init__(self, config: Callable[[], ServerConfig]) -> None:
        self._config = config
        self.sessions: dict[str, ServerSession] = {}
        """By id."""
        self._detached: dict[str, float] = {}  # since when, by id, oldest first
        self._count = 0

    def has_capacity(self, *, now: float) -> bool:
        """Whether a session can be opened, if need be in place of one without a connection."""
        self.expire(now)
        return len(self.sessions) < self._config().sessions_limit or bool(self._detached)

    def open(self, identify: Identify, version: ProtocolVersion) -> ServerSession:
        """Open a session; at the limit the oldest without a connection is dropped for it."""
        config = self._config()
        if len(self.sessions) >= config.sessions_limit and self._detached:
            self.forget(self.sessions[next(iter(self._detached))])
        self._count += 1
        random = config.random or (lambda: 0.5)
        unguessable = "".join(f"{int(random() * 2**32):08x}" for _ in range(4))
        session = ServerSession(
            f"{unguessable}{self._count:x}",
            identify,
            version,
            config.replay_limit,
            config.replay_bytes,
        )
        self.sessions[session.id] = session
        return session

    def find(self, resume: Resume, version: ProtocolVersion, *, now: float) -> ServerSession | None:
        """Return the session that a client may resume, or None."""
        self.expire(now)
        session = self.sessions.get(resume.session_id)
        if session is None or session.version is not version:
            return None
        token = resume.token
        if token is None:
            return None if version.resume_with_token else session
        return session if token.removeprefix("Bot ") == session.token else None

    def attach(self, session: ServerSession, connection: ServerConnection) -> None:
        """Give a session its connection."""
        session.connection = connection
        self._detached.pop(session.id, None)

    def detach(self, session: ServerSession, *, now: float, forget: bool) -> None:
        """Take the connection from a session, and forget the session or keep it for a resume."""
        session.connection = None
        if forget:
            self.forget(session)
        elif session.id in self.sessions:
            self._detached[session.id] = now

    def forget(self, session: ServerSession) -> None:
        """Remove a session, so that it can no longer be resumed."""
        self.sessions.pop(session.id, None)
        self._detached.pop(session.id, None)
        session.connection = None

    def drop_connection(self, session: ServerSession, *, now: float) -> None:
        """Drop the connection of a session that the client lost before the server noticed it."""
        if session.connection is not None:
            session.connection.drop(now=now)

    def end(self, session: ServerSession, *, now: float) -> None:
        """Remove a session, and drop the connection that still has it."""
        self.drop_connection(session, now=now)
        self.forget(session)

    def expire(self, now: float) -> None:
        """Remove the sessions without a connection whose time is over."""
        if not self._detached:
            return
        lifetime = self._config().session_lifetime
        while self._detached:
            id_, since = next(iter(self._detached.items()))
            if since + lifetime > now:
                return
            del self._detached[id_]
            del self.sessions[id_]


def keeps_session(message: SessionInvalidated, version: ProtocolVersion) -> bool:
    """Whether a session can be resumed: `d` says so; before version 6 it never can.

    <https://docs.discord.com/developers/events/gateway-events#invalid-session>
    """
    return message.resumable and version.invalid_session_has_flag


def invalidates_session(closed: Closed, version: ProtocolVersion) -> bool:
    """Whether the end of a connection ends its session."""
    if closed.initiator is Initiator.PEER:
        # <https://docs.discord.com/developers/events/gateway#disconnections>: a client that closes
        # with 1000 or 1001 invalidates its session.
        return closed.code in (1000, 1001)
    # Codes after which a client has to identify or to stop end it as well: 4007, 4014. After 4009
    # gateways let clients resume, though the documentation asks for Identify.
    after = version.close_policies.get(closed.code or 0)
    return after is not None and after.next_action is not NextAction.RESUME


@functools.cache
def _needed(name: str, *, of_guild: bool) -> int:
    """Return the intents of which a dispatch needs one; 0 if it needs no intent.

    An int: `&` of two enumerations takes 3 µs, which each session would pay.
    """
    needed = Intents.for_event(name)
    # Without a guild it may be a direct message, or the incomplete data of a test.
    return int(needed & ~_DIRECT if of_guild else needed)


def _creates_private_channel(name: str, data: Any) -> bool:
    """Whether a dispatch is CHANNEL_CREATE of a channel for direct messages."""
    return name == "CHANNEL_CREATE" and isinstance(data, Mapping) and data.get("type") in _PRIVATE
