"""A TCP connection with latency, fragmentation, loss and corruption."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.wire.fast_frames import read_header

__all__ = ["EndpointProtocol", "Pipe", "TcpLink"]

_WINDOW = 65536
"""The size in bytes of data in transfer or unread, above which no end writes."""
_TCP_TIMEOUT = 900.0
"""Seconds after which unacknowledged data resets a connection, as operating systems do."""
_PIECE = 4096
"""The maximum size in bytes of a piece that arrives at once."""
_PIECES = 24


class Pipe:
    """Bytes in transfer from one end to the other."""

    def __init__(
        self, scheduler: Scheduler, rng: SeededRandom, latency: float, *, masked: bool
    ) -> None:
        self._scheduler = scheduler
        self._random = rng
        self._masked = masked
        self.latency: float = latency
        """The latency in seconds."""
        self.chops: bool = False
        """Whether sent data arrives in small pieces."""
        self.swallows: bool = False
        """Whether sent data is lost without an error."""
        self.lost: bool = False
        """Whether any data was lost or changed."""
        self.dead: bool = False
        """Whether nothing more can be sent."""
        self.cut_in: int | None = None
        """The number of bytes after which the connection is dropped, if any."""
        self.corrupts: bool = False
        """Whether a bit of the next sent data is flipped."""
        self.corrupted: bool = False
        """Whether a bit was flipped."""
        self.travelling: int = 0
        """The number of pieces that have not arrived yet."""
        self._pieces: deque[bytes] = deque()
        self._waiting = 0  # bytes in transfer or unread
        self._blocked = False
        self._free_at = 0.0

    def join(self, wire: TcpLink, source: EndpointProtocol, target: EndpointProtocol) -> None:
        """Connect two ends."""
        self.wire = wire
        self.source = source
        self.target = target

    @property
    def writable(self) -> bool:
        """Whether more data may be sent."""
        self._blocked = self._waiting > _WINDOW
        return not self._blocked

    @property
    def is_blocked(self) -> bool:
        """Whether the last check found that nothing may be sent."""
        return self._blocked

    def hold(self, until: float) -> None:
        """Delay all further data until a time."""
        self._free_at = max(self._free_at, until)

    def send(self, data: bytes) -> bool:
        """Send bytes. Return False if the connection is closed."""
        if self.dead:
            return False
        if self.wire.swallows:
            self.wire.give_up_later(self)
        if self.swallows:
            self.lost = True
            return True
        if self.corrupts:
            data = self._corrupt(data)
        if self.cut_in is not None:
            if len(data) >= self.cut_in:
                self._carry(data[: self.cut_in])
                self.wire.cut(keep=self)
                return True
            self.cut_in -= len(data)
        self._carry(data)
        return True

    def finish(self) -> None:
        """Close at the source: EOF follows the sent data."""
        if not self.dead and not self.swallows:
            self._push(b"", self._arrival())
        self.dead = True

    def cut(self, *, keep: bool) -> None:
        """Drop the data in transfer, unless `keep`. EOF follows."""
        if not keep:
            self.lost = self.lost or bool(self._pieces)
            self._pieces.clear()
            self.travelling = 0
        self.dead = True
        self._push(b"", self._arrival())

    def read(self, size: int) -> None:
        """Note that the target has read `size` bytes."""
        self._waiting -= size
        if self._blocked and self._waiting <= _WINDOW // 2:
            self._blocked = False
            self.source.wake()

    def _arrival(self) -> float:
        self._free_at = max(self._free_at, self._scheduler.now + self.latency)
        return self._free_at

    def _carry(self, data: bytes) -> None:
        arrival = self._arrival()
        self._waiting += len(data)
        if not self.chops:
            for at in range(0, len(data), _PIECE):
                self._push(data[at : at + _PIECE], arrival)
            return
        while data:
            size = 1 + self._random.randrange(max(1, 2 * len(data) // _PIECES))
            self._push(data[:size], self._free_at)
            data = data[size:]
            self._free_at += self._random.random() * self.latency / _PIECES

    def _push(self, piece: bytes, at: float) -> None:
        self.travelling += 1
        self._pieces.append(piece)
        self._scheduler.at(at, self._arrive)

    def _arrive(self) -> None:
        if self._pieces:  # else the connection was dropped meanwhile
            self.travelling -= 1
            self.target.receive(self._pieces.popleft())

    def _corrupt(self, data: bytes) -> bytes:
        """Flip one bit, if the result does not depend on random values of wsproto."""
        offsets: Sequence[int]
        if self._masked:
            offsets = _mutable_offsets(data)
        else:
            # The response to the upgrade contains a hash of the random nonce.
            offsets = range(12 if data.startswith(b"HTTP/1.1 101") else len(data))
        if not offsets:
            return data
        self.corrupts = False
        self.corrupted = self.lost = True
        at = offsets[self._random.randrange(len(offsets))]
        return data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]


class EndpointProtocol(Protocol):
    """An end of a connection; `Endpoint` is one."""

    def receive(self, data: bytes) -> None:
        """Receive bytes. Empty bytes are EOF."""
        ...

    def wake(self) -> None:
        """Note that more data may be sent."""
        ...

    def reset(self) -> None:
        """Note that the connection was reset."""
        ...


class TcpLink:
    """One TCP connection: a flow each way, `up` to the server and `down` to the client."""

    def __init__(self, scheduler: Scheduler, rng: SeededRandom, latency: float) -> None:
        self._scheduler = scheduler
        self.up: Pipe = Pipe(scheduler, rng, latency, masked=True)
        self.down: Pipe = Pipe(scheduler, rng, latency, masked=False)
        self._given_up: set[Pipe] = set()

    def join(self, client: EndpointProtocol, server: EndpointProtocol) -> None:
        """Connect a client and a server."""
        self.up.join(self, client, server)
        self.down.join(self, server, client)

    @property
    def swallows(self) -> bool:
        """Whether data of one direction is lost without an error."""
        return self.up.swallows or self.down.swallows

    @property
    def flows(self) -> tuple[Pipe, Pipe]:
        """Both directions."""
        return self.up, self.down

    @property
    def is_empty(self) -> bool:
        """Whether no data is in transfer."""
        return not self.up.travelling and not self.down.travelling

    @property
    def has_lost(self) -> bool:
        """Whether any data was lost or changed, or would be lost now."""
        return self.up.lost or self.down.lost or self.swallows

    @property
    def corrupts(self) -> bool:
        """Whether a bit of the next sent data is flipped."""
        return self.up.corrupts or self.down.corrupts

    @property
    def corrupted(self) -> bool:
        """Whether a bit was flipped."""
        return self.up.corrupted or self.down.corrupted

    def cut(self, keep: Pipe | None = None) -> None:
        """Drop the connection. Both ends receive EOF; only the data of `keep` still arrives."""
        for flow in self.flows:
            if not flow.dead:
                flow.cut(keep=flow is keep)

    def give_up_later(self, flow: Pipe) -> None:
        """Reset the source of unacknowledged data after the TCP timeout."""
        if flow not in self._given_up:
            self._given_up.add(flow)
            self._scheduler.after(_TCP_TIMEOUT, flow.source.reset)


def _mutable_offsets(data: bytes) -> list[int]:
    """Return the offsets in masked frames of all but the lengths.

    After a changed length the random masks of wsproto would be parsed as frames.
    """
    offsets: list[int] = []
    if data.startswith(b"GET "):
        return offsets
    at = 0
    while (header := read_header(data, at)) is not None:
        offsets.append(at)
        offsets += range(at + header.size, at + header.end)
        at += header.end
    return offsets
