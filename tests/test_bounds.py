"""Bounds of output per read and of held input; limits do not change the events."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import tracemalloc
from typing import Any

import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    Compression,
    Config,
    Dispatch,
    HeartbeatAcked,
    NextAction,
    Ready,
    RequestFailed,
    RequestGuildMembers,
    Session,
    State,
    UnknownPayload,
)
from gateway_proto.session import token_fingerprint
from gateway_proto.wire.compression import has_zstd
from gateway_proto.wire.compressors import make_compressor
from gateway_proto.wire.fast_frames import MessageBatch

LIMIT = 100_000
MILLISECONDS = 40_000


def _frame(data: bytes, first: int = 0x82) -> bytes:
    size = len(data)
    if size < 126:
        return bytes((first, size)) + data
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + data
    return bytes((first, 127)) + size.to_bytes(8, "big") + data


def _payload(op: int, d: Any = None, s: int | None = None, t: str | None = None) -> bytes:
    return json.dumps({"t": t, "s": s, "op": op, "d": d}).encode()


class Peer:
    """A server that encodes data for a connection in READY, in one compression."""

    def __init__(self, compression: str = "zlib-stream", **settings: Any) -> None:
        self._deflater = make_compressor(Compression(compression))
        settings = {"events_limit": LIMIT, "random": lambda: 0.5, **settings}
        config = Config(
            token="t0ken",
            intents=0,
            gateway_url="ws://localhost:1",
            compression=compression,
            **settings,
        )
        self.client = Client(config)
        connection = self.client.dial_succeeded(now=0.0)
        assert isinstance(connection, ClientConnection)
        self.connection = connection
        (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", connection.data_to_send())
        token = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        connection.receive_data(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(token) + b"\r\n\r\n",
            now=0.0,
        )
        connection.receive_data(
            self.frame(_payload(10, {"heartbeat_interval": MILLISECONDS}))
            + self.frame(_payload(0, {"session_id": "s"}, 1, "READY")),
            now=0.0,
        )
        assert isinstance(self.taken(0.0)[-1], Ready)
        connection.data_to_send()

    def frame(self, text: bytes) -> bytes:
        data = self._deflater.send(text, large=True)
        return _frame(data.encode() if isinstance(data, str) else data)

    def dispatch(self, sequence: int, size: int = LIMIT - 1000) -> bytes:
        return self.frame(_payload(0, "x" * size, sequence, "A"))

    def taken(self, now: float) -> list[Any]:
        """Take all events as an adapter does: again after each due timer."""
        connection, events = self.connection, self.connection.events()
        while (at := connection.next_timer()) is not None and at <= now:
            connection.handle_timer(now=now)
            after = connection.next_timer()
            assert after is None or after > now
            events += connection.events()
        return events


def _sequences(events: list[Any]) -> list[int | None]:
    return [event.sequence for event in events if isinstance(event, Dispatch)]


STREAMS = ["zlib-stream", "zstd-stream"] if has_zstd() else ["zlib-stream"]


# ----- what one read produces -----


@pytest.mark.parametrize("compression", STREAMS)
def test_compression_output_of_one_read_is_bounded(compression: str) -> None:
    peer = Peer(compression)
    data = b"".join(peer.dispatch(sequence) for sequence in range(2, 202))
    assert len(data) < 262_144

    tracemalloc.start()
    peer.connection.receive_data(data, now=1.0)
    used, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 10 * LIMIT
    assert used < 10 * LIMIT
    assert _sequences(peer.taken(1.0)) == list(range(2, 202))
    assert peer.connection.session is not None
    assert peer.connection.session.sequence == 201


@pytest.mark.parametrize("compression", STREAMS)
def test_one_read_decompresses_to_both_limits_at_most(compression: str) -> None:
    """The worst case of a read: `events_limit` is almost reached, and one message follows."""
    message_limit = 10 * LIMIT
    peer = Peer(compression, message_limit=message_limit)
    small, large = peer.dispatch(2), peer.dispatch(3, message_limit - 1000)
    data = small + large + b"".join(peer.dispatch(4, message_limit - 1000) for _ in range(5))

    tracemalloc.start()
    peer.connection.receive_data(data, now=1.0)
    used, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert _sequences(peer.connection.events()) == [2, 3]
    # Decompression doubles its buffer, and the event copies `d`.
    assert used < LIMIT + 2 * message_limit + len(data)
    assert most < LIMIT + 3 * message_limit + len(data)


@pytest.mark.parametrize("compression", STREAMS)
def test_message_above_its_limit_is_not_decompressed_whole(compression: str) -> None:
    peer = Peer(compression, message_limit=LIMIT)
    data = peer.dispatch(2, 50 * LIMIT)
    assert len(data) < LIMIT

    tracemalloc.start()
    peer.connection.receive_data(data, now=1.0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 4 * LIMIT + len(data)
    (closed,) = peer.taken(1.0)
    assert isinstance(closed, Closed)
    assert closed.error == f"decompressed message too large: expected at most {LIMIT} bytes"


def test_held_input_is_processed_after_events_are_taken() -> None:
    peer = Peer()
    connection = peer.connection
    connection.receive_data(b"".join(peer.dispatch(number) for number in range(2, 8)), now=5.0)

    for _ in range(3):  # events not taken: no timer is due, and calling has no effect
        assert connection.next_timer() == MILLISECONDS / 2000
        connection.handle_timer(now=5.0)
    first = connection.events()
    assert connection.next_timer() == 5.0
    connection.handle_timer(now=6.0)

    assert _sequences(first) == [2, 3]
    assert _sequences(connection.events()) == [4, 5]
    assert connection.taken_size > LIMIT


def test_data_received_while_input_is_held_keeps_its_order() -> None:
    peer = Peer()
    ping = _frame(b"p", 0x89)
    data = [peer.dispatch(number) for number in range(2, 20)]

    peer.connection.receive_data(b"".join(data[:6]) + ping + b"".join(data[6:9]), now=1.0)
    peer.connection.receive_data(ping.join(data[9:]), now=1.0)

    assert len(peer.connection.data_to_send()) == 9 * 7  # pings are answered at once
    assert _sequences(peer.taken(1.0)) == list(range(2, 20))


def test_events_limit_counts_small_events() -> None:
    peer = Peer()
    data = b"".join(peer.frame(_payload(1)) for _ in range(1000))

    peer.connection.receive_data(data, now=1.0)

    assert len(peer.connection.events()) < 1000
    assert len(peer.taken(1.0)) > 1000


def test_events_limit_applies_to_text_messages_per_read() -> None:
    peer = Peer("none")
    data = _frame(_payload(1), 0x81) * 1000

    peer.connection.receive_data(data, now=1.0)
    peer.connection.receive_data(data, now=1.0)
    first = peer.connection.events()

    assert len(first) == 2000  # a request and an answer each
    assert len(peer.taken(1.0)) == 2000


@pytest.mark.parametrize("compression", ["none", *STREAMS])
def test_events_do_not_depend_on_how_the_bytes_are_split(compression: str) -> None:
    generator = random.Random(5)

    def run(sizes: tuple[int, ...], limit: int) -> tuple[list[Any], Any, State]:
        peer = Peer(compression, events_limit=limit)
        kinds = random.Random(7)
        texts = []
        for sequence in range(2, 60):
            texts.append(_payload(0, "x" * kinds.randrange(20_000), sequence, "A"))
            texts += [_payload(kinds.choice([1, 11, 99]), None, None, None)]
        data = b"".join(
            peer.frame(text) + (_frame(b"p", 0x89) if kinds.random() < 0.2 else b"")
            for text in texts
        )
        data += _frame((4001).to_bytes(2, "big") + b"bye", 0x88)
        events, at = [], 0
        while at < len(data):
            size = generator.choice(sizes)
            peer.connection.receive_data(data[at : at + size], now=1.0)
            at += size
            events += peer.taken(1.0)
        return events, peer.connection.session, peer.connection.state

    whole = run((10**7,), 10**9)

    assert isinstance(whole[0][-1], Closed)
    for sizes, limit in (((1, 7, 100), 10**9), ((1, 5000), 10_000), ((10**7,), 1), ((300,), 1)):
        assert run(sizes, limit) == whole


# ----- what is paused, and what ends, while input waits -----


def test_paused_connection_does_not_process_held_input() -> None:
    peer = Peer()
    connection = peer.connection
    connection.receive_data(b"".join(peer.dispatch(number) for number in range(2, 8)), now=1.0)
    first = connection.events()
    connection.pause(now=1.0)

    assert connection.next_timer() == MILLISECONDS / 2000
    connection.handle_timer(now=2.0)
    assert connection.events() == []
    connection.unpause(now=3.0)

    assert _sequences(first + peer.taken(3.0)) == list(range(2, 8))


def test_heartbeat_ack_in_held_input_prevents_a_zombie() -> None:
    peer = Peer()
    connection = peer.connection
    connection.handle_timer(now=MILLISECONDS / 2000)  # the first heartbeat
    connection.receive_data(
        peer.dispatch(2) + peer.dispatch(3) + peer.frame(_payload(11)), now=21.0
    )

    connection.handle_timer(now=60.0)  # events are taken only long after the second
    connection.handle_timer(now=100.0)
    assert connection.state is State.READY
    events = peer.taken(100.0)

    assert any(isinstance(event, HeartbeatAcked) for event in events)
    assert not any(isinstance(event, Closed) for event in events)
    connection.handle_timer(now=200.0)
    connection.handle_timer(now=300.0)
    assert connection.state is State.CLOSED, "afterwards a missing ACK counts again"


def test_unpause_does_not_run_timers_while_input_is_held() -> None:
    peer = Peer()
    connection = peer.connection
    connection.handle_timer(now=MILLISECONDS / 2000)  # the first heartbeat
    held = peer.dispatch(2) + peer.dispatch(3) + peer.frame(_payload(11))
    connection.receive_data(held, now=21.0)

    connection.pause(now=21.0)
    connection.unpause(now=22.0)  # before the events are taken
    connection.handle_timer(now=60.0)
    connection.handle_timer(now=100.0)

    assert connection.state is State.READY


def test_held_input_extends_the_timeout_of_a_request_once() -> None:
    peer = Peer()
    connection = peer.connection
    connection.request(RequestGuildMembers("1", "a", 5), now=0.0, timeout=30.0)
    connection.receive_data(peer.dispatch(2) + peer.dispatch(3) + peer.dispatch(4), now=10.0)
    connection.pause(now=10.0)
    connection.unpause(now=20.0)

    events = peer.taken(21.0)
    assert _sequences(events) == [2, 3, 4]
    connection.handle_timer(now=40.9)
    assert not any(isinstance(event, RequestFailed) for event in connection.events())
    connection.handle_timer(now=41.0)

    assert any(isinstance(event, RequestFailed) for event in connection.events())


def test_close_frame_in_held_input_is_used_at_eof() -> None:
    peer = Peer()
    close = _frame((4004).to_bytes(2, "big"), 0x88)
    data = b"".join(peer.dispatch(number) for number in range(2, 8)) + close
    peer.connection.receive_data(data, now=1.0)

    peer.connection.receive_eof(now=1.0)

    *dispatches, closed = peer.connection.events()
    assert _sequences(dispatches) == [2, 3]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.next_action) == (4004, NextAction.STOP)
    assert peer.connection.next_timer() is None


def test_messages_in_held_input_are_dropped_at_eof() -> None:
    peer = Peer()
    peer.connection.receive_data(b"".join(peer.dispatch(number) for number in range(2, 8)), now=1.0)

    peer.connection.receive_eof(now=1.0)

    closed = peer.connection.events()[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.next_action) == (None, NextAction.RESUME)
    assert peer.connection.session is not None
    assert peer.connection.session.sequence == 3, "a resume replays the others"


def test_close_drops_the_held_input() -> None:
    peer = Peer()
    connection = peer.connection
    answer = _frame((1000).to_bytes(2, "big"), 0x88)
    connection.receive_data(b"".join(peer.dispatch(number) for number in range(2, 8)), now=1.0)

    connection.close(1000, now=1.0)
    connection.receive_data(peer.dispatch(8) + answer, now=1.0)
    events = peer.taken(1.0)

    assert _sequences(events) == [2, 3]
    assert isinstance(events[-1], Closed)
    assert connection.state is State.CLOSED


def test_messages_after_our_close_are_dropped_without_held_input() -> None:
    peer = Peer()
    connection = peer.connection
    connection.receive_data(peer.dispatch(2) + peer.dispatch(3), now=1.0)
    connection.close(1000, now=1.0)

    connection.receive_data(peer.dispatch(4) + peer.dispatch(5), now=1.0)

    assert _sequences(peer.taken(1.0)) == [2, 3]


def test_events_limit_before_ready_applies_within_one_read() -> None:
    """On the general path as on the fast one."""
    sender = make_compressor(Compression.ZLIB_STREAM)
    config = Config(
        token="t",
        intents=0,
        gateway_url="ws://localhost:1",
        compression="zlib-stream",
        events_limit=1000,
    )
    connection: Any = Client(config).dial_succeeded(now=0.0, framing=False)
    messages = [sender.send(_payload(99), large=True) for _ in range(20)]

    connection._process([MessageBatch(messages, False)], 0.0)
    counts = []
    while events := connection.events():
        counts.append(len(events))
        connection.handle_timer(now=0.0)

    assert sum(counts) == 21  # with Opened
    assert max(counts) == 5


def test_events_limit_applies_before_the_answer_to_resume() -> None:
    sender = make_compressor(Compression.ZLIB_STREAM)
    client = Client(
        Config(
            token="t",
            intents=0,
            gateway_url="ws://localhost:1",
            compression="zlib-stream",
            events_limit=1000,
        ),
        session=Session(id="s", sequence=5, version=10, token_fingerprint=token_fingerprint("t")),
    )
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    hello = _payload(10, {"heartbeat_interval": MILLISECONDS})
    connection.receive_message(sender.send(hello, large=True), now=0.0)
    assert connection.state is State.RESUMING
    messages = [sender.send(_payload(99), large=True) for _ in range(20)]

    connection._process([MessageBatch(messages, False)], 0.0)
    counts = []
    while events := connection.events():
        counts.append(sum(isinstance(event, UnknownPayload) for event in events))
        connection.handle_timer(now=0.0)

    assert sum(counts) == 20
    assert max(counts) == 4


def test_events_limit_before_ready_applies_to_messages() -> None:
    connection = Client(
        Config(token="t", intents=0, gateway_url="ws://localhost:1", events_limit=1000)
    ).dial_succeeded(now=0.0, framing=False)

    for _ in range(20):
        connection.receive_message(_payload(99).decode(), now=0.0)
    events = connection.events()
    connection.handle_timer(now=0.0)

    assert len(events) < 6
    assert connection.events() != []


# ----- what waits to be sent -----


def test_peer_that_does_not_read_its_responses_is_dropped() -> None:
    peer = Peer("none", output_limit=10_000)
    requests = _frame(_payload(1), 0x81) * 100

    for _ in range(20):
        peer.connection.receive_data(requests, now=1.0)
        peer.connection.events()
        waiting = peer.connection._frames.buffered_bytes

    assert peer.connection.state is State.CLOSED
    assert 10_000 < waiting < 20_000
    assert peer.client.last_closed is not None
    assert peer.client.last_closed.next_action is NextAction.RESUME
    assert "does not read" in (peer.client.last_closed.error or "")


def test_many_heartbeat_requests_keep_the_send_record_bounded() -> None:
    peer = Peer("none")
    requests = _frame(_payload(1), 0x81) * 1000

    for number in range(20):
        peer.connection.receive_data(requests, now=1.0 + number)
        peer.taken(1.0 + number)
        peer.connection.data_to_send()

    assert len(peer.connection._sender.queue.window._sent) <= 120


def test_compressed_message_may_end_while_its_start_is_held() -> None:
    """The rest of a text arrives while its start is held."""
    peer = Peer()
    connection = peer.connection
    data = b"".join(peer.dispatch(number) for number in range(2, 6))
    text = peer.frame(_payload(0, "y" * 1000, 6, "B"))

    connection.receive_data(data + text[:5], now=1.0)
    connection.receive_data(text[5:], now=1.0)

    assert _sequences(peer.taken(1.0)) == [2, 3, 4, 5, 6]
