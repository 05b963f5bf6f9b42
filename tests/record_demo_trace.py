"""Record docs/traces/demo.jsonl, a trace with many kinds of events.

To record it again after an intended change: `PYTHONPATH=. python tests/record_demo_trace.py`.
"""

from __future__ import annotations

import itertools
import pathlib

from gateway_proto import (
    Client,
    Config,
    HeartbeatRequested,
    Intents,
    ReconnectRequested,
    UpdateVoiceState,
)
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, World
from gateway_proto.testing import Link
from gateway_proto.trace import Recorder

FILE = pathlib.Path(__file__).parents[1] / "docs" / "traces" / "demo.jsonl"
_NAMES = ["MESSAGE_CREATE"] * 7 + ["TYPING_START"] * 4 + ["MESSAGE_REACTION_ADD"] * 2
_NAMES += ["MESSAGE_UPDATE", "GUILD_MEMBER_UPDATE", "CHANNEL_UPDATE"]


def _numbers(step: float) -> itertools.cycle[float]:
    return itertools.cycle([(step * n) % 1 for n in range(1, 98)])


def record() -> list[str]:
    """Record twelve minutes: dispatches, a drop, a resume, op 7, a zombie, a rate-limited burst."""
    lines: list[str] = []
    recorder = Recorder(lines.append)
    jitter, noise = _numbers(0.618034), _numbers(0.414214)
    client: Client = recorder.client(
        Config(
            token="demo-token-of-nobody",
            intents=Intents.GUILDS | Intents.GUILD_MESSAGES,
            compression="zlib-stream",
            api_url="http://localhost/api",
            random=lambda: next(jitter),
        )
    )
    # On its third WebSocket the server stops acknowledging heartbeats.
    faults = [
        Fault("no_acks", on="resumed", connection=3, after=50),
        Fault("refuse", connection=4, status=503, on="upgrade"),
    ]
    server = Server(
        ServerConfig(
            world=World([{"id": "41771983423143937", "name": "a guild"}]),
            scenario=Scenario(faults),
            random=lambda: next(jitter),
        )
    )
    link = Link(client, server, now=1000.0, delay=0.03)

    def run(seconds: float, every: float) -> None:
        end = link.now + seconds
        while link.now < end:
            link.delay = 0.02 + 0.06 * next(noise) ** 3
            name = _NAMES[int(next(noise) * len(_NAMES))]
            data = {"id": str(int(link.now * 1000)), "content": "hello" * int(1 + 4 * next(noise))}
            server.dispatch(name, data, now=link.now, to=lambda _: True)
            link.run(every * 2 * next(noise) + 0.01)

    run(100, 1.0)
    link.cut()
    run(80, 0.6)
    link.server.send(ReconnectRequested())
    run(60, 0.5)
    for number in range(170):  # more than the rate limit of a minute
        link.client.send(UpdateVoiceState("41771983423143937", str(number)))
    run(90, 1.0)
    link.run(1)
    run(200, 1.4)
    link.dead_hosts.add("localhost")
    link.cut()
    link.run(8)
    link.dead_hosts.clear()
    run(60, 0.8)
    for connection in server.open_connections:
        connection.send(HeartbeatRequested(), now=link.now)
    run(30, 1.0)
    for connection in server.open_connections:
        connection.close(4009, "Session timed out", now=link.now)
    run(60, 0.8)
    client.stop(keep_session=False, now=link.now)
    link.run(5)
    recorder.close()
    return lines


if __name__ == "__main__":
    FILE.write_text("".join(record()))
    print(FILE)
