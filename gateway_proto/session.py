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
    optional,
)
from gateway_proto.config import Config, check_is_config
from gateway_proto.dialects import Then
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
        """Raise `LocalProtocolError` where a client with `config` could not resume it."""
        check_fields(self, _FIELDS)
        if len(self.id) > LONGEST_ID:
            raise LocalProtocolError(f"this session's id has {len(self.id)} characters")
        for name, own, other in (
            ("version", self.dialect, config.dialect.version),
            ("shard", self.shard, config.shard),
            ("token", self.fingerprint, fingerprint(config.token)),
        ):
            if own != other:
                what = "" if name == "token" else f" ({own}, not {other})"
                raise LocalProtocolError(
                    f"this session belongs to another {name}{what}: start without it"
                )


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
    "heartbeat_interval": optional(integer(0)),
}


def check_client(config: Config, session: Session | None, gateway: Url | None) -> None:
    """Check the arguments of a client; raises `LocalProtocolError`, also if they do not fit."""
    check_is_config(config)
    _GATEWAY.named("gateway", gateway)
    if session is not None:
        SESSION.named("session", session)
        session.check_fits(config)


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
        case DialPlanned(purpose=Purpose.IDENTIFY):
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
