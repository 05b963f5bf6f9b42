"""The interface of a server for its connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gateway_proto._control import Wait
from gateway_proto._layers.payloads import Payload
from gateway_proto._telling import ServerSession
from gateway_proto.commands import Identify, Resume
from gateway_proto.dialects import Dialect
from gateway_proto.endpoint import Answer
from gateway_proto.events import GatewayFound
from gateway_proto.faults import Fault
from gateway_proto.rest import Rest
from gateway_proto.server_config import ServerConfig
from gateway_proto.world import World

if TYPE_CHECKING:
    from gateway_proto.server_connection import ServerConnection

__all__ = ["Host"]


class Host(Protocol):
    """What a connection needs of its server."""

    config: ServerConfig
    world: World
    rest: Rest

    def dispatch(self, name: str, data: Any, *, now: float) -> int:
        """Dispatch to the sessions that get it."""
        ...

    def open_session(self, identify: Identify, dialect: Dialect) -> ServerSession:
        """A new session."""
        ...

    def find_session(self, resume: Resume, dialect: Dialect, *, now: float) -> ServerSession | None:
        """The session that a client may go on with; None: it may not."""
        ...

    def leave(self, connection: ServerConnection, *, now: float, forget: bool) -> None:
        """A connection is closed."""
        ...

    def next_upgrade(self) -> tuple[int, tuple[Fault, ...]]:
        """The number of one more connection, and what goes wrong on it."""
        ...

    def control(
        self, method: str, path: str, query: str, body: bytes, *, now: float
    ) -> Answer | Wait:
        """What the control route answers."""
        ...

    def wait(self, connection: ServerConnection) -> None:
        """Let a connection check after each entry of the journal whether its wait is over."""
        ...

    def find_entry(self, wait: Wait) -> Mapping[str, Any] | None:
        """The first entry of the journal that a wait is for; None: not yet."""
        ...

    def note(self, event: str, connection: int | None, **fields: Any) -> None:
        """Something came, for the journal."""
        ...

    def note_payload(self, event: str, connection: int | None, payload: Payload) -> None:
        """A command came, for the journal."""
        ...

    def detach(self, session: ServerSession, *, now: float, forget: bool) -> None:
        """Take the connection from a session, and forget the session or keep it for a resume."""
        ...

    def back(self, session: ServerSession) -> None:
        """A session has a connection again."""
        ...

    def allows(self, token: str) -> bool:
        """Whether a token is let in."""
        ...

    def has_capacity(self, *, now: float) -> bool:
        """Whether there may be one more session."""
        ...

    def may_identify(self, shard: tuple[int, int] | None, *, now: float) -> bool:
        """Whether it is not too soon for a shard; if so, it is counted."""
        ...

    def has_sessions_left(self, *, now: float) -> bool:
        """Whether the day's sessions are not used up."""
        ...

    def members_wait(self, token: str, guild_id: str, *, now: float) -> float:
        """Seconds until a bot may ask for all members of a guild; 0 counts the request."""
        ...

    def found(self, url: str, *, now: float) -> GatewayFound:
        """What `/gateway/bot` answers."""
        ...
