"""Simulated TCP: latency, chunks, drops, lost data and corrupted bits."""

from __future__ import annotations

import pytest

from gateway_proto.testing.simulation.rng import SeededRandom
from gateway_proto.testing.simulation.scheduler import Scheduler
from gateway_proto.testing.simulation.server_process import HttpError
from gateway_proto.testing.simulation.tcp import TcpLink

FRAME = b"\x81\x83\x00\x00\x00\x00abc"
LONG = b"\x81\xfe\x01\x00\x00\x00\x00\x00" + b"x" * 256


class Side:
    """An end that records its input."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.resets = 0
        self.wakes = 0

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def receive(self, data: bytes) -> None:
        self.pieces.append(data)

    def wake(self) -> None:
        self.wakes += 1

    def reset(self) -> None:
        self.resets += 1


def _wire(latency: float = 1.0) -> tuple[Scheduler, TcpLink, Side, Side]:
    scheduler, client, server = Scheduler(), Side(), Side()
    wire = TcpLink(scheduler, SeededRandom(1), latency)
    wire.join(client, server)
    return scheduler, wire, client, server


def test_data_arrives_after_the_latency_and_in_order() -> None:
    scheduler, wire, client, server = _wire()
    wire.up.send(b"a")
    scheduler.run(0.9)
    wire.up.latency = 0.0
    wire.up.send(b"b")
    wire.down.send(b"c")
    assert server.pieces == client.pieces == []

    scheduler.run(2.0)

    assert server.pieces == [b"a", b"b"]
    assert client.pieces == [b"c"]
    assert scheduler.now == 2.0


def test_chunked_data_arrives_complete_in_many_pieces() -> None:
    scheduler, wire, _, server = _wire()
    wire.up.chops = True
    data = bytes(range(200))

    wire.up.send(data)
    scheduler.run(10.0)

    assert server.data == data
    assert len(server.pieces) > 10


def test_delay_of_one_direction_does_not_delay_the_other() -> None:
    scheduler, wire, client, server = _wire()
    wire.up.hold(30.0)
    wire.up.send(b"a")
    wire.down.send(b"b")

    scheduler.run(29.0)
    assert (client.pieces, server.pieces) == ([b"b"], [])
    scheduler.run(30.0)

    assert server.pieces == [b"a"]


def test_dropped_connection_loses_data_and_notifies_both_ends() -> None:
    scheduler, wire, client, server = _wire()
    wire.up.send(b"lost")

    wire.cut()
    wire.cut()
    scheduler.run(5.0)

    assert client.pieces == server.pieces == [b""]
    assert wire.has_lost
    assert not wire.up.send(b"more")


@pytest.mark.parametrize("at", [1, 3, 5])
def test_connection_can_be_dropped_at_any_byte(at: int) -> None:
    scheduler, wire, client, server = _wire()
    wire.up.cut_in = at
    wire.down.send(b"lost")

    wire.up.send(b"ab")
    wire.up.send(b"cdef")
    scheduler.run(5.0)

    assert server.data == b"abcdef"[:at]
    assert server.pieces[-1] == client.pieces[-1] == b""
    assert client.data == b""


def test_lost_data_is_reported_only_after_the_system_timeout() -> None:
    scheduler, wire, client, server = _wire()
    wire.down.swallows = True

    wire.up.send(b"a")
    wire.up.send(b"b")
    wire.down.send(b"never")
    wire.down.finish()
    scheduler.run(899.0)
    assert (server.data, client.pieces, client.resets) == (b"ab", [], 0)
    scheduler.run(900.0)

    assert (client.resets, server.resets) == (1, 1)


def test_eof_arrives_after_the_sent_data() -> None:
    scheduler, wire, _, server = _wire()
    wire.up.send(b"a")

    wire.up.finish()
    wire.up.finish()
    scheduler.run(5.0)

    assert server.pieces == [b"a", b""]


def test_transport_is_writable_until_its_buffer_is_full() -> None:
    scheduler, wire, client, _ = _wire()
    wire.up.send(b"x" * 70_000)
    assert not wire.up.writable

    scheduler.run(5.0)
    wire.up.read(30_000)
    assert client.wakes == 0
    wire.up.read(20_000)

    assert client.wakes == 1
    assert wire.up.writable


@pytest.mark.parametrize("data", [FRAME, LONG, FRAME + LONG])
def test_corruption_of_masked_frames_spares_the_length(data: bytes) -> None:
    lengths = {1: 1, 2: 2, 3: 3} if data is LONG else {1: 1}
    if data == FRAME + LONG:
        lengths = {1: 1, 10: 2, 11: 3, 12: 4}
    changed: set[int] = set()
    for seed in range(600):
        scheduler, server = Scheduler(), Side()
        wire = TcpLink(scheduler, SeededRandom(seed), 1.0)
        wire.join(Side(), server)
        wire.up.corrupts = True
        wire.up.send(b"GET / HTTP/1.1\r\n\r\n")
        assert wire.corrupts and not wire.corrupted, "the request contains a nonce"
        wire.up.send(data)
        scheduler.run(5.0)
        assert wire.corrupted and not wire.corrupts
        came = server.data.removeprefix(b"GET / HTTP/1.1\r\n\r\n")
        (at,) = [index for index in range(len(data)) if came[index] != data[index]]
        assert (came[at] ^ data[at]).bit_count() == 1
        changed.add(at)

    assert not changed & lengths.keys()
    assert len(changed) > len(data) / 2


def test_corruption_of_upgrade_response_affects_its_start_only() -> None:
    for seed in range(50):
        scheduler, client = Scheduler(), Side()
        wire = TcpLink(scheduler, SeededRandom(seed), 1.0)
        wire.join(client, Side())
        wire.down.corrupts = True
        answer = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: rng\r\n\r\n"
        wire.down.send(answer)
        scheduler.run(5.0)
        assert client.data[12:] == answer[12:]
        assert client.data != answer


def test_http_error_is_sent_after_the_complete_request() -> None:
    scheduler, wire, client, _ = _wire()
    error = HttpError(wire, 503, 30)
    wire.join(client, error)

    wire.up.send(b"GET / HTTP/1.1\r\n")
    scheduler.run(5.0)
    assert client.pieces == []
    error.wake()
    error.reset()
    wire.up.send(b"\r\n")
    scheduler.run(10.0)

    assert client.data.startswith(b"HTTP/1.1 503 Unwell\r\nRetry-After: 30\r\n")
    assert client.pieces[-1] == b""
