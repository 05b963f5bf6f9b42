"""Ratios to the baseline: bytes to events in one process, without a socket.

A `ClientConnection` with all that it does (frames, limits, heartbeats, sequence, events) reads
chunks of 64 KiB, as does the baseline. What an application takes of the events is compared with a
baseline that decodes whole payloads: all data, that of each second event, or a few fields.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from benchmarks.baseline import Baseline
from benchmarks.encoder import COMPRESSIONS, accept, conversation, raw_dispatches
from benchmarks.options import Options
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, spread, timed
from gateway_proto import ClientConnection, Config, Dispatch, State
from gateway_proto.encoding import etf

__all__ = ["NAME", "figures", "measure", "ready_client", "show"]

NAME = "process"
_CHUNK = 65536
_TARGETS = {
    "client": {"none": 1.15, "zlib-stream": 1.15, "zstd-stream": 1.2},
    "data": dict.fromkeys(COMPRESSIONS, 1.25),
    "half": dict.fromkeys(COMPRESSIONS, 1.0),
    "typed": dict.fromkeys(COMPRESSIONS, 1.0),
    **({"etf": dict.fromkeys(COMPRESSIONS, 2.0)} if etf.available() else {}),
}
"""At most this ratio to the baseline, or to the full baseline if data is taken. The ratio of "etf",
which takes all data in the other encoding, is to "data".
"""
_LOST_ABOVE = {"client": 1.4, "etf": 5.0}
"""Multiples of the target that show a lost fast path; 2.0 for the others. Without the fast path of
dispatches, "client" takes 1.6 times its target ("none").
"""


class Fields(msgspec.Struct):
    """Fields that a bot that answers messages reads."""

    id: str | None = None
    guild_id: str | None = None
    channel_id: str | None = None
    content: str = ""
    edited_timestamp: str | None = None


def ready_client(
    compression: str, hello: bytes, ready: bytes, encoding: str = "json"
) -> ClientConnection:
    """A client that has just become READY."""
    config = Config(
        token="t",
        intents=513,
        gateway_url="ws://localhost",
        compression=compression,
        encoding=encoding,
    )
    client = ClientConnection(config, "ws://localhost", now=0.0)
    client.receive_data(accept(client.data_to_send()) + hello, now=0.0)
    client.data_to_send()
    client.receive_data(ready, now=0.0)
    client.events()
    if client.state is not State.READY:
        raise SystemExit(f"the client did not become READY: it is {client.state}")
    return client


def _client(client: ClientConnection, chunks: list[bytes], take: str) -> int:
    all_, half, typed = take in ("data", "etf"), take == "half", take == "typed"
    count = 0
    for chunk in chunks:
        client.receive_data(chunk, now=1.0)
        client.data_to_send()
        events = client.events()
        events.reverse()
        while events:  # as the adapters do: an event is freed when it is handled
            event = events.pop()
            if type(event) is Dispatch:
                if (all_ or (half and count & 1)) and event.data is None:
                    raise SystemExit("a dispatch without data")
                if typed and event.decode(Fields) is None:
                    raise SystemExit("a dispatch without fields")
                count += 1
        client.next_timer()
    return count


def _chunks(frames: bytes) -> list[bytes]:
    return [frames[at : at + _CHUNK] for at in range(0, len(frames), _CHUNK)]


def _baseline(baseline: Baseline, chunks: list[bytes]) -> int:
    return sum(map(baseline.feed, chunks))


def measure(options: Options) -> dict[str, Any]:
    """Microseconds an event, for each compression."""
    raw = raw_dispatches(options.dispatches)
    result: dict[str, Any] = {"dispatches": options.dispatches, "rounds": options.rounds}
    result["bytes_an_event"] = sum(len(d) for _, d in raw) / len(raw)
    for compression in COMPRESSIONS:
        hello, _, ready, frames = conversation(compression, raw)
        chunks = _chunks(frames)
        if "etf" in _TARGETS:
            etf_hello, _, etf_ready, etf_frames = conversation(compression, raw, encoding="etf")
            etf_chunks = _chunks(etf_frames)
        rounds: dict[str, list[float]] = {}
        for round_ in range(options.rounds + 1):
            for name in ("baseline", "baseline_full", *_TARGETS):
                work: Callable[[], int]
                if name.startswith("baseline"):
                    baseline = Baseline(compression, full=name == "baseline_full")
                    baseline.feed(hello + ready)
                    work = partial(_baseline, baseline, chunks)
                elif name == "etf":
                    client = ready_client(compression, etf_hello, etf_ready, "etf")
                    work = partial(_client, client, etf_chunks, name)
                else:
                    work = partial(_client, ready_client(compression, hello, ready), chunks, name)
                seconds, count = timed(work)
                if count != options.dispatches:
                    raise SystemExit(f"{name} read {count} of {options.dispatches} dispatches")
                if round_:  # the first one warms up
                    rounds.setdefault(name, []).append(seconds / count * 1e6)
        result[compression] = {
            "microseconds": {name: spread(values) for name, values in rounds.items()},
            "ratio": {name: ratio(rounds[name], rounds[_of(name)]) for name in _TARGETS},
        }
    return result


def _of(name: str) -> str:
    """Return the baseline that a client is compared with; of ETF, the client of JSON."""
    return {"client": "baseline", "etf": "data"}.get(name, "baseline_full")


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for compression in COMPRESSIONS:
        cell = result[compression]
        for name, us in cell["microseconds"].items():
            compared = [_of(name), times(cell["ratio"][name])] if name in _TARGETS else ["", ""]
            rows.append([compression, name, f"{us['median']:.2f}", *compared])
    return table(
        f"bytes to events in process, us of CPU time an event, {result['dispatches']} dispatches "
        f"of {result['bytes_an_event']:.0f} bytes on average, {result['rounds']} rounds",
        ["", "", "us", "of", "ratio"],
        rows,
    )


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against the targets."""
    return [
        Figure(
            f"process: {name} of {_of(name)}, {c}",
            target,
            result[c]["ratio"][name]["median"],
            lost_above=_LOST_ABOVE.get(name, 2.0),
        )
        for name, targets in _TARGETS.items()
        for c, target in targets.items()
        if c in result
    ]
