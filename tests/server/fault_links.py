"""A client and a server with injected faults, in virtual time."""

from __future__ import annotations

from typing import Any

from gateway_proto import Client, Closed, Config, Dispatch, Identify, Intents, State
from gateway_proto.server import Fault, Scenario, Server, ServerConfig
from gateway_proto.testing import Link

__all__ = [
    "EVERY",
    "close_events",
    "identify_count",
    "is_ready",
    "received_numbers",
    "run_with_faults",
]


def run_with_faults(
    *faults: Fault, dispatches: int = 4, seconds: float = 180.0, **config: Any
) -> Link:
    """Run a client for three minutes, with some dispatches, and return the link."""
    given = {
        "token": "t",
        "intents": Intents.GUILDS,
        "gateway_url": "ws://localhost",
        "unix_offset": 0.0,
        "random": lambda: 0.5,
        "message_limit": 100_000,
    }
    server = Server(ServerConfig(scenario=Scenario(faults)))
    link = Link(Client(Config(**{**given, **config})), server)
    for number in range(1, dispatches + 1):
        link.run(seconds / dispatches / 2)
        server.dispatch("N", number, now=link.now)
        link.run(seconds / dispatches / 2)
    return link


def received_numbers(link: Link) -> list[int]:
    """Return the data of the numbered dispatches that the client received."""
    return [e.data for e in link.client.events if isinstance(e, Dispatch) and e.name == "N"]


def close_events(link: Link) -> list[Closed]:
    """Return the `Closed` events of the client."""
    return [event for event in link.client.events if isinstance(event, Closed)]


def is_ready(link: Link) -> bool:
    """Whether the connection of the client is in READY."""
    connection: Any = link.client.connection
    return connection.state is State.READY


def identify_count(link: Link) -> int:
    """Return the number of Identify payloads that the server received."""
    return sum(isinstance(event, Identify) for event in link.server.events)


EVERY = [
    Fault("refuse", on="upgrade", status=503),
    Fault("refuse", on="upgrade", status=520, reason="origin error"),
    Fault("refuse", on="upgrade", status=429, retry_after=7.0),
    *(
        Fault("drop", on=on, size=size)
        for on in ("open", "identify", "ready", "dispatch")
        for size in (0, 1, 7, 40)
    ),
    Fault("drop", on="resume", connection=2),
    Fault("close", code=1000),
    Fault("close", code=4000, on="open"),
    Fault("close", code=4000, reason="why", on="dispatch", nth=2),
    Fault("close", code=4009, on="heartbeat"),
    Fault("close", code=4007),
    Fault("close", code=4008),
    Fault("close", code=1001, after=5.0),
    Fault("reconnect", on="open"),
    Fault("reconnect", on="dispatch"),
    Fault("invalidate", on="open"),
    Fault("invalidate", on="identify"),
    Fault("invalidate", resumable=True),
    Fault("invalidate", after=20.0),
    Fault("silence", on="open"),
    Fault("silence", on="identify"),
    Fault("silence", on="dispatch"),
    Fault("no_acks"),
    Fault("hold", on="identify", seconds=10.0),
    Fault("hold", on="ready", seconds=10.0),
    Fault("hold", on="open", seconds=90.0),
    Fault("corrupt", on="ready"),
    Fault("corrupt", on="open"),
    Fault("corrupt_data", on="ready"),
    Fault("garbage"),
    Fault("garbage", on="open"),
    Fault("bomb", size=200_000),
    Fault("fragment", on="identify", size=5),
    Fault("merge", on="identify", size=2),
    Fault("merge", on="ready", size=3),
    Fault("merge", on="ready", size=99),
    Fault("trickle", on="open", size=3, seconds=0.05),
    Fault("trickle", on="ready", size=1, seconds=0.1),
    Fault("skip", size=7),
    Fault("repeat", on="dispatch", nth=2),
    Fault("resume_url", on="identify", url="ws://dead.localhost"),
    Fault("resume_url", on="identify", url="wss://evil.example"),
]
