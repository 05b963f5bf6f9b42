"""A pure state machine for the Discord gateway: bytes and time in, bytes and events out.

     bytes --> frames --> inflate --> payloads --> state --> events
     bytes <-- frames <------------- payloads <--- state <-- commands
                                                    ^ v
                                           now --> timing --> next_timer

The core does no I/O, reads no clock and has no random source. `gateway_asyncio` and `gateway_trio`
connect it to sockets. The server role and rarely used parts are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gateway_proto._connection import Connection
from gateway_proto._layers.state import TRANSITIONS, Input, State
from gateway_proto._timing.heartbeats import EarlyHeartbeats, ZombiePolicy
from gateway_proto._version import __version__ as __version__
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
    AfterClose,
    Compression,
    Dialect,
    Encoding,
    HeartbeatForm,
    Opcode,
    PresenceForm,
    Then,
    dialect,
)
from gateway_proto.endpoint import LookupConnection
from gateway_proto.errors import (
    DataError,
    GatewayProtoError,
    GaveUpError,
    LocalProtocolError,
    RequestError,
)
from gateway_proto.events import (
    By,
    ChannelInfo,
    Closed,
    CommandsWait,
    DialFailed,
    DialPlanned,
    Dispatch,
    EncodingIgnored,
    Event,
    GatewayFound,
    GaveUp,
    GuildMembers,
    HeartbeatAcked,
    HeartbeatLate,
    HeartbeatRequested,
    HeartbeatSent,
    Hello,
    HttpRequested,
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    MalformedPayload,
    Opened,
    Purpose,
    Ready,
    ReconnectRequested,
    RequestAnswered,
    RequestFailed,
    Resumed,
    ServerEvent,
    ServerMessage,
    SessionIgnored,
    SessionInvalidated,
    SessionStartLimit,
    SoundboardSounds,
    Suspended,
    Unknown,
    UploadedFile,
    UrlRefused,
)
from gateway_proto.gateway import GatewayBase, Turns
from gateway_proto.requests import Request
from gateway_proto.session import Session, fingerprint, session_after
from gateway_proto.shards import (
    IdentifyBudget,
    IdentifyQueue,
    ShardPlan,
    identify_key,
    plan_shards,
    shard_of,
)
from gateway_proto.urls import Trust, Url

if TYPE_CHECKING:
    from gateway_proto._telling import ServerSession
    from gateway_proto.backfill import Backfill
    from gateway_proto.dispatches import DispatchName
    from gateway_proto.faults import Fault, Scenario
    from gateway_proto.fleet import Fleet
    from gateway_proto.intents import INTENT_EVENTS, Intents
    from gateway_proto.journal import Journal
    from gateway_proto.server import Server
    from gateway_proto.server_config import ServerConfig
    from gateway_proto.server_connection import ServerConnection
    from gateway_proto.world import World

__all__ = [
    "DIALECTS",
    "INTENT_EVENTS",
    "TRANSITIONS",
    "Activity",
    "AfterClose",
    "Backfill",
    "By",
    "ChannelInfo",
    "Client",
    "ClientConnection",
    "Closed",
    "Command",
    "CommandsWait",
    "Compression",
    "Config",
    "Connection",
    "DataError",
    "Dial",
    "DialFailed",
    "DialPlanned",
    "Dialect",
    "Dispatch",
    "DispatchName",
    "EarlyHeartbeats",
    "Encoding",
    "EncodingIgnored",
    "Event",
    "Fault",
    "Fleet",
    "GatewayBase",
    "GatewayFound",
    "GatewayProtoError",
    "GaveUp",
    "GaveUpError",
    "GuildMembers",
    "Heartbeat",
    "HeartbeatAcked",
    "HeartbeatForm",
    "HeartbeatLate",
    "HeartbeatRequested",
    "HeartbeatSent",
    "Hello",
    "HttpRequested",
    "Identify",
    "IdentifyBudget",
    "IdentifyBudgetSpent",
    "IdentifyQueue",
    "IdentifySlotNeeded",
    "Input",
    "Intents",
    "Journal",
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
    "Request",
    "RequestAnswered",
    "RequestChannelInfo",
    "RequestError",
    "RequestFailed",
    "RequestGuildMembers",
    "RequestSoundboardSounds",
    "Resume",
    "Resumed",
    "Scenario",
    "Server",
    "ServerConfig",
    "ServerConnection",
    "ServerEvent",
    "ServerMessage",
    "ServerSession",
    "Session",
    "SessionIgnored",
    "SessionInvalidated",
    "SessionStartLimit",
    "ShardPlan",
    "SoundboardSounds",
    "State",
    "Suspended",
    "Then",
    "Trust",
    "Turns",
    "Unknown",
    "UpdatePresence",
    "UpdateVoiceState",
    "UploadedFile",
    "Url",
    "UrlRefused",
    "VoiceServerPing",
    "World",
    "ZombiePolicy",
    "dialect",
    "fingerprint",
    "identify_key",
    "plan_shards",
    "session_after",
    "shard_of",
]

_LATER = {
    "INTENT_EVENTS": "intents",
    "Backfill": "backfill",
    "DispatchName": "dispatches",
    "Fault": "faults",
    "Fleet": "fleet",
    "Intents": "intents",
    "Journal": "journal",
    "Scenario": "faults",
    "Server": "server",
    "ServerConfig": "server_config",
    "ServerConnection": "server_connection",
    "ServerSession": "_telling",
    "World": "world",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
