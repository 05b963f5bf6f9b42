"""wires ↔ sessions: a server that restarts, numbers its dispatches, and is not always well."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs

from gateway_proto._telling import ServerSession
from gateway_proto.errors import LocalProtocolError
from gateway_proto.events import ReconnectRequested
from gateway_proto.faults import Fault, Scenario
from gateway_proto.server import Server
from gateway_proto.server_config import ServerConfig
from gateway_proto.server_connection import ServerConnection
from gateway_proto.testing.agenda import Agenda
from gateway_proto.testing.chance import Chance
from gateway_proto.testing.end import End
from gateway_proto.testing.setting import Setting
from gateway_proto.testing.wire import Flow, Wire
from gateway_proto.world import World

if TYPE_CHECKING:
    from gateway_proto.testing.bot import Bot

__all__ = ["DOMAIN", "TICK", "HttpError", "Provider", "ServerEnd"]

DOMAIN = "sim.example"
"""The parent of all trusted hosts; neither it nor what else is below it is trusted."""
TICK = "SIMULATED_TICK"
"""The name of a numbered dispatch."""
_MANY = 10**9
_OUTPUT_LIMIT = 400_000
"""Bytes."""
_MEMBERS = [{"user": {"id": str(n), "username": f"a member {n}"}} for n in range(1, 4)]
_WORLD = World(guilds=[{"id": "1", "name": "a guild", "members": _MEMBERS}])


class ServerEnd(End):
    """The end of a wire at a server."""

    connection: ServerConnection

    def __init__(self, provider: Provider, bot: Bot, host: str, wire: Wire) -> None:
        agenda = provider.agenda
        connection = provider.server.accept(now=agenda.now)
        super().__init__(agenda, connection, incoming=wire.up, outgoing=wire.down)
        self._provider = provider
        self._bot = bot
        self._host = host
        self.wire: Wire = wire

    def arrive(self, data: bytes) -> None:
        """Bytes are there; none are the end of the wire."""
        self._bot.watch.arrived(self._bot, self._host, self._provider.trusted, data)
        super().arrive(data)

    @property
    def answers(self) -> bool:
        """Whether it reads, and acknowledges heartbeats."""
        return self.reading and not self.over and self.connection.acknowledges

    @property
    def output_limit(self) -> int:
        """Bytes that may wait for a client that does not read."""
        return self._provider.server.config.output_limit

    @property
    def provider(self) -> Provider:
        """Whose end it is."""
        return self._provider

    def deliver(self, events: list[Any]) -> None:
        """Let the watch see what came."""
        session = self.connection.session
        if session is not None:
            self._provider.known.add(session.id)
            if self.wire.corrupts or self.wire.corrupted:
                self._provider.tainted.add(session.id)
        for event in events:
            self._bot.watch.heard(self._bot, self._host, self._provider.trusted, event)

    def ended(self) -> None:
        """The connection is CLOSED, and the transport with it."""
        self._provider.ends.pop(self, None)


class HttpError:
    """Something in front of a server that answers every request with an error."""

    def __init__(self, wire: Wire, status: int, retry_after: int | None) -> None:
        self._flow: Flow = wire.down
        self._request = b""
        header = "" if retry_after is None else f"Retry-After: {retry_after}\r\n"
        self._answer = (
            f"HTTP/1.1 {status} Unwell\r\n{header}Content-Length: 6\r\nConnection: close\r\n\r\n"
            "unwell"
        ).encode()

    def arrive(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._request += data
        if not data or b"\r\n\r\n" in self._request:
            self._flow.send(self._answer)
            self._flow.finish()

    def wake(self) -> None:
        """There is room again: it has nothing more to say."""

    def reset(self) -> None:
        """The wire breaks under it."""


class Provider:
    """One server behind several doors: hosts for lookups and connections, and one for resumes."""

    def __init__(
        self, agenda: Agenda, chance: Chance, setting: Setting, number: int, *, trusted: bool = True
    ) -> None:
        self.agenda: Agenda = agenda
        self.trusted: bool = trusted
        """Whether a token may be sent there."""
        self._number = number
        self.down_until: float = 0.0
        """Until when it takes no dials."""
        self.numbers: dict[str, int] = {}
        """By session: the number of its last dispatch."""
        self.known: set[str] = set()
        """Sessions that it has opened."""
        self.tainted: set[str] = set()
        """Sessions in which a bit was turned over: their numbers prove nothing."""
        self.ends: dict[ServerEnd, None] = {}
        """Those whose transport is open."""
        self._chance = chance
        self._config = ServerConfig(
            tls=True,
            heartbeat_interval=setting.heartbeat_interval,
            identify_seconds=5.0 if setting.sharded else 0.0,
            max_concurrency=setting.max_concurrency,
            identifies_a_day=_MANY,
            shards=setting.clients,
            world=_WORLD,
            random=chance.random,
            output_limit=_OUTPUT_LIMIT,
        )
        self.server: Server = Server(self._config)
        self._name_doors(0)
        self.server.config = self._config

    def _name_doors(self, times: int) -> None:
        domain = f"api.{DOMAIN}" if self.trusted else "evil.example"
        name = f"{self._number}.{domain}" if not times else f"{self._number}-{times}.{domain}"
        self._moves = times
        self.doors: tuple[str, str] = (f"g{name}", f"h{name}")
        """Hosts of the gateway."""
        self.resume_door: str = f"r{name}"
        """The host of the resume URL."""
        self._config = attrs.evolve(
            self._config,
            url=f"wss://{self.doors[0]}",
            scenario=_resume_at(f"wss://{self.resume_door}"),
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """All of its doors."""
        return (*self.doors, self.resume_door)

    @property
    def is_down(self) -> bool:
        """Whether it takes no dials."""
        return self.agenda.now < self.down_until

    def accept(self, bot: Bot, host: str, wire: Wire) -> ServerEnd:
        """The end of a wire that a client has dialled."""
        end = ServerEnd(self, bot, host, wire)
        self.ends[end] = None
        return end

    # ----- dispatches -----

    def tick(self) -> None:
        """Dispatch the next number to each session, connected or not."""
        for session in list(self.server.sessions.values()):
            self.dispatch(session)

    def dispatch(self, session: ServerSession, *, padding: str = "") -> None:
        """Dispatch the next number to a session, and padding to make it large."""
        number = self.numbers[session.id] = self.numbers.get(session.id, 0) + 1

        def chosen(other: ServerSession) -> bool:
            return other is session

        d = {"n": number, "padding": padding} if padding else {"n": number}
        self.server.dispatch(TICK, d, now=self.agenda.now, to=chosen)

    # ----- trouble -----

    def restart(self, seconds: float) -> None:
        """Close all connections, and be away; sessions are kept."""
        self.down_until = self.agenda.now + seconds
        for end in list(self.ends):
            if self._chance.happens(0.5):
                end.connection.close(1001, "restart", now=self.agenda.now)
            else:
                end.connection.write(ReconnectRequested(), now=self.agenda.now)

    def crash(self, seconds: float) -> None:
        """Break all wires, and come back without any session."""
        self.down_until = self.agenda.now + seconds
        ends, self.ends = self.ends, {}
        for end in ends:
            end.over = True
            end.connection.on_wake = None
            end.wire.cut()
        self.server = Server(self._config)

    def move(self) -> None:
        """Take other hosts; those of before are gone, with all wires to them."""
        self._name_doors(self._moves + 1)
        self.server.config = self._config
        for end in list(self.ends):
            end.wire.cut()

    def step_back(self, session: ServerSession, count: int) -> None:
        """Let the sequences of a session go back, and dispatch on."""
        self.tainted.add(session.id)
        session.sequence = max(0, session.sequence - count)
        self.dispatch(session)

    def expire(self, connection: ServerConnection) -> None:
        """Forget the session of a connection, and drop it."""
        assert connection.session is not None
        self.server.forget(connection.session)
        connection.drop(now=self.agenda.now)

    def lure(self, url: str) -> None:
        """Name another URL in lookups and READY."""
        self.server.config = attrs.evolve(self.server.config, scenario=_resume_at(url))
        # What is no URL at all is named in READY only: a server's own URL is checked.
        with contextlib.suppress(LocalProtocolError):
            self.server.config = attrs.evolve(self.server.config, url=url)

    def stop_luring(self) -> None:
        """Name its own URLs."""
        self.server.config = self._config

    def heal(self) -> None:
        """Be well again: take dials, and name its own URLs."""
        self.down_until = 0.0
        self.stop_luring()
        for end in list(self.ends):
            end.read_on()


def _resume_at(url: str) -> Scenario:
    return Scenario([Fault("resume_url", on="identify", connection=None, url=url)])
