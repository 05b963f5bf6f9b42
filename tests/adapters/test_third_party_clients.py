"""Third-party clients, unmodified: ready, a message, resume after a drop and after op 7."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any

import discord
import discord.http
import discord.utils
import pytest
import yarl
from discord.gateway import DiscordWebSocket

from gateway_asyncio import RunningServer, serve_gateway
from gateway_proto import Identify, Opened, ReconnectRequested, Resume
from gateway_proto.server import Server, ServerConfig, ServerConnection, ServerEvent, World

pytestmark = pytest.mark.slow

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI=.aaaaaa.bbbb"
SCRIPT = pathlib.Path(__file__).parent / "third_party" / "discordjs.cjs"
_AUTHOR = {"id": "4000", "username": "somebody", "discriminator": "0", "avatar": None}
_MESSAGE: dict[str, Any] = {
    "id": "3000",
    "channel_id": "2000",
    "author": {**_AUTHOR, "global_name": None},
    "timestamp": "2026-01-01T00:00:00+00:00",
    "edited_timestamp": None,
    "tts": False,
    "mention_everyone": False,
    "mentions": [],
    "mention_roles": [],
    "attachments": [],
    "embeds": [],
    "pinned": False,
    "type": 0,
    "flags": 0,
}


class ClientScenario:
    """The scenario of every client, and the commands that the server received."""

    def __init__(self) -> None:
        self.received: list[ServerEvent] = []

    async def run(self, client: Callable[[RunningServer], Any]) -> None:
        server = Server(ServerConfig(tokens={TOKEN}))  # type: ignore[arg-type]
        async with (
            asyncio.timeout(100),
            serve_gateway(server, on_event=lambda _, e: self.received.append(e)) as serving,
            client(serving) as expect,
        ):
            await expect({"ready"})
            self._say(serving, "one")
            await expect({"message one"})
            serving.drop()
            self._say(serving, "two")
            await expect({"message two", "resumed"})
            for connection in server.connections:
                if connection.session is not None:
                    connection.send(ReconnectRequested(), now=serving.now())
            self._say(serving, "three")
            await expect({"message three", "resumed"})

    def _say(self, serving: RunningServer, content: str) -> None:
        assert serving.dispatch("MESSAGE_CREATE", {**_MESSAGE, "content": content}) == 1

    def check(self, query: str) -> None:
        """Check for one session, two resumes, and the requested compression."""
        kinds = [type(event) for event in self.received]
        assert (kinds.count(Identify), kinds.count(Resume)) == (1, 2)
        opened = [event.path for event in self.received if isinstance(event, Opened)]
        assert len(opened) == 3
        assert all(query in path if query else "compress" not in path for path in opened)


class _ClientLines:
    """Lines of a client, each expected once, in any order within a step."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    async def expect(self, wanted: set[str]) -> None:
        wanted = set(wanted)
        while wanted:
            line = await self.lines.get()
            assert not line.startswith("error"), line
            wanted.discard(line)


# ----- hikari -----


class _Hikari(_ClientLines):
    def __init__(self, serving: RunningServer) -> None:
        super().__init__()
        hikari = pytest.importorskip("hikari")
        self._bot = hikari.GatewayBot(
            TOKEN,
            rest_url=f"{serving.api_url}/v10",
            banner=None,
            logs=None,
            intents=hikari.Intents.ALL,
            suppress_optimization_warning=True,
        )
        self._on_event(hikari.ShardReadyEvent, lambda event: "ready")
        self._on_event(hikari.ShardResumedEvent, lambda event: "resumed")
        self._on_event(
            hikari.DMMessageCreateEvent, lambda event: f"message {event.message.content}"
        )

    def _on_event(self, kind: Any, say: Callable[[Any], str]) -> None:
        async def listener(event: Any) -> None:
            self.lines.put_nowait(say(event))

        self._bot.event_manager.subscribe(kind, listener)

    async def __aenter__(self) -> Any:
        await self._bot.start(check_for_updates=False)
        return self.expect

    async def __aexit__(self, *exc: object) -> None:
        await self._bot.close()


@pytest.mark.parametrize(
    ("compression", "query"),
    [
        (None, ""),
        ("PAYLOAD_ZLIB_STREAM", ""),
        ("TRANSPORT_ZLIB_STREAM", "compress=zlib-stream"),
        ("TRANSPORT_ZSTD_STREAM", "compress=zstd-stream"),
    ],
)
def test_hikari_client(
    compression: str | None, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = pytest.importorskip("hikari.impl.shard")
    chosen = None if compression is None else shard.shard.GatewayCompression[compression]
    # hikari has no option for it, so the default is changed.
    defaults = {**shard.GatewayShardImpl.__init__.__kwdefaults__, "compression": chosen}
    monkeypatch.setattr(shard.GatewayShardImpl.__init__, "__kwdefaults__", defaults)
    scenario = ClientScenario()

    asyncio.run(scenario.run(_Hikari))

    scenario.check(query)


# ----- discord.js -----


class _DiscordJs(_ClientLines):
    def __init__(self, serving: RunningServer, compression: str) -> None:
        super().__init__()
        self._command = ("node", str(SCRIPT), serving.api_url, TOKEN, compression)

    async def __aenter__(self) -> Any:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())
        return self.expect

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.lines.put_nowait(line.decode().strip())
        self.lines.put_nowait("error: it has ended")

    async def __aexit__(self, *exc: object) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading


def _has_discord_js() -> bool:
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    return shutil.which("node") is not None and any(
        (pathlib.Path(folder) / "@discordjs" / "ws").is_dir() for folder in folders if folder
    )


@pytest.mark.skipif(not _has_discord_js(), reason="@discordjs/ws is not on NODE_PATH")
@pytest.mark.parametrize("compression", ["none", "payload", "zlib-stream"])
def test_discordjs_ws_client(compression: str) -> None:
    scenario = ClientScenario()

    asyncio.run(scenario.run(lambda serving: _DiscordJs(serving, compression)))

    scenario.check("compress=zlib-stream" if compression == "zlib-stream" else "")


# ----- discord.py -----

_GUILD: dict[str, Any] = {
    "id": "1000",
    "name": "a guild",
    "owner_id": "80351110224678912",
    "roles": [{"id": "1000", "name": "@everyone", "permissions": "0", "position": 0, "color": 0}],
    "emojis": [],
    "features": [],
    "channels": [{"id": "2000", "type": 0, "name": "general", "position": 0}],
    "members": [],
    "presences": [],
    "voice_states": [],
    "threads": [],
    "member_count": 1,
    "verification_level": 0,
    "preferred_locale": "en-US",
    "nsfw_level": 0,
}


def _guild_message(content: str, id_: int) -> dict[str, Any]:
    return {
        **_MESSAGE,
        "guild_id": "1000",
        "channel_id": "2000",
        "id": str(id_),
        "content": content,
    }


class _DiscordPy(discord.Client):
    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.all())
        self.was_ready = asyncio.Event()
        self.resumed = asyncio.Event()
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    async def on_ready(self) -> None:
        self.was_ready.set()

    async def on_resumed(self) -> None:
        self.resumed.set()

    async def on_message(self, message: discord.Message) -> None:
        self.messages.put_nowait(message.content)


def _point_at(serving: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the two names with which discord.py selects the server; it has no option for it."""
    monkeypatch.setattr(discord.http.Route, "BASE", f"{serving.api_url}/v10")
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(serving.url))


def _decompress(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Select the compression: discord.py uses zstd if `zstandard` is importable, else zlib."""
    with monkeypatch.context() as patch:
        if compression == "zlib-stream":
            patch.setitem(sys.modules, "zstandard", None)
        else:
            pytest.importorskip("zstandard")
        assert discord.utils.__file__ is not None
        spec = importlib.util.spec_from_file_location("discord.again", discord.utils.__file__)
        assert spec is not None and spec.loader is not None
        again = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "discord.again", again)
        spec.loader.exec_module(again)
    chosen = again._ActiveDecompressionContext
    assert compression == chosen.COMPRESSION_TYPE
    monkeypatch.setattr(discord.utils, "_ActiveDecompressionContext", chosen)


@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream"])
def test_unmodified_discordpy_gets_a_message_and_resumes_twice(
    compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _decompress(compression, monkeypatch)
    server = Server(ServerConfig(tokens=frozenset({TOKEN}), world=World([_GUILD])))
    received: list[ServerEvent] = []

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        received.append(event)

    async def main() -> None:
        async with serve_gateway(server, on_event=on_event) as serving:
            _point_at(serving, monkeypatch)
            bot = _DiscordPy()
            running = asyncio.create_task(bot.start(TOKEN))
            try:
                async with asyncio.timeout(100):
                    await bot.was_ready.wait()
                    serving.dispatch("MESSAGE_CREATE", _guild_message("before", 3001))
                    assert await bot.messages.get() == "before"

                    serving.drop()
                    serving.dispatch("MESSAGE_CREATE", _guild_message("while dropped", 3002))
                    assert await bot.messages.get() == "while dropped"
                    await bot.resumed.wait()

                    bot.resumed.clear()
                    (session,) = server.sessions.values()
                    assert session.connection is not None
                    session.connection.send(ReconnectRequested(), now=serving.now())
                    serving.dispatch("MESSAGE_CREATE", _guild_message("while away", 3003))
                    await bot.resumed.wait()
                    assert await bot.messages.get() == "while away"
            finally:
                await bot.close()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())

    assert sum(isinstance(event, Identify) for event in received) == 1
    assert sum(isinstance(event, Resume) for event in received) == 2
    opened = [event.path for event in received if isinstance(event, Opened)]
    assert len(opened) == 3
    assert all(f"compress={compression}" in path for path in opened)
