"""States and inputs of connections, and the transition tables of both roles.

A transition is (state, input) → next state. An input without a transition is ignored in the client
role (servers vary) and closes the connection in the server role (client bugs should be visible).
The effects of transitions are in the modules of the roles.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from gateway_proto.versions import ProtocolVersion

__all__ = ["TRANSITIONS", "Input", "State", "TransitionTable", "client_table", "server_table"]


class State(enum.Enum):
    """State of a connection, for both roles."""

    CONNECTING = "connecting"
    """HTTP upgrade request and response: RFC 6455, section 4."""
    AWAITING_HELLO = "awaiting_hello"
    """Waiting for HELLO."""
    IDENTIFYING = "identifying"
    """The client waits for READY; the server waits for Identify or Resume."""
    RESUMING = "resuming"
    """Waiting for RESUMED, which follows the replayed dispatches."""
    READY = "ready"
    CLOSING = "closing"
    """A close frame was sent. Waiting for the close frame of the peer: RFC 6455, section 7.1.2."""
    CLOSED = "closed"


class Input(enum.Enum):
    """Input of the state machine: a received or sent message, or the end of the connection."""

    OPENED = "opened"
    """The WebSocket is open."""
    HELLO = "hello"
    IDENTIFY = "identify"
    RESUME = "resume"
    READY = "ready"
    RESUMED = "resumed"
    DISPATCH = "dispatch"
    HEARTBEAT = "heartbeat"
    ACK = "ack"
    RECONNECT = "reconnect"
    INVALID_SESSION = "invalid_session"
    INVALID_SESSION_SAME_CONNECTION = "invalid_session_same_connection"
    """INVALID_SESSION, after which the client identifies on the same connection."""
    COMMAND = "command"
    """Any command but Identify, Resume and Heartbeat."""
    UNKNOWN = "unknown"
    """An unknown op code."""
    CLOSE = "close"
    """A close frame was sent."""
    END = "end"
    """The transport or the WebSocket has ended."""


TransitionTable: TypeAlias = Mapping[tuple[State, Input], State]

_S, _I = State, Input

_ENDS: TransitionTable = {(state, _I.END): _S.CLOSED for state in State if state is not _S.CLOSED}

# The client answers or reports these in every state with an open WebSocket.
_ANYWHERE: TransitionTable = {
    (state, input_): state
    for state in (_S.AWAITING_HELLO, _S.IDENTIFYING, _S.RESUMING, _S.READY)
    for input_ in (_I.HELLO, _I.HEARTBEAT, _I.ACK, _I.DISPATCH, _I.UNKNOWN)
}

# RECONNECT may arrive before or instead of HELLO:
# https://github.com/discord/discord-api-docs/pull/6877
_LEAVES: TransitionTable = {
    (state, input_): _S.CLOSED
    for state in (_S.AWAITING_HELLO, _S.IDENTIFYING, _S.RESUMING, _S.READY)
    for input_ in (_I.RECONNECT, _I.INVALID_SESSION)
}

# `Config.identify_on_same_connection`: op 9 does not require a new connection, see
# https://github.com/discord/discord-api-docs/issues/314.
_STAYS: TransitionTable = {
    (_S.IDENTIFYING, _I.IDENTIFY): _S.IDENTIFYING,
    **{
        (state, _I.INVALID_SESSION_SAME_CONNECTION): _S.IDENTIFYING
        for state in (_S.IDENTIFYING, _S.RESUMING, _S.READY)
    },
}

_CLOSES: TransitionTable = {
    (_S.CONNECTING, _I.CLOSE): _S.CLOSED,
    (_S.AWAITING_HELLO, _I.CLOSE): _S.CLOSING,
    (_S.IDENTIFYING, _I.CLOSE): _S.CLOSING,
    (_S.RESUMING, _I.CLOSE): _S.CLOSING,
    (_S.READY, _I.CLOSE): _S.CLOSING,
}

_SESSION: TransitionTable = {
    (_S.IDENTIFYING, _I.READY): _S.READY,
    (_S.RESUMING, _I.READY): _S.READY,
    (_S.READY, _I.READY): _S.READY,
    (_S.IDENTIFYING, _I.RESUMED): _S.IDENTIFYING,
    (_S.RESUMING, _I.RESUMED): _S.READY,
    (_S.READY, _I.RESUMED): _S.READY,
}

_CLIENT_WITH_HELLO: TransitionTable = {
    (_S.CONNECTING, _I.OPENED): _S.AWAITING_HELLO,
    (_S.AWAITING_HELLO, _I.IDENTIFY): _S.IDENTIFYING,
    (_S.AWAITING_HELLO, _I.RESUME): _S.RESUMING,
}

_CLIENT_WITHOUT_HELLO: TransitionTable = {
    (_S.CONNECTING, _I.IDENTIFY): _S.IDENTIFYING,
    (_S.CONNECTING, _I.RESUME): _S.RESUMING,
}

_SERVER: TransitionTable = {
    (_S.CONNECTING, _I.OPENED): _S.IDENTIFYING,
    (_S.IDENTIFYING, _I.HEARTBEAT): _S.IDENTIFYING,
    (_S.IDENTIFYING, _I.IDENTIFY): _S.READY,
    (_S.IDENTIFYING, _I.RESUME): _S.READY,
    (_S.READY, _I.HEARTBEAT): _S.READY,
    (_S.READY, _I.COMMAND): _S.READY,
    # The client may identify or resume again on the same connection:
    # https://github.com/discord/discord-api-docs/issues/314
    (_S.READY, _I.INVALID_SESSION): _S.IDENTIFYING,
    (_S.CONNECTING, _I.CLOSE): _S.CLOSED,
    (_S.IDENTIFYING, _I.CLOSE): _S.CLOSING,
    (_S.READY, _I.CLOSE): _S.CLOSING,
}

_CLIENT = {**_ENDS, **_ANYWHERE, **_LEAVES, **_STAYS, **_CLOSES, **_SESSION}

TRANSITIONS: Mapping[str, TransitionTable] = MappingProxyType(
    {
        "client_with_hello": MappingProxyType({**_CLIENT, **_CLIENT_WITH_HELLO}),
        "client_without_hello": MappingProxyType(
            {
                cell: after
                for cell, after in {**_CLIENT, **_CLIENT_WITHOUT_HELLO}.items()
                if cell[0] is not _S.AWAITING_HELLO
            }
        ),
        "server": MappingProxyType(
            {
                cell: after
                for cell, after in {**_ENDS, **_SERVER}.items()
                if cell[0] not in (_S.AWAITING_HELLO, _S.RESUMING)
            }
        ),
    }
)
"""All tables, by their names in the documentation."""


def client_table(version: ProtocolVersion) -> TransitionTable:
    """Return the table of a client of a protocol version."""
    return TRANSITIONS["client_with_hello" if version.sends_hello else "client_without_hello"]


def server_table() -> TransitionTable:
    """Return the table of a server of any version."""
    return TRANSITIONS["server"]
