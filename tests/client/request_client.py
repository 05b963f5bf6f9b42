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
    Server,
    ServerConfig,
)
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
        return self.link.client.connection

    def request(self, request: Any, **options: Any) -> int:
        number: int = self.connection().request(request, now=self.link.now, **options)
        self.link.run()
        return number

    def received_request(self) -> Any:
        return self.link.server.expect(RequestGuildMembers)

    def dispatch(self, name: str, **d: Any) -> None:
        self.server.dispatch(name, d, now=self.link.now)
        self.link.run()

    def chunk(self, index: int, count: int, **d: Any) -> None:
        whole = {"guild_id": "1", "chunk_index": index, "chunk_count": count, **d}
        self.dispatch("GUILD_MEMBERS_CHUNK", **whole)

    def results(self) -> list[RequestAnswered | RequestFailed]:
        events = self.link.client.take()
        return [e for e in events if isinstance(e, RequestAnswered | RequestFailed)]


def sent_commands(client: RequestClient, kind: type[Any]) -> list[Any]:
    return [event for event in client.link.server.take() if isinstance(event, kind)]
