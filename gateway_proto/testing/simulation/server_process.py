"""A server process: it numbers its dispatches, restarts, and has faults."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs

from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import ReconnectRequested
from gateway_proto.server.config import ServerConfig
from gateway_proto.server.connection import ServerConnection
from gateway_proto.server.faults import Fault, Scenario
from gateway_proto.server.server import Server
from gateway_proto.server.session import ServerSession
from gateway_proto.server.world import World
from gateway_proto.testing.simulation.config import SimulationConfig
from gateway_proto.testing.simulation.endpoint import Endpoint
from gateway_proto.testing.simulation.observer import Observer
from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.tcp import Pipe, TcpLink

__all__ = ["DOMAIN", "TICK", "HttpError", "ServerEndpoint", "ServerProcess"]

DOMAIN = "sim.example"
"""The parent domain of `api.` and its subdomains, which are trusted; all others are not."""
TICK = "SIMULATED_TICK"
"""The name of a numbered dispatch."""
_UNLIMITED = 10**9
_OUTPUT_LIMIT = 400_000
"""Bytes."""
_MEMBERS = [{"user": {"id": str(n), "username": f"a member {n}"}} for n in range(1, 4)]
_WORLD = World(guilds=[{"id": "1", "name": "a guild", "members": _MEMBERS}])


class ServerEndpoint(Endpoint):
    """The server's end of a connection; `bot` is the client, passed to the observer."""

    connection: ServerConnection

    def __init__(self, provider: ServerProcess, bot: Any, host: str, wire: TcpLink) -> None:
        scheduler = provider.scheduler
        connection = provider.server.accept(now=scheduler.now)
        super().__init__(scheduler, connection, incoming=wire.up, outgoing=wire.down)
        self._provider = provider
        self._bot = bot
        self._host = host
        self.wire: TcpLink = wire

    def receive(self, data: bytes) -> None:
        """Receive bytes, and pass them to the observer. Empty bytes are EOF."""
        self._provider.observer.arrived(self._bot, self._host, self._provider.trusted, data)
        super().receive(data)

    @property
    def answers(self) -> bool:
        """Whether it reads and acknowledges heartbeats."""
        return self.reading and not self.is_closed and self.connection._acknowledges

    @property
    def output_limit(self) -> int:
        """The maximum size in bytes of the output that waits for a slow client."""
        return self._provider.server.config.output_limit

    @property
    def provider(self) -> ServerProcess:
        """The server process."""
        return self._provider

    def deliver(self, events: list[Any]) -> None:
        """Pass the received commands to the observer."""
        session = self.connection.session
        if session is not None:
            self._provider.known.add(session.id)
            if self.wire.corrupts or self.wire.corrupted:
                self._provider.corrupted_sessions.add(session.id)
        for event in events:
            self._provider.observer.received_by_server(
                self._bot, self._host, self._provider.trusted, event
            )

    def ended(self) -> None:
        """Forget this end of the closed connection."""
        self._provider.ends.pop(self, None)


class HttpError:
    """A proxy in front of a server that answers every request with an HTTP error."""

    def __init__(self, wire: TcpLink, status: int, retry_after: int | None) -> None:
        self._flow: Pipe = wire.down
        self._request = b""
        header = "" if retry_after is None else f"Retry-After: {retry_after}\r\n"
        self._answer = (
            f"HTTP/1.1 {status} Unwell\r\n{header}Content-Length: 6\r\nConnection: close\r\n\r\n"
            "unwell"
        ).encode()

    def receive(self, data: bytes) -> None:
        """Answer as soon as the request is complete."""
        self._request += data
        if not data or b"\r\n\r\n" in self._request:
            self._flow.send(self._answer)
            self._flow.finish()

    def wake(self) -> None:
        """Do nothing: the answer was sent at once."""

    def reset(self) -> None:
        """Do nothing: no state is left to clear."""


class ServerProcess:
    """A server with several hosts: two for connections and one for resumes."""

    def __init__(
        self,
        scheduler: Scheduler,
        rng: SeededRandom,
        config: SimulationConfig,
        number: int,
        observer: Observer[Any, Any],
        *,
        trusted: bool = True,
    ) -> None:
        self.scheduler: Scheduler = scheduler
        self.observer: Observer[Any, Any] = observer
        self.trusted: bool = trusted
        """Whether a client may send its token to it."""
        self._number = number
        self.down_until: float = 0.0
        """The time until which it refuses dials."""
        self.numbers: dict[str, int] = {}
        """The number of the last dispatch, by session id."""
        self.known: set[str] = set()
        """Ids of the sessions that it has opened."""
        self.corrupted_sessions: set[str] = set()
        """Ids of sessions with a flipped bit: their numbers prove nothing."""
        self.ends: dict[ServerEndpoint, None] = {}
        """Ends of open connections, in order."""
        self._random = rng
        self._config = ServerConfig(
            tls=True,
            heartbeat_interval=config.heartbeat_interval,
            identify_seconds=5.0 if config.sharded else 0.0,
            max_concurrency=config.max_concurrency,
            identifies_per_day=_UNLIMITED,
            shards=config.clients,
            world=_WORLD,
            random=rng.random,
            output_limit=_OUTPUT_LIMIT,
        )
        self.server: Server = Server(self._config)
        self._set_hosts(0)
        self.server.config = self._config

    def _set_hosts(self, times: int) -> None:
        domain = f"api.{DOMAIN}" if self.trusted else "evil.example"
        name = f"{self._number}.{domain}" if not times else f"{self._number}-{times}.{domain}"
        self._moves = times
        self.gateway_hosts: tuple[str, str] = (f"g{name}", f"h{name}")
        """The hosts of the gateway."""
        self.resume_host: str = f"r{name}"
        """The host of the resume URL."""
        self._config = attrs.evolve(
            self._config,
            url=f"wss://{self.gateway_hosts[0]}",
            scenario=_resume_at(f"wss://{self.resume_host}"),
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of its hosts."""
        return (*self.gateway_hosts, self.resume_host)

    @property
    def is_down(self) -> bool:
        """Whether it refuses dials."""
        return self.scheduler.now < self.down_until

    def accept(self, bot: Any, host: str, wire: TcpLink) -> ServerEndpoint:
        """Accept a client's connection and return the server's end."""
        end = ServerEndpoint(self, bot, host, wire)
        self.ends[end] = None
        return end

    # ----- dispatches -----

    def tick(self) -> None:
        """Dispatch the next number to each session, whether connected or not."""
        for session in list(self.server.sessions.values()):
            self.dispatch(session)

    def dispatch(self, session: ServerSession, *, padding: str = "") -> None:
        """Dispatch the next number to a session; `padding` makes the payload large."""
        number = self.numbers[session.id] = self.numbers.get(session.id, 0) + 1

        def chosen(other: ServerSession) -> bool:
            return other is session

        d = {"n": number, "padding": padding} if padding else {"n": number}
        self.server.dispatch(TICK, d, now=self.scheduler.now, to=chosen)

    # ----- faults -----

    def restart(self, seconds: float) -> None:
        """Close all connections and refuse dials for some seconds; keep all sessions."""
        self.down_until = self.scheduler.now + seconds
        for end in list(self.ends):
            if self._random.happens(0.5):
                end.connection.close(1001, "restart", now=self.scheduler.now)
            else:
                end.connection._send_unchecked(ReconnectRequested(), now=self.scheduler.now)

    def crash(self, seconds: float) -> None:
        """Drop all connections and sessions, and refuse dials for some seconds."""
        self.down_until = self.scheduler.now + seconds
        ends, self.ends = self.ends, {}
        for end in ends:
            end.is_closed = True
            end.connection.on_wake = None
            end.wire.cut()
        self.server = Server(self._config)

    def move(self) -> None:
        """Move to new hosts; drop all connections to the old ones."""
        self._set_hosts(self._moves + 1)
        self.server.config = self._config
        for end in list(self.ends):
            end.wire.cut()

    def decrease_sequence(self, session: ServerSession, count: int) -> None:
        """Decrease the sequence of a session, and dispatch."""
        self.corrupted_sessions.add(session.id)
        session.sequence = max(0, session.sequence - count)
        self.dispatch(session)

    def expire(self, connection: ServerConnection) -> None:
        """Forget the session of a connection, and drop the connection."""
        assert connection.session is not None
        self.server.expire_session(connection.session)
        connection.drop(now=self.scheduler.now)

    def return_untrusted_url(self, url: str) -> None:
        """Return an untrusted URL in lookups and READY."""
        self.server.config = attrs.evolve(self.server.config, scenario=_resume_at(url))
        # An invalid URL is returned in READY only: the server checks its own URL.
        with contextlib.suppress(LocalProtocolError):
            self.server.config = attrs.evolve(self.server.config, url=url)

    def return_own_urls(self) -> None:
        """Return its own URLs again."""
        self.server.config = self._config

    def recover(self) -> None:
        """Recover: accept dials, return its own URLs, and read again."""
        self.down_until = 0.0
        self.return_own_urls()
        for end in list(self.ends):
            end.read_on()


def _resume_at(url: str) -> Scenario:
    return Scenario([Fault("resume_url", on="identify", connection=None, url=url)])
