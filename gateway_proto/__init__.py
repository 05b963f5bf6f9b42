"""A pure state machine for the Discord gateway: bytes and time in, bytes and events out.

     bytes --> frames --> inflate --> payloads --> state --> events
     bytes <-- frames <------------- payloads <--- state <-- commands
                                                    ^ v
                                           now --> timing --> next_timer

No clock, no chance and no I/O inside; `gateway_asyncio` and `gateway_trio` wire it to sockets.
"""

from gateway_proto._connection import Connection
from gateway_proto._layers.state import TRANSITIONS, Input, State
from gateway_proto.client import Client, Dial
from gateway_proto.client_connection import ClientConnection
from gateway_proto.commands import (
    Activity,
    Command,
    Heartbeat,
    Identify,
    Properties,
    Raw,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
    VoiceServerPing,
)
from gateway_proto.config import Config
from gateway_proto.dialects import (
    DIALECTS,
    Compression,
    Dialect,
    HeartbeatForm,
    Opcode,
    PresenceForm,
    Then,
    dialect,
)
from gateway_proto.endpoint import LookupConnection
from gateway_proto.errors import GatewayProtoError, LocalProtocolError
from gateway_proto.events import (
    By,
    Closed,
    DialFailed,
    DialPlanned,
    Dispatch,
    Event,
    GatewayFound,
    GaveUp,
    HeartbeatAcked,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    HttpRequested,
    MalformedPayload,
    Opened,
    Purpose,
    Ready,
    ReconnectRequested,
    Resumed,
    ServerEvent,
    ServerMessage,
    SessionInvalidated,
    SessionStartLimit,
    Unknown,
    UrlRefused,
)
from gateway_proto.intents import Intents
from gateway_proto.server import Server, ServerConfig, ServerConnection, ServerSession
from gateway_proto.session import Session, fingerprint, session_after
from gateway_proto.shards import identify_key, shard_of
from gateway_proto.urls import Trust, Url

__version__ = "0.1.0"

__all__ = [
    "DIALECTS",
    "TRANSITIONS",
    "Activity",
    "By",
    "Client",
    "ClientConnection",
    "Closed",
    "Command",
    "Compression",
    "Config",
    "Connection",
    "Dial",
    "DialFailed",
    "DialPlanned",
    "Dialect",
    "Dispatch",
    "Event",
    "GatewayFound",
    "GatewayProtoError",
    "GaveUp",
    "Heartbeat",
    "HeartbeatAcked",
    "HeartbeatForm",
    "HeartbeatRequested",
    "HeartbeatSent",
    "Hello",
    "HttpRequested",
    "Identify",
    "Input",
    "Intents",
    "LocalProtocolError",
    "LookupConnection",
    "MalformedPayload",
    "Opcode",
    "Opened",
    "PresenceForm",
    "Properties",
    "Purpose",
    "Raw",
    "Ready",
    "ReconnectRequested",
    "RequestChannelInfo",
    "RequestGuildMembers",
    "RequestSoundboardSounds",
    "Resume",
    "Resumed",
    "Server",
    "ServerConfig",
    "ServerConnection",
    "ServerEvent",
    "ServerMessage",
    "ServerSession",
    "Session",
    "SessionInvalidated",
    "SessionStartLimit",
    "State",
    "Then",
    "Trust",
    "Unknown",
    "UpdatePresence",
    "UpdateVoiceState",
    "Url",
    "UrlRefused",
    "VoiceServerPing",
    "dialect",
    "fingerprint",
    "identify_key",
    "session_after",
    "shard_of",
]
