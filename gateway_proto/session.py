"""Session: the state that a resume needs, derived from events.

    session = session_after(None, ready)
    session = session_after(session, event)  # for each event, in order

Fold all received events to resume within this process. Fold only the events that your application
has *handled*, and store the result, to resume after a crash without losing any.

`GuildBackfill` folds events in the same way. READY only lists guild ids; each guild then arrives in
a GUILD_CREATE <https://docs.discord.com/developers/events/gateway-events#guild-create>.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from gateway_proto._checks import (
    BOOL,
    CALLBACK,
    JSON,
    SHARD,
    TEXT,
    WORD,
    Check,
    as_text,
    check_fields,
    instance_of,
    integer,
    is_text,
    member_of,
    optional,
)
from gateway_proto.config import Config, check_is_config
from gateway_proto.errors import DataError, LocalProtocolError
from gateway_proto.events import (
    Closed,
    DialPurpose,
    DialScheduled,
    Dispatch,
    Event,
    Initiator,
    Ready,
    Resumed,
    SessionIgnored,
    SessionInvalidated,
)
from gateway_proto.urls import Url
from gateway_proto.versions import Encoding, NextAction

__all__ = [
    "MAX_SESSION_ID_LENGTH",
    "GuildBackfill",
    "Session",
    "session_after",
    "token_fingerprint",
]

MAX_SESSION_ID_LENGTH = 256
"""Maximum length of a session id in characters, so that Resume stays within the payload limit."""


def token_fingerprint(token: str) -> str:
    """Return 16 hexadecimal digits that identify a token without revealing it."""
    if not is_text(token):  # which is not shown, as it may be a token
        raise LocalProtocolError(f"token is of type {type(token).__name__}: expected a str")
    return hashlib.sha256(b"gateway_proto session\0" + token.encode()).hexdigest()[:16]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """State that a resume needs, in this process or another."""

    id: str
    sequence: int
    resume_url: str | None = None
    """URL of READY, without a query. None if READY had none."""
    shard: tuple[int, int] | None = None
    version: int
    token_fingerprint: str = ""
    """Fingerprint of the token that opened the session, see `token_fingerprint`."""
    encoding: Encoding = Encoding.JSON
    """Encoding of the connection that opened the session."""
    heartbeat_interval: int | None = None
    """Milliseconds, from READY or RESUMED in versions without HELLO. Stays in effect if the next
    RESUMED has none."""

    def to_json(self) -> str:
        """Return one line of JSON, which `from_json` converts to an equal value."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Session:
        """Return the session of a `to_json` text. Raises `LocalProtocolError` if it is invalid."""
        JSON.named("text", text)
        try:
            session = msgspec.json.decode(as_text(text), type=cls)
            check_fields(session, _FIELDS)
        except (msgspec.DecodeError, LocalProtocolError, UnicodeError, RecursionError) as error:
            raise LocalProtocolError(f"text is not a session: {error}") from None
        return session

    def after(self, event: Event) -> Session | None:
        """Return the session after `event`, or None if it ended."""
        return session_after(self, event)

    def check_fits(self, config: Config) -> None:
        """Raise `LocalProtocolError` unless a client with `config` can resume this session."""
        check_is_config(config)
        check_fields(self, _FIELDS)
        problem = self.misfit(config)
        if problem is not None:
            raise LocalProtocolError(f"session cannot be resumed: {problem}")

    def misfit(self, config: Config) -> str | None:
        """Return why a client with `config` cannot resume this session, or None if it can."""
        check_is_config(config)
        if len(self.id) > MAX_SESSION_ID_LENGTH:
            size = len(self.id)
            return f"session id has {size} characters: expected at most {MAX_SESSION_ID_LENGTH}"
        # "When you resume, you need to provide the same version and encoding":
        # https://docs.discord.com/developers/events/gateway#resuming
        for name, own, other in (
            ("version", self.version, config.version.number),
            ("encoding", self.encoding.value, config.encoding.value),
            ("shard", self.shard, config.shard),
        ):
            if own != other:
                return f"session has another {name} {own}: expected {other}"
        is_same_token = self.token_fingerprint == token_fingerprint(config.token)
        return None if is_same_token else "session has another token: expected that of Config.token"


SESSION: Check = instance_of(
    Session, "a Session, such as Session.from_json(text) of what to_json() returned"
)
_GATEWAY = optional(instance_of(Url, "a Url, such as Url.parse('wss://gateway.example')"))
_ON_SLOT_NEEDED = optional(
    Check(CALLBACK.allows, "a function of a connection and the time that is not async")
)
_FIELDS = {
    "id": WORD,
    "sequence": integer(0, 2**63 - 1),
    "resume_url": optional(TEXT),
    "shard": optional(SHARD),
    "version": integer(0),
    "token_fingerprint": TEXT,
    "encoding": member_of(Encoding),
    "heartbeat_interval": optional(integer(0)),
}


def check_session(name: str, session: Session | None) -> None:
    """Check the argument `name`, a session, and its fields."""
    if session is not None:
        SESSION.named(name, session)
        check_fields(session, _FIELDS)


def check_client(
    config: Config,
    session: Session | None,
    gateway: Url | None,
    lookup_only: bool,
    on_slot_needed: Callable[..., None] | None,
) -> None:
    """Check the arguments of a client. Raises `LocalProtocolError`."""
    check_is_config(config)
    _GATEWAY.named("gateway", gateway)
    check_session("session", session)
    BOOL.named("lookup_only", lookup_only)
    check_callback("on_slot_needed", on_slot_needed)


def check_callback(name: str, callback: Callable[..., None] | None) -> None:
    """Check the argument `name`, a function of a connection and the time."""
    _ON_SLOT_NEEDED.named(name, callback)


def session_after(session: Session | None, event: Event) -> Session | None:
    """Return the session after an event, or None without a session."""
    match event:
        case Ready():
            return Session(
                id=event.session_id,
                sequence=event.sequence or 0,
                resume_url=event.resume_gateway_url,
                shard=event.shard,
                version=event.version,
                token_fingerprint=event.token_fingerprint,
                encoding=event.encoding,
                heartbeat_interval=event.heartbeat_interval,
            )
        case Resumed() if session is not None:
            return msgspec.structs.replace(
                session,
                sequence=session.sequence if event.sequence is None else event.sequence,
                heartbeat_interval=event.heartbeat_interval or session.heartbeat_interval,
            )
        case Dispatch(sequence=int(sequence)) if session is not None:
            return msgspec.structs.replace(session, sequence=sequence)
        # https://docs.discord.com/developers/events/gateway-events#invalid-session
        case SessionInvalidated(resumable=False):
            return None
        case SessionIgnored() | DialScheduled(purpose=DialPurpose.IDENTIFY):
            return None
        case Closed() if _loses_session(event):
            return None
        case _:
            return session


def _loses_session(closed: Closed) -> bool:
    # https://docs.discord.com/developers/events/gateway#disconnecting: codes 1000 and 1001 end the
    # session if the client sends them, and not if the server does.
    if closed.initiator is Initiator.SELF and closed.code in (1000, 1001):
        return True
    return closed.next_action is NextAction.IDENTIFY or (
        closed.next_action is NextAction.STOP and closed.initiator is Initiator.PEER
    )


class _Guild(msgspec.Struct):
    id: str | int
    unavailable: bool | None = None


class _Guilds(msgspec.Struct):
    guilds: list[_Guild] = []


class GuildBackfill(msgspec.Struct, frozen=True):
    """Ids of guilds that READY listed and that have not arrived. None means before READY."""

    missing: frozenset[str] | None = None

    @property
    def done(self) -> bool:
        """Whether READY and all of its guilds have arrived, or were reported as unavailable."""
        return self.missing is not None and not self.missing

    def after(self, event: Event) -> GuildBackfill:
        """Return the state after `event`."""
        if isinstance(event, Ready):
            guilds = _decoded(event, _Guilds())
            return GuildBackfill(
                frozenset(str(guild.id) for guild in guilds.guilds if guild.unavailable)
            )
        if not self.missing or not isinstance(event, Dispatch):
            return self
        # A guild with an outage is deleted as unavailable, and arrives later:
        # https://docs.discord.com/developers/events/gateway-events#guild-delete
        if event.name not in ("GUILD_CREATE", "GUILD_DELETE"):
            return self
        guild = _decoded(event, _Guild(""))
        return GuildBackfill(self.missing - {str(guild.id)})


def _decoded(event: Dispatch, otherwise: Any) -> Any:
    try:
        return event.decode(type(otherwise))
    except DataError:
        return otherwise
