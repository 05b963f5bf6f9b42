"""bytes → bytes, later, in pieces, or never: the wire between two ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from gateway_proto._layers.cutter import read_header
from gateway_proto.testing.agenda import Agenda
from gateway_proto.testing.chance import Chance

__all__ = ["Flow", "Peer", "Wire"]

_WINDOW = 65536
"""Bytes on their way, or unread, above which nobody writes."""
_UNHEARD = 900.0
"""Seconds after which what nobody acknowledges breaks the wire, as an operating system has it."""
_PIECE = 4096
"""Bytes that arrive at once at most."""
_PIECES = 24


class Flow:
    """Bytes on their way from one end to the other."""

    def __init__(self, agenda: Agenda, chance: Chance, latency: float, *, masked: bool) -> None:
        self._agenda = agenda
        self._chance = chance
        self._masked = masked
        self.latency: float = latency
        """Seconds."""
        self.chops: bool = False
        """Whether what is sent arrives in small pieces."""
        self.swallows: bool = False
        """Whether nothing arrives any more, and nobody is told."""
        self.lost: bool = False
        """Whether anything did not arrive, or not as it was."""
        self.dead: bool = False
        """Whether nothing can be sent any more."""
        self.cut_in: int | None = None
        """Bytes after which the wire breaks."""
        self.corrupts: bool = False
        """Whether a bit of what is sent next is turned over."""
        self.corrupted: bool = False
        """Whether one was."""
        self.travelling: int = 0
        """Pieces that have not arrived yet."""
        self._pieces: deque[bytes] = deque()
        self._waiting = 0  # bytes on their way or unread
        self._blocked = False
        self._free_at = 0.0

    def join(self, wire: Wire, source: Peer, target: Peer) -> None:
        """Lie between two ends."""
        self.wire = wire
        self.source = source
        self.target = target

    @property
    def writable(self) -> bool:
        """Whether there is room for more."""
        self._blocked = self._waiting > _WINDOW
        return not self._blocked

    @property
    def is_blocked(self) -> bool:
        """Whether there was no room when it was asked last."""
        return self._blocked

    def hold(self, until: float) -> None:
        """Let nothing more arrive before a time."""
        self._free_at = max(self._free_at, until)

    def send(self, data: bytes) -> bool:
        """Take bytes; False: the wire is broken."""
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
        """The source closes: the end follows behind what it has sent."""
        if not self.dead and not self.swallows:
            self._push(b"", self._arrival())
        self.dead = True

    def cut(self, *, keep: bool) -> None:
        """What is on its way is lost, unless it is kept; then comes the end."""
        if not keep:
            self.lost = self.lost or bool(self._pieces)
            self._pieces.clear()
            self.travelling = 0
        self.dead = True
        self._push(b"", self._arrival())

    def read(self, size: int) -> None:
        """The target has read so many bytes."""
        self._waiting -= size
        if self._blocked and self._waiting <= _WINDOW // 2:
            self._blocked = False
            self.source.wake()

    def _arrival(self) -> float:
        self._free_at = max(self._free_at, self._agenda.now + self.latency)
        return self._free_at

    def _carry(self, data: bytes) -> None:
        arrival = self._arrival()
        self._waiting += len(data)
        if not self.chops:
            for at in range(0, len(data), _PIECE):
                self._push(data[at : at + _PIECE], arrival)
            return
        while data:
            size = 1 + self._chance.below(max(1, 2 * len(data) // _PIECES))
            self._push(data[:size], self._free_at)
            data = data[size:]
            self._free_at += self._chance.random() * self.latency / _PIECES

    def _push(self, piece: bytes, at: float) -> None:
        self.travelling += 1
        self._pieces.append(piece)
        self._agenda.at(at, self._arrive)

    def _arrive(self) -> None:
        if self._pieces:  # else the wire was cut meanwhile
            self.travelling -= 1
            self.target.arrive(self._pieces.popleft())

    def _corrupt(self, data: bytes) -> bytes:
        """Turn one bit over; only where what comes of it does not hang on wsproto's own chance."""
        places: Sequence[int]
        if self._masked:
            places = _mutable_offsets(data)
        else:
            # The answer to the upgrade holds what was made of a nonce.
            places = range(12 if data.startswith(b"HTTP/1.1 101") else len(data))
        if not places:
            return data
        self.corrupts = False
        self.corrupted = self.lost = True
        at = places[self._chance.below(len(places))]
        return data[:at] + bytes([data[at] ^ (1 << self._chance.below(8))]) + data[at + 1 :]


class Peer(Protocol):
    """What is at an end of a wire; `End` is one."""

    def arrive(self, data: bytes) -> None:
        """Bytes are there; none are the end of the wire."""
        ...

    def wake(self) -> None:
        """There is room again."""
        ...

    def reset(self) -> None:
        """The wire breaks under it."""
        ...


class Wire:
    """One TCP connection: a flow each way, `up` to the server and `down` to the client."""

    def __init__(self, agenda: Agenda, chance: Chance, latency: float) -> None:
        self._agenda = agenda
        self.up: Flow = Flow(agenda, chance, latency, masked=True)
        self.down: Flow = Flow(agenda, chance, latency, masked=False)
        self._given_up: set[Flow] = set()

    def join(self, client: Peer, server: Peer) -> None:
        """Lie between a client and a server."""
        self.up.join(self, client, server)
        self.down.join(self, server, client)

    @property
    def swallows(self) -> bool:
        """Whether nothing arrives in one of its directions."""
        return self.up.swallows or self.down.swallows

    @property
    def flows(self) -> tuple[Flow, Flow]:
        """Both directions."""
        return self.up, self.down

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self.up.travelling and not self.down.travelling

    @property
    def has_lost(self) -> bool:
        """Whether anything did not arrive, or not as it was; or would not now."""
        return self.up.lost or self.down.lost or self.swallows

    @property
    def corrupts(self) -> bool:
        """Whether a bit will be turned over in it."""
        return self.up.corrupts or self.down.corrupts

    @property
    def corrupted(self) -> bool:
        """Whether a bit was turned over in it."""
        return self.up.corrupted or self.down.corrupted

    def cut(self, keep: Flow | None = None) -> None:
        """The wire breaks. Both ends hear of it; what is on its way is lost, but in one flow."""
        for flow in self.flows:
            if not flow.dead:
                flow.cut(keep=flow is keep)

    def give_up_later(self, flow: Flow) -> None:
        """Whoever sends what nobody acknowledges is told after some time."""
        if flow not in self._given_up:
            self._given_up.add(flow)
            self._agenda.after(_UNHEARD, flow.source.reset)


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
