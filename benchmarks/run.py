"""seeded dispatches → ratios: bytes to events in process, against a bare loop (the floor).

The floor cuts frames by hand, inflates, and decodes the envelope with `d` left raw; it does
nothing else that a client must. All figures are medians of interleaved runs in one invocation.

    python benchmarks/run.py [--short] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
import zlib
from typing import Any

from gateway_proto import ClientConnection, Config, Dispatch, Ready, Server, ServerConfig
from gateway_proto._layers.payloads import decode

_CHUNK = 65536


def corpus(count: int) -> list[dict[str, Any]]:
    """Dispatches of about 1.2 kB on average, a few of them large guilds."""
    chance = random.Random(5)
    words = ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "elit", "sed", "eiusmod"]

    def text(length: int) -> str:
        return " ".join(chance.choice(words) for _ in range(length))

    def member() -> dict[str, Any]:
        return {
            "user": {"id": str(chance.getrandbits(62)), "username": text(1), "avatar": None},
            "roles": [str(chance.getrandbits(62)) for _ in range(3)],
            "joined_at": "2026-01-01T00:00:00+00:00",
        }

    def one() -> dict[str, Any]:
        large = chance.random() < 0.002
        return {
            "id": str(chance.getrandbits(62)),
            "channel_id": str(chance.getrandbits(62)),
            "content": text(chance.randrange(20, 120)),
            "member": member(),
            "members": [member() for _ in range(500 if large else 0)],
        }

    return [one() for _ in range(count)]


def conversation(
    dispatches: list[dict[str, Any]], compression: str
) -> tuple[ClientConnection, bytes, list[bytes]]:
    """A client that is READY; the frames that it has read; chunks of those that it has not."""
    config = Config(token="t", intents=512, gateway_url="ws://localhost", compression=compression)
    server = Server(ServerConfig(replay_limit=1, output_limit=2**40))
    connection = server.accept(now=0.0)
    client = ClientConnection(config, "ws://localhost", now=0.0)
    read = b""
    while not any(isinstance(event, Ready) for event in client.events()):
        connection.receive_data(client.data_to_send(), now=0.0)
        data = connection.data_to_send()
        client.receive_data(data, now=0.0)
        read += data
    for data in dispatches:
        server.dispatch("MESSAGE_CREATE", data, now=0.0)
    unread = connection.data_to_send()
    chunks = [unread[at : at + _CHUNK] for at in range(0, len(unread), _CHUNK)]
    return client, read.partition(b"\r\n\r\n")[2], chunks


def machine(client: ClientConnection, chunks: list[bytes]) -> int:
    """Bytes to events."""
    count = 0
    for chunk in chunks:
        client.receive_data(chunk, now=1.0)
        count += sum(type(event) is Dispatch for event in client.events())
    return count


def floor(read: bytes, chunks: list[bytes], compression: str) -> int:
    """The least that reading the dispatches takes."""
    context = zlib.decompressobj()
    inflate = compression == "zlib-stream"
    buffer = bytearray(read)
    count = 0
    for chunk in [b"", *chunks]:
        buffer += chunk
        at = 0
        while len(buffer) - at >= 2:
            length, head = buffer[at + 1], 2
            if length == 126:
                length, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            elif length == 127:
                length, head = int.from_bytes(buffer[at + 2 : at + 10], "big"), 10
            if len(buffer) - at < head + length:
                break
            message = bytes(buffer[at + head : at + head + length])
            at += head + length
            payload = decode(context.decompress(message) if inflate else message)
            count += payload.t == "MESSAGE_CREATE"
        del buffer[:at]
    return count


def measure(count: int, rounds: int, compression: str) -> dict[str, Any]:
    """Medians in microseconds an event, and the ratio of each round."""
    dispatches = corpus(count)
    machine_times: list[float] = []
    floor_times: list[float] = []
    for _ in range(rounds):
        client, read, chunks = conversation(dispatches, compression)
        began = time.perf_counter()
        done = machine(client, chunks)
        machine_times.append(time.perf_counter() - began)
        began = time.perf_counter()
        done_by_floor = floor(read, chunks, compression)
        floor_times.append(time.perf_counter() - began)
        if not count == done == done_by_floor:
            raise SystemExit(f"{count} dispatches: {done} read, {done_by_floor} by the floor")
    ratios = [a / b for a, b in zip(machine_times, floor_times, strict=True)]
    return {
        "compression": compression,
        "dispatches": count,
        "rounds": rounds,
        "floor_us": statistics.median(floor_times) / count * 1e6,
        "machine_us": statistics.median(machine_times) / count * 1e6,
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer dispatches and rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    count, rounds = (3_000, 3) if arguments.short else (60_000, 7)
    rows = [measure(count, rounds, compression) for compression in ("none", "zlib-stream")]
    print(f"bytes to events, {count} dispatches, medians of {rounds} interleaved rounds")
    print(f"{'':12} {'floor':>9} {'machine':>9} {'ratio':>6}  (of each round)")
    for row in rows:
        print(
            f"{row['compression']:12} {row['floor_us']:6.1f} us {row['machine_us']:6.1f} us "
            f"{row['ratio']:6.2f}  ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
