"""Third-party clients, unmodified: ready, a message, resume after a drop and after op 7."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from gateway_asyncio import Serving, serve_gateway
from gateway_proto import (
    Identify,
    Opened,
    ReconnectRequested,
    Resume,
    Server,
    ServerConfig,
    ServerEvent,
)

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI=.aaaaaa.bbbb"
SCRIPT = pathlib.Path(__file__).parent / "strangers" / "discordjs.cjs"
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

    async def run(self, client: Callable[[Serving], Any]) -> None:
        server = Server(ServerConfig(tokens={TOKEN}))  # type: ignore[arg-type]
        async with (
            asyncio.timeout(60),
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

    def _say(self, serving: Serving, content: str) -> None:
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
    def __init__(self, serving: Serving) -> None:
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
        self._hear(hikari.ShardReadyEvent, lambda event: "ready")
        self._hear(hikari.ShardResumedEvent, lambda event: "resumed")
        self._hear(hikari.DMMessageCreateEvent, lambda event: f"message {event.message.content}")

    def _hear(self, kind: Any, say: Callable[[Any], str]) -> None:
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
    def __init__(self, serving: Serving, compression: str) -> None:
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
