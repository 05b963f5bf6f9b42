"""Third-party clients in each situation: recovery, commands, and every type of dispatch.

A client whose library is not installed is skipped. `nox -s clients` installs each.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import sys
from collections.abc import Callable, Iterator

import attrs
import pytest

from gateway_proto import (
    Identify,
    ReconnectRequested,
    RequestGuildMembers,
    Resume,
    SessionInvalidated,
    UpdatePresence,
    UpdateVoiceState,
)
from gateway_proto.server import Fault, World
from gateway_pytest import RunningGateway
from tests.adapters.bots import Bot
from tests.adapters.support import PATIENCE
from tests.adapters.third_party.dispatches import dispatches

_SCRIPT = pathlib.Path(__file__).parent / "third_party" / "python_bot.py"

pytestmark = pytest.mark.slow


@attrs.frozen
class Client:
    """A library, by its distribution and module, and a compression that it supports.

    `expected` finds the lines that it logs when the server injects a fault. `resumes_after_op_9` is
    whether it resumes after op 9 with `d: true`, as the documentation allows.
    """

    distribution: str
    module: str
    compression: str
    expected: str = "stopped responding"
    resumes_after_op_9: bool = True

    @property
    def is_installed(self) -> bool:
        """Whether the library is installed."""
        try:
            importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return False
        return True

    @property
    def query(self) -> str:
        """The parameter of the gateway's URL; empty without transport compression."""
        return f"compress={self.compression}" if self.compression.endswith("-stream") else ""


_HIKARI = "failed to communicate with server|has not received a HEARTBEAT_ACK"
_INTERACTIONS = "Gateway invalidated session|Heartbeat has not been acknowledged"
CLIENTS = [
    Client("discord.py", "discord", "zlib-stream"),
    Client("discord.py", "discord", "zstd-stream"),
    Client("py-cord", "discord", "zlib-stream"),
    Client("nextcord", "nextcord", "zlib-stream"),
    Client("disnake", "disnake", "none"),
    Client("disnake", "disnake", "zlib-stream"),
    Client("discord-py-interactions", "interactions", "zlib-stream", _INTERACTIONS, False),
    *(
        Client("hikari", "hikari", compression, _HIKARI)
        for compression in ("none", "payload", "zlib-stream", "zstd-stream")
    ),
]


@pytest.fixture(params=CLIENTS, ids=lambda client: f"{client.distribution}-{client.compression}")
def client(request: pytest.FixtureRequest) -> Client:
    client: Client = request.param
    if not client.is_installed:
        pytest.skip(f"{client.distribution} is not installed")
    if client.compression == "zstd-stream" and client.module == "discord":
        pytest.importorskip("zstandard")
    return client


@pytest.fixture
def bot(client: Client, gateway_server: RunningGateway) -> Iterator[Bot]:
    arguments = [client.module, gateway_server.api_url, gateway_server.token, client.compression]
    bot = Bot([sys.executable, str(_SCRIPT), *arguments], expected=client.expected)
    try:
        bot.expect("ready", timeout=2 * PATIENCE)
        gateway_server.wait_until_ready()
        yield bot
    finally:
        bot.end()


@pytest.mark.gateway(
    world=World.with_guild("Test", members=3),
    heartbeat_interval=4000,
    faults=[Fault("no_acks", on="resumed", connection=2)],
)
def test_client_recovers_from_each_loss(
    client: Client, bot: Bot, gateway_server: RunningGateway
) -> None:
    def lose(name: str, act: Callable[[], object]) -> None:
        act()
        gateway_server.say(f"during {name}")
        bot.expect(f"message during {name}", "resumed")
        gateway_server.wait_for(Resume)
        gateway_server.wait_until_ready()
        gateway_server.say(f"after {name}")
        bot.expect(f"message after {name}")

    lose("4000", lambda: gateway_server.close(4000))
    lose("missing ACKs", lambda: None)
    lose("op 7", lambda: gateway_server.send(ReconnectRequested()))
    lose("drop", gateway_server.drop)
    lose("1001", lambda: gateway_server.close(1001))
    if client.resumes_after_op_9:
        lose("op 9", lambda: gateway_server.send(SessionInvalidated(True)))
    gateway_server.send(SessionInvalidated(False))
    bot.expect("ready")
    gateway_server.wait_until_ready()
    gateway_server.say("again")
    bot.expect("message again")

    assert sum(type(event) is Identify for event in gateway_server.received) == 2


@pytest.mark.gateway(world=World.with_guild("Test", members=3), members_seconds=0)
def test_client_handles_each_command_and_dispatch(
    client: Client, bot: Bot, gateway_server: RunningGateway
) -> None:
    bot.order("members")
    gateway_server.wait_for(RequestGuildMembers)
    bot.expect("members 3")
    bot.order("presence")
    presence = gateway_server.wait_for(UpdatePresence)
    bot.order("voice")
    voice = gateway_server.wait_for(UpdateVoiceState)
    for name, build in dispatches():
        gateway_server.dispatch(name, build(gateway_server.server.world), allow_none=True)
    gateway_server.say("the end")
    bot.expect("message the end")

    assert presence.status == "idle"
    assert (voice.channel_id, voice.self_mute) == ("2001", True)
    paths = [event.path for event in gateway_server.received if type(event).__name__ == "Opened"]
    assert all(client.query in path if client.query else "compress" not in path for path in paths)
