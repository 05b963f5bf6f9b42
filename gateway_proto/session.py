"""events → Session: the value that outlives a connection.

    session = session_after(None, ready)
    session = session_after(session, event)  # for each event, in order

Fold what the machine received, and you have what a resume on the same process needs. Fold what
your application has *handled* and store that, and a process killed at any instant resumes without
missing anything that it had not finished.
"""

from __future__ import annotations

import hashlib

import msgspec

from gateway_proto._checks import (
    JSON,
    SHARD,
    TEXT,
    WORD,
    Check,
    check_fields,
    instance_of,
    integer,
    member_of,
    optional,
)
from gateway_proto.config import Config, check_is_config
from gateway_proto.dialects import Encoding, Then
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import (
    By,
    Closed,
    DialPlanned,
    Dispatch,
    Event,
    Purpose,
    Ready,
    Resumed,
    SessionIgnored,
    SessionInvalidated,
)
from gateway_proto.urls import Url

__all__ = ["LONGEST_ID", "Session", "fingerprint", "session_after"]

LONGEST_ID = 256
"""Characters of a session id; one that is longer has no room in Resume."""


def fingerprint(token: str) -> str:
    """Tells one token from another without holding it: 16 hexadecimal digits."""
    return hashlib.sha256(b"gateway_proto session\0" + token.encode()).hexdigest()[:16]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a resume needs, on this connection's end or in another process."""

    id: str
    sequence: int
    resume_url: str | None = None
    """As READY gave it, without a query; None where it gave none."""
    shard: tuple[int, int] | None = None
    dialect: int
    fingerprint: str = ""
    """Of the token that opened it, see `fingerprint`."""
    encoding: Encoding = Encoding.JSON
    """Of the connection that opened it."""
    heartbeat_interval: int | None = None
    """Milliseconds, as READY or RESUMED named it in versions without HELLO; it stays in effect if
    the next RESUMED names none."""

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back into an equal value."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Session:
        """The session of `to_json`; raises `LocalProtocolError` where the text is none."""
        JSON.named("text", text)
        try:
            session = msgspec.json.decode(text, type=cls)
            check_fields(session, _FIELDS)
        except (msgspec.DecodeError, LocalProtocolError, UnicodeError, RecursionError) as error:
            raise LocalProtocolError(f"this text is no session: {error}") from None
        return session

    def after(self, event: Event) -> Session | None:
        """The session once `event` has happened; None once it is lost."""
        return session_after(self, event)

    def check_fits(self, config: Config) -> None:
        """Raise `LocalProtocolError` if a client with `config` cannot resume this session."""
        check_fields(self, _FIELDS)
        problem = self.misfit(config)
        if problem is not None:
            raise LocalProtocolError(f"this session cannot be resumed: {problem}")

    def misfit(self, config: Config) -> str | None:
        """Return why a client with `config` cannot resume this session; None if it can."""
        if len(self.id) > LONGEST_ID:
            return f"its id has {len(self.id)} characters, more than {LONGEST_ID}"
        # "When you resume, you need to provide the same version and encoding":
        # https://docs.discord.com/developers/events/gateway#resuming
        for name, own, other in (
            ("version", self.dialect, config.dialect.version),
            ("encoding", self.encoding.value, config.encoding.value),
            ("shard", self.shard, config.shard),
        ):
            if own != other:
                return f"it belongs to another {name} ({own}, not {other})"
        is_same_token = self.fingerprint == fingerprint(config.token)
        return None if is_same_token else "it belongs to another token"


SESSION: Check = instance_of(
    Session, "a Session, such as Session.from_json(text) of what to_json() returned"
)
_GATEWAY = optional(instance_of(Url, "a Url, such as Url.parse('wss://gateway.example')"))
_FIELDS = {
    "id": WORD,
    "sequence": integer(0, 2**63 - 1),
    "resume_url": optional(TEXT),
    "shard": optional(SHARD),
    "dialect": integer(0),
    "fingerprint": TEXT,
    "encoding": member_of(Encoding),
    "heartbeat_interval": optional(integer(0)),
}


def check_session(name: str, session: Session | None) -> None:
    """Check a session that is passed as the argument `name`, and its fields."""
    if session is not None:
        SESSION.named(name, session)
        check_fields(session, _FIELDS)


def check_client(config: Config, session: Session | None, gateway: Url | None) -> None:
    """Check the arguments of a client; raises `LocalProtocolError`."""
    check_is_config(config)
    _GATEWAY.named("gateway", gateway)
    check_session("session", session)


def session_after(session: Session | None, event: Event) -> Session | None:
    """Fold one event into a session, or into the absence of one."""
    match event:
        case Ready():
            return Session(
                id=event.session_id,
                sequence=event.sequence or 0,
                resume_url=event.resume_gateway_url,
                shard=event.shard,
                dialect=event.version,
                fingerprint=event.fingerprint,
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
        case SessionInvalidated(resumable=False):
            return None
        case SessionIgnored() | DialPlanned(purpose=Purpose.IDENTIFY):
            return None
        case Closed() if _loses_session(event):
            return None
        case _:
            return session


def _loses_session(closed: Closed) -> bool:
    # Codes 1000 and 1001 sent by a client end its session; those received do not.
    if closed.by is By.SELF and closed.code in (1000, 1001):
        return True
    return closed.then is Then.IDENTIFY or (closed.then is Then.STOP and closed.by is By.PEER)
