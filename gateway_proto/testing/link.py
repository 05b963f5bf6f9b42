"""A client and a server, connected in virtual time without a network.

link = Link(Client(config), Server())
link.run(60)                                  # one minute of virtual time
link.client.expect(Ready)
link.client.send(UpdatePresence())
link.server.expect(UpdatePresence)
link.cut()                                    # the client reconnects by itself
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from gateway_proto._checks import CALLBACK, SECONDS, as_now, instance_of
from gateway_proto.client.client import Client, Dial
from gateway_proto.connection import Connection
from gateway_proto.server.server import Server
from gateway_proto.state import State

__all__ = ["Link", "LinkSide"]

T = TypeVar("T")
AnyConnection = Connection[Any, Any]
_CLIENT = instance_of((Client, Connection), "a Client, or one connection of a client")
_SERVER = instance_of((Server, Connection), "a Server, or one connection of a server")


def _whole(data: bytes) -> Iterable[bytes]:
    return (data,)


class LinkSide:
    """One side of a link: its current connection and all received events."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name
        self._seen = 0
        self.connection: AnyConnection | None = None
        """The latest connection; a `Client` makes a new one after each loss."""
        self.events: list[Any] = []
        """All events of all connections, in order."""

    def send(self, message: Any) -> None:
        """Send a message on the current connection, and transfer it."""
        assert self.connection is not None, f"the {self._name} has no connection"
        self.connection.send(message, now=self._link.now)
        self._link.run()

    @overload
    def expect(self, what: type[T]) -> T: ...
    @overload
    def expect(self, what: T) -> T: ...
    def expect(self, what: Any) -> Any:
        """Return the next event of a type or equal to a value; skip the events before it.

        Raises AssertionError with the skipped events if it is missing.
        """
        for index in range(self._seen, len(self.events)):
            event = self.events[index]
            if isinstance(event, what) if isinstance(what, type) else event == what:
                self._seen = index + 1
                return event
        received = "\n  ".join(map(repr, self.events[self._seen :])) or "nothing"
        raise AssertionError(
            f"the {self._name} did not receive {what!r}; received instead:\n  {received}"
        )

    def take(self) -> list[Any]:
        """Return all events since the last `expect` or `take`."""
        events = self.events[self._seen :]
        self._seen = len(self.events)
        return events


class _Direction:
    """Bytes in transfer from one connection to the other."""

    def __init__(self, source: AnyConnection, target: AnyConnection) -> None:
        self.source = source
        self.target = target
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.ended = False  # the source has closed the transport

    def fill(self, now: float, delay: float, chop: Callable[[bytes], Iterable[bytes]]) -> bool:
        if self.ended:
            return False
        data = self.source.data_to_send()
        for piece in chop(data) if data else ():
            if piece:  # an empty one is the end, below
                self.pieces.append((now + delay, piece))
        if self.source.state is State.CLOSED:
            self.pieces.append((now + delay, b""))
            self.ended = True
        return bool(data) or self.ended

    def carry(self, now: float) -> bool:
        carried = False
        while self.pieces and self.pieces[0][0] <= now:
            piece = self.pieces.popleft()[1]
            if piece:
                self.target.receive_data(piece, now=now)
            else:
                self.target.receive_eof(now=now)
            carried = True
        return carried


class Link:
    """A client and a server with a transport between them, in virtual time.

    Each is a `Client` or `Server`, or a single connection. `chop` splits sent data into pieces that
    arrive one by one; `delay` is the latency one way, in seconds. Hosts in `dead_hosts` refuse
    every dial.
    """

    def __init__(
        self,
        client: Client | AnyConnection,
        server: Server | AnyConnection,
        *,
        now: float = 0.0,
        chop: Callable[[bytes], Iterable[bytes]] = _whole,
        delay: float = 0.0,
    ) -> None:
        _CLIENT.named("client", client)
        _SERVER.named("server", server)
        CALLBACK.named("chop", chop)
        SECONDS.named("delay", delay)
        self.now: float = as_now(now)
        """Virtual time in seconds; only `run`, `run_until` and `send` advance it."""
        self.chop: Callable[[bytes], Iterable[bytes]] = chop
        self.delay: float = delay
        self.dead_hosts: set[str] = set()
        self.dials: list[Dial] = []
        """All dials that were tried, in order."""
        self.client: LinkSide = LinkSide(self, "client")
        self.server: LinkSide = LinkSide(self, "server")
        self._client = client if isinstance(client, Client) else None
        self._server = server if isinstance(server, Server) else None
        self._transports: list[tuple[_Direction, _Direction]] = []
        if isinstance(client, Connection):
            self._connect(client, self._accept(server))
        self.run()

    def run(self, seconds: float = 0.0) -> None:
        """Advance the time from timer to timer."""
        SECONDS.named("seconds", seconds)
        end = self.now + seconds
        self._settle()
        while (at := self._next()) is not None and at <= end:
            self.now = max(self.now, at)
            for connection in self._connections():
                connection.handle_timer(now=self.now)
            self._settle()
        self.now = end

    def run_until(self, condition: Callable[[], object], *, within: float = 3600.0) -> None:
        """Advance the time until a condition holds.

        Raises AssertionError if it does not hold within `within` seconds.
        """
        CALLBACK.named("condition", condition)
        SECONDS.named("within", within)
        end = self.now + within
        self._settle()
        while not condition():
            at = self._next()
            if at is None or at > end:
                raise AssertionError(f"it did not come true within {within} s")
            self.run(max(at - self.now, 0.0))

    def cut(self) -> None:
        """Drop the transport: data in transfer is lost, and both sides receive EOF."""
        transports, self._transports = self._transports, []
        for there, back in transports:
            for direction in (there, back):
                direction.target.receive_eof(now=self.now)
            self._collect(there.source, back.source)
        self._settle()

    # ----- internals -----

    def _accept(self, server: Server | AnyConnection) -> AnyConnection:
        return server.accept(now=self.now) if isinstance(server, Server) else server

    def _connect(self, client: AnyConnection, server: AnyConnection) -> None:
        self.client.connection, self.server.connection = client, server
        self._transports.append((_Direction(client, server), _Direction(server, client)))

    def _connections(self) -> list[AnyConnection]:
        return [direction.source for transport in self._transports for direction in transport]

    def _next(self) -> float | None:
        times = [at for c in self._connections() if (at := c.next_timer()) is not None]
        times += [d.pieces[0][0] for transport in self._transports for d in transport if d.pieces]
        if self._client is not None and (dial := self._client.next_dial()) is not None:
            times.append(dial.at)
        return min(times, default=None)

    def _settle(self) -> None:
        """Transfer data, dial and collect events until nothing changes at this time."""
        busy = True
        while busy:
            busy = self._dial()
            for there, back in list(self._transports):
                for direction in (there, back):
                    busy |= direction.fill(self.now, self.delay, self.chop)
                    busy |= direction.carry(self.now)
                self._collect(there.source, back.source)
            self._transports = [
                transport
                for transport in self._transports
                if not all(d.ended and not d.pieces for d in transport)
            ]

    def _collect(self, client: AnyConnection, server: AnyConnection) -> None:
        self.client.events += client.events()
        self.server.events += server.events()
        if self._client is not None:
            self.client.events += self._client.events()

    def _dial(self) -> bool:
        client = self._client
        if client is None:
            return False
        self.client.events += client.events()
        dial = client.next_dial()
        if dial is None or dial.at > self.now:
            return False
        self.dials.append(dial)
        if dial.host in self.dead_hosts:
            client.dial_failed("refused", now=self.now)
        else:
            assert self._server is not None, "a Client needs a Server to dial"
            self._connect(client.dial_succeeded(now=self.now), self._accept(self._server))
        return True
