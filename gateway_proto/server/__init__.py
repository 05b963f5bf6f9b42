"""Server role: connections, sessions, a world as test data, REST routes, and injected faults."""

from gateway_proto.events import HttpRequested, ServerEvent, ServerMessage, UploadedFile
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.connection import ServerConnection
from gateway_proto.server.faults import Fault, Scenario
from gateway_proto.server.server import Server
from gateway_proto.server.session import ServerSession
from gateway_proto.server.world import World

__all__ = [
    "Fault",
    "HttpRequested",
    "Scenario",
    "Server",
    "ServerConfig",
    "ServerConnection",
    "ServerEvent",
    "ServerMessage",
    "ServerSession",
    "UploadedFile",
    "World",
]
