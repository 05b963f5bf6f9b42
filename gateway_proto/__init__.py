"""A pure state machine for the Discord gateway: bytes and time in, bytes and events out.

     bytes --> frames --> decompression --> payloads --> state --> events
     bytes <-- frames <------------- payloads <--- state <-- commands
                                                    ^ v
                                           now --> timing --> next_timer

The core does no I/O, reads no clock and has no random source. `gateway_asyncio` and `gateway_trio`
connect it to sockets. The server role is `gateway_proto.server`; this module does not import it.
"""

from gateway_proto._version import __version__ as __version__
from gateway_proto.client.client import Client, Dial
from gateway_proto.client.connection import ClientConnection
from gateway_proto.commands import (
    Activity,
    Command,
    Heartbeat,
    Identify,
    IdentifyProperties,
    RawCommand,
    Request,
    RequestChannelInfo,
    RequestGuildMembers,
    RequestSoundboardSounds,
    Resume,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.config import Config
from gateway_proto.connection import Connection
from gateway_proto.errors import (
    DataError,
    GatewayProtoError,
    GaveUpError,
    LocalProtocolError,
    RequestError,
)
from gateway_proto.events import (
    ChannelInfo,
    ClockJumped,
    Closed,
    CommandsDelayed,
    DialFailed,
    DialPurpose,
    DialScheduled,
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
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    Initiator,
    MalformedPayload,
    Opened,
    Ready,
    ReconnectRequested,
    RequestAnswered,
    RequestFailed,
    Resumed,
    SessionIgnored,
    SessionInvalidated,
    SessionStartLimit,
    SoundboardSounds,
    UnknownPayload,
    UrlRejected,
)
from gateway_proto.intents import DispatchName, Intents
from gateway_proto.session import Session
from gateway_proto.state import State
from gateway_proto.timing.heartbeat import EarlyHeartbeats, ZombiePolicy
from gateway_proto.versions import (
    CloseCodePolicy,
    Compression,
    Encoding,
    NextAction,
    Opcode,
    ProtocolVersion,
)

__all__ = [
    "Activity",
    "ChannelInfo",
    "Client",
    "ClientConnection",
    "ClockJumped",
    "CloseCodePolicy",
    "Closed",
    "Command",
    "CommandsDelayed",
    "Compression",
    "Config",
    "Connection",
    "DataError",
    "Dial",
    "DialFailed",
    "DialPurpose",
    "DialScheduled",
    "Dispatch",
    "DispatchName",
    "EarlyHeartbeats",
    "Encoding",
    "EncodingIgnored",
    "Event",
    "GatewayFound",
    "GatewayProtoError",
    "GaveUp",
    "GaveUpError",
    "GuildMembers",
    "Heartbeat",
    "HeartbeatAcked",
    "HeartbeatLate",
    "HeartbeatRequested",
    "HeartbeatSent",
    "Hello",
    "Identify",
    "IdentifyBudgetSpent",
    "IdentifyProperties",
    "IdentifySlotNeeded",
    "Initiator",
    "Intents",
    "LocalProtocolError",
    "MalformedPayload",
    "NextAction",
    "Opcode",
    "Opened",
    "ProtocolVersion",
    "RawCommand",
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
    "Session",
    "SessionIgnored",
    "SessionInvalidated",
    "SessionStartLimit",
    "SoundboardSounds",
    "State",
    "UnknownPayload",
    "UpdatePresence",
    "UpdateVoiceState",
    "UrlRejected",
    "ZombiePolicy",
]
