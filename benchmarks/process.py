"""Ratios to the baseline: bytes to events in one process, without a socket.

A `ClientConnection` with all that it does (frames, limits, heartbeats, sequence, events) reads
chunks of 64 KiB, as does the baseline. With `data` each event is decoded too, and compared with a
baseline that decodes whole payloads.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.baseline import Baseline
from benchmarks.encoder import COMPRESSIONS, accept, conversation, raw_dispatches
from benchmarks.options import Options
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, spread, timed
from gateway_proto import ClientConnection, Config, Dispatch, State

__all__ = ["NAME", "figures", "measure", "ready_client", "show"]

NAME = "process"
_CHUNK = 65536
_TARGETS = {"none": 1.6, "zlib-stream": 1.25, "zstd-stream": 1.35}


def ready_client(compression: str, hello: bytes, ready: bytes) -> ClientConnection:
    """A client that has just become READY."""
    config = Config(token="t", intents=513, gateway_url="ws://localhost", compression=compression)
    client = ClientConnection(config, "ws://localhost", now=0.0)
    client.receive_data(accept(client.data_to_send()) + hello, now=0.0)
    client.data_to_send()
    client.receive_data(ready, now=0.0)
    client.events()
    if client.state is not State.READY:
        raise SystemExit(f"the client did not become READY: it is {client.state}")
    return client


def _client(client: ClientConnection, chunks: list[bytes]) -> int:
    count = 0
    for chunk in chunks:
        client.receive_data(chunk, now=1.0)
        client.data_to_send()
        for event in client.events():
            if type(event) is Dispatch:
                count += 1
        client.next_timer()
    return count


def _client_with_data(client: ClientConnection, chunks: list[bytes]) -> int:
    count = 0
    for chunk in chunks:
        client.receive_data(chunk, now=1.0)
        client.data_to_send()
        for event in client.events():
            if type(event) is Dispatch and event.data is not None:
                count += 1
        client.next_timer()
    return count


def _baseline(baseline: Baseline, chunks: list[bytes]) -> int:
    return sum(map(baseline.feed, chunks))


def measure(options: Options) -> dict[str, Any]:
    """Microseconds an event, for each compression."""
    raw = raw_dispatches(options.dispatches)
    result: dict[str, Any] = {"dispatches": options.dispatches, "rounds": options.rounds}
    result["bytes_an_event"] = sum(len(d) for _, d in raw) / len(raw)
    for compression in COMPRESSIONS:
        hello, _, ready, frames = conversation(compression, raw)
        chunks = [frames[at : at + _CHUNK] for at in range(0, len(frames), _CHUNK)]
        rounds: dict[str, list[float]] = {}
        for round_ in range(options.rounds + 1):
            for name in ("baseline", "client", "baseline_full", "client_data"):
                if name.startswith("baseline"):
                    baseline = Baseline(compression, full=name == "baseline_full")
                    baseline.feed(hello + ready)
                    seconds, count = timed(partial(_baseline, baseline, chunks))
                else:
                    client = ready_client(compression, hello, ready)
                    read = _client if name == "client" else _client_with_data
                    seconds, count = timed(partial(read, client, chunks))
                if count != options.dispatches:
                    raise SystemExit(f"{name} read {count} of {options.dispatches} dispatches")
                if round_:  # the first one warms up
                    rounds.setdefault(name, []).append(seconds / count * 1e6)
        result[compression] = {
            "microseconds": {name: spread(values) for name, values in rounds.items()},
            "ratio": ratio(rounds["client"], rounds["baseline"]),
            "ratio_data": ratio(rounds["client_data"], rounds["baseline_full"]),
        }
    return result


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for compression in COMPRESSIONS:
        cell = result[compression]
        us = [f"{cell['microseconds'][n]['median']:.2f}" for n in cell["microseconds"]]
        row = [compression, *us[:2], times(cell["ratio"]), *us[2:], times(cell["ratio_data"])]
        rows.append(row)
    return table(
        f"bytes to events in process, us an event, {result['dispatches']} dispatches of "
        f"{result['bytes_an_event']:.0f} bytes on average, {result['rounds']} rounds",
        ["", "baseline", "client", "ratio", "baseline_full", "with data", "ratio"],
        rows,
    )


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    return [
        Figure(f"process: {c}, of baseline", target, result[c]["ratio"]["median"])
        for c, target in _TARGETS.items()
        if c in result
    ]
