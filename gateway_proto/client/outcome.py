"""Facts about an ended connection, for its owner."""

from __future__ import annotations

import msgspec

from gateway_proto.commands import UpdatePresence
from gateway_proto.session import Session

__all__ = ["ConnectionOutcome"]


class ConnectionOutcome(msgspec.Struct):
    """Facts about a connection that its owner needs when it has ended."""

    presence: UpdatePresence | None
    """The last presence that the caller asked for."""
    session: Session | None = None
    """The session that survives; set at the end."""
    opened: bool = False
    """Whether the WebSocket was open."""
    reached: bool = False
    """Whether the gateway itself was reached: HELLO, or another control payload, was received.
    Versions without HELLO: whether the WebSocket was open."""
    identified_at: list[float] = []
    """Times at which Identify was sent."""
    ready_at: float | None = None
    """Time at which the connection first became ready."""
    redirect: str | None = None
    """URL that RECONNECT named."""
    reconnect_requested: bool = False
    """Whether RECONNECT was received."""
    resume_refused: bool = False
    """Whether the connection ended with INVALID_SESSION in answer to Resume."""
    resume_unanswered: bool = False
    """Whether it ended since Resume had no answer within `Config.resume_timeout`."""
