"""The unmodified discord.py as a client of the server role, over loopback."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import sys
from typing import Any

import discord
import discord.http
import discord.utils
import pytest
import yarl
from discord.gateway import DiscordWebSocket

from gateway_asyncio import Serving, serve_gateway
from gateway_proto import (
    Identify,
    Opened,
    ReconnectRequested,
    Resume,
    Server,
    ServerConfig,
    ServerConnection,
    ServerEvent,
    World,
)

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
_MESSAGE: dict[str, Any] = {
    "id": "3000",
    "channel_id": "2000",
    "guild_id": "1000",
    "author": {"id": "4000", "username": "somebody", "discriminator": "0", "avatar": None},
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
}


def _message(content: str, id_: int) -> dict[str, Any]:
    return {**_MESSAGE, "id": str(id_), "content": content}


class _Bot(discord.Client):
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


def _point_at(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
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
    token = base64.b64encode(b"80351110224678912").decode() + ".aaaaaa.bbbb"
    server = Server(ServerConfig(tokens=frozenset({token}), world=World([_GUILD])))
    received: list[ServerEvent] = []

    def on_event(connection: ServerConnection, event: ServerEvent) -> None:
        received.append(event)

    async def main() -> None:
        async with serve_gateway(server, on_event=on_event) as serving:
            _point_at(serving, monkeypatch)
            bot = _Bot()
            running = asyncio.create_task(bot.start(token))
            try:
                async with asyncio.timeout(40):
                    await bot.was_ready.wait()
                    serving.dispatch("MESSAGE_CREATE", _message("before", 3001))
                    assert await bot.messages.get() == "before"

                    serving.drop()
                    serving.dispatch("MESSAGE_CREATE", _message("while it is cut", 3002))
                    assert await bot.messages.get() == "while it is cut"
                    await bot.resumed.wait()

                    bot.resumed.clear()
                    (session,) = server.sessions.values()
                    assert session.connection is not None
                    session.connection.send(ReconnectRequested(), now=serving.now())
                    serving.dispatch("MESSAGE_CREATE", _message("while away", 3003))
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
