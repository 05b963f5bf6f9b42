"""Cost of an event or command after many others: it should stay constant.

Connections alternate with 4 KiB each, so that each step finds another one's state cold in the
caches; the baseline does the same, since no connection can escape that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.baseline import Baseline
from benchmarks.encoder import COMPRESSIONS, GatewayEncoder, conversation, raw_dispatches
from benchmarks.options import Options
from benchmarks.process import ready_client
from benchmarks.server_growth import by_dispatches, by_sessions
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, timed
from gateway_proto import ClientConnection, Dispatch, UpdateVoiceState

__all__ = ["NAME", "figures", "measure", "show"]

NAME = "scaling"
_CHUNK = 65536
_TURN = 4096
_BLOCK = 10_000
_BLOCKS = 20
_QUEUED = (0, 10, 900)
_SENDS = 50
"""Commands timed after the queued ones; a connection queues at most 1,000."""
_CONNECTIONS = (1, 100, 1000)
_SESSIONS = (10, 100, 1000)
"""Sessions of a server. With fewer the cost of encoding a dispatch, which they share, counts."""
_EACH = 50
"""Dispatches of one connection where there are most; more than the 32 KiB that zlib looks back."""
_FLAT = 1.15
"""Ratio that counts as constant: runs of the same work differ by as much."""


def _chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _feed(client: ClientConnection, chunks: list[bytes]) -> int:
    count = 0
    for chunk in chunks:
        client.receive_data(chunk, now=1.0)
        client.data_to_send()
        for event in client.events():
            if type(event) is Dispatch:
                count += 1
    return count


def _check(count: int, wanted: int) -> None:
    if count != wanted:
        raise SystemExit(f"{count} of {wanted} dispatches were read")


def _by_events(options: Options, block: int, blocks: int) -> dict[str, Any]:
    """The same block again and again, with ever larger sequence numbers."""
    writer = GatewayEncoder("none")
    hello, ready = writer.hello(), writer.ready("ws://127.0.0.1")
    raw = raw_dispatches(block)
    first: list[float] = []
    last: list[float] = []
    for _ in range(options.rounds):
        client = ready_client("none", hello, ready)
        for n in range(blocks):
            # All with as many digits.
            start = 1_000_000 + n * block
            frames = b"".join(writer.dispatch(t, start + i, d) for i, (t, d) in enumerate(raw))
            chunks = _chunks(frames, _CHUNK)
            seconds, count = timed(partial(_feed, client, chunks))
            _check(count, block)
            if n in (1, blocks - 1):  # the very first one warms up
                (first if n == 1 else last).append(seconds / block * 1e6)
    return {"seen": block * blocks, "last_of_first": ratio(last, first)}


def _by_queue(options: Options, block: int) -> dict[str, Any]:
    hello, _, ready, frames = conversation("none", raw_dispatches(block))
    chunks = _chunks(frames, _CHUNK)
    rounds: dict[int, list[float]] = {n: [] for n in _QUEUED}
    for round_ in range(options.rounds + 1):
        for queued in _QUEUED:
            client = _with_commands(hello, ready, queued)
            seconds, count = timed(partial(_feed, client, chunks))
            _check(count, block)
            if len(client.queued_commands) != queued:
                raise SystemExit(f"{len(client.queued_commands)} commands wait, not {queued}")
            if round_:
                rounds[queued].append(seconds / block * 1e6)
    return {str(n): ratio(values, rounds[0]) for n, values in rounds.items()}


def _by_sends(options: Options) -> dict[str, Any]:
    """Sending the next command, which waits too."""
    hello, _, ready, _ = conversation("none", [])
    counts = _QUEUED[1:]
    rounds: dict[int, list[float]] = {n: [] for n in counts}
    for round_ in range(options.rounds * 3 + 1):
        for queued in counts:
            client = _with_commands(hello, ready, queued)
            seconds, _ = timed(partial(_send, client, _SENDS))
            if len(client.queued_commands) != queued + _SENDS:
                raise SystemExit(
                    f"{len(client.queued_commands)} commands wait, not {queued + _SENDS}"
                )
            if round_:
                rounds[queued].append(seconds / _SENDS * 1e6)
    return {str(n): ratio(values, rounds[counts[0]]) for n, values in rounds.items()}


def _with_commands(hello: bytes, ready: bytes, queued: int) -> ClientConnection:
    client = ready_client("none", hello, ready)
    while len(client.queued_commands) < queued:
        _send(client, 1)
    client.data_to_send()
    return client


def _send(client: ClientConnection, count: int) -> None:
    for _ in range(count):
        client.send(UpdateVoiceState(guild_id="1", channel_id="2"), now=0.5)


def _by_connections(options: Options, counts: tuple[int, ...]) -> dict[str, Any]:
    """As many dispatches in all, and the same ones, however many connections share them."""
    result: dict[str, Any] = {}
    raw = raw_dispatches(_EACH)
    for compression in COMPRESSIONS:
        client: dict[int, list[float]] = {n: [] for n in counts}
        baseline: dict[int, list[float]] = {n: [] for n in counts}
        for many in counts:
            again = counts[-1] // many
            hello, _, ready, frames = conversation(compression, raw * again)
            chunks = _chunks(frames, _TURN)
            for round_ in range(options.rounds + 1):
                clients = [ready_client(compression, hello, ready) for _ in range(many)]
                baselines = [Baseline(compression) for _ in range(many)]
                for one in baselines:
                    one.feed(hello + ready)
                fed: list[Callable[[bytes], int]] = [partial(_feed_one, c) for c in clients]
                bare: list[Callable[[bytes], int]] = [one.feed for one in baselines]
                for seconds_of, feeds in ((client, fed), (baseline, bare)):
                    seconds, count = timed(partial(_alternate, feeds, chunks))
                    _check(count, _EACH * counts[-1])
                    if round_:
                        seconds_of[many].append(seconds / count * 1e6)
        result[compression] = {
            str(n): {
                "client": ratio(client[n], client[1]),
                "baseline": ratio(baseline[n], baseline[1]),
            }
            for n in counts
        }
    return result


def _feed_one(client: ClientConnection, chunk: bytes) -> int:
    return _feed(client, [chunk])


def _alternate(feeds: list[Callable[[bytes], int]], chunks: list[bytes]) -> int:
    return sum(feed(chunk) for chunk in chunks for feed in feeds)


def measure(options: Options) -> dict[str, Any]:
    """Ratios to the beginning, to an empty queue, and to one connection."""
    block, blocks = (5_000, 6) if options.short else (_BLOCK, _BLOCKS)
    counts = _CONNECTIONS[:2] if options.short else _CONNECTIONS
    return {
        "events": _by_events(options, block, blocks),
        "queued": _by_queue(options, block),
        "sends": _by_sends(options),
        "connections": _by_connections(options, counts),
        "server_sessions": by_sessions(options, _SESSIONS[: 2 if options.short else 3]),
        "server_dispatches": by_dispatches(
            options, *((2_000, 4) if options.short else (10_000, 10))
        ),
    }


def show(result: dict[str, Any]) -> str:
    """The tables."""
    events = result["events"]
    rows = [[f"after {events['seen']} events seen", times(events["last_of_first"])]]
    rows += [[f"with {n} commands queued", times(r)] for n, r in result["queued"].items()]
    text = table("what an event costs, of what it costs at first", ["", "ratio"], rows)
    rows = [[f"after {n} queued", times(r)] for n, r in result["sends"].items()]
    text += "\n" + table("what a command costs that must wait", ["", "ratio"], rows)
    rows = [
        [f"{compression}, {n}", times(cell["client"]), times(cell["baseline"])]
        for compression, by_count in result["connections"].items()
        for n, cell in by_count.items()
    ]
    title = "cost of an event with many alternating connections, relative to one"
    text += "\n" + table(title, ["", "client", "baseline"], rows)
    rows = [
        [f"{n} sessions", times(cell["server"]), times(cell["baseline"])]
        for n, cell in result["server_sessions"].items()
    ]
    seen = result["server_dispatches"]
    rows.append([f"after {seen['seen']} dispatches", times(seen["last_of_first"]), ""])
    title = f"cost of a dispatch of a server to each session, relative to {_SESSIONS[0]} sessions"
    return text + "\n" + table(title, ["", "server", "baseline"], rows)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against flat."""
    most = max(result["queued"], key=int)
    found = [
        Figure("scaling: events seen", _FLAT, result["events"]["last_of_first"]["median"]),
        Figure(f"scaling: {most} commands queued", _FLAT, result["queued"][most]["median"]),
        Figure(f"scaling: a command after {most}", _FLAT, result["sends"][most]["median"]),
    ]
    for compression, by_count in result["connections"].items():
        many = max(by_count, key=int)
        cell = by_count[many]
        # The baseline has the cost of CPU caches; the rest is that of the library.
        beyond = cell["client"]["median"] / max(1.0, cell["baseline"]["median"])
        found.append(Figure(f"scaling: {many} connections, {compression}", _FLAT, beyond))
    sessions = result["server_sessions"]
    many = max(sessions, key=int)
    beyond = sessions[many]["server"]["median"] / max(1.0, sessions[many]["baseline"]["median"])
    found.append(Figure(f"scaling: {many} sessions of a server", _FLAT, beyond))
    seen = result["server_dispatches"]["last_of_first"]["median"]
    found.append(Figure("scaling: dispatches of a server", _FLAT, seen))
    return found
