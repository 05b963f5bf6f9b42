"""A client with requests, and a server whose responses the test sends."""

from __future__ import annotations

from typing import Any

from gateway_proto import (
    Client,
    Config,
    Intents,
    Ready,
    RequestAnswered,
    RequestFailed,
    RequestGuildMembers,
)
from gateway_proto.server import Server, ServerConfig
from gateway_proto.testing import Link

__all__ = ["CONFIG", "RequestClient", "sent_commands"]


CONFIG = Config(
    token="t",
    intents=Intents.GUILD_MEMBERS | Intents.GUILD_PRESENCES,
    gateway_url="ws://localhost",
    unix_offset=0.0,
)


class RequestClient:
    """A client with a server whose responses to requests the test sends."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.server = Server(ServerConfig(heartbeat_interval=10**9))
        self.link = Link(Client(config), self.server)
        self.link.client.expect(Ready)

    def connection(self) -> Any:
        """Return the connection of the client."""
        return self.link.client.connection

    def request(self, request: Any, **options: Any) -> int:
        """Send a request and return its number."""
        number: int = self.connection().request(request, now=self.link.now, **options)
        self.link.run()
        return number

    def received_request(self) -> Any:
        """Return the next request for members that the server received."""
        return self.link.server.expect(RequestGuildMembers)

    def dispatch(self, name: str, **d: Any) -> None:
        """Send a dispatch to the client."""
        self.server.dispatch(name, d, now=self.link.now)
        self.link.run()

    def chunk(self, index: int, count: int, **d: Any) -> None:
        """Send a chunk of members of guild 1."""
        whole = {"guild_id": "1", "chunk_index": index, "chunk_count": count, **d}
        self.dispatch("GUILD_MEMBERS_CHUNK", **whole)

    def results(self) -> list[RequestAnswered | RequestFailed]:
        """Return the results of requests since the last call."""
        events = self.link.client.take()
        return [e for e in events if isinstance(e, RequestAnswered | RequestFailed)]


def sent_commands(client: RequestClient, kind: type[Any]) -> list[Any]:
    """Return the commands of a type that the server received."""
    return [event for event in client.link.server.take() if isinstance(event, kind)]
