"""A running shard manager, with a server and a link for each shard."""

from __future__ import annotations

from typing import Any

from gateway_proto import (
    Config,
    Identify,
)
from gateway_proto.server import Server, ServerConfig
from gateway_proto.shards import ShardManager
from gateway_proto.testing import Link

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost", random=lambda: 0.5)


class Running:
    """A shard manager, a server, and a link for each shard, with one clock."""

    def __init__(self, config: Config = CONFIG, **options: Any) -> None:
        self.server = Server(ServerConfig(heartbeat_interval=10_000))
        self.manager = ShardManager(config, **options)
        if self.manager.lookup is not None:
            Link(self.manager.lookup, self.server)
        self.manager.start(now=0.0)
        self.woken = 0
        self.manager.on_wake = self._wake
        self.links = {n: Link(client, self.server) for n, client in self.manager.clients.items()}

    def _wake(self) -> None:
        self.woken += 1

    def run(self, seconds: float) -> None:
        end = min(link.now for link in self.links.values()) + seconds
        while True:
            now = min(link.now for link in self.links.values())
            at = self.manager.next_timer()
            step = min(end, now + 1.0 if at is None else max(at, now))
            for link in self.links.values():
                link.run(max(0.0, step - link.now))
            self.manager.handle_timer(now=step)
            for link in self.links.values():
                link.run()
            if step >= end:
                return

    def identified(self) -> list[int]:
        return [n for n, link in self.links.items() if any(received(link, Identify))]


def received(link: Link, type_: type[Any]) -> list[Any]:
    return [event for event in link.server.events if isinstance(event, type_)]
