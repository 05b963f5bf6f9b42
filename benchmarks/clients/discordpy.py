"""Client: discord.py's WebSocket, with its state replaced by a counter.

The parsers of its state, which make objects of payloads, give way to one that counts, so that what
is measured is the gateway of discord.py and not its cache. It decodes with orjson, and takes
zstd-stream where zstandard is there, else zlib-stream.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Any

from benchmarks.clients.stopwatch import Stopwatch

watch = Stopwatch()
if watch.compression == "zlib-stream":
    sys.modules["zstandard"] = None  # type: ignore[assignment]

import discord  # noqa: E402
import yarl  # noqa: E402
from discord.gateway import DiscordWebSocket  # noqa: E402


class Client(discord.Client):
    """A client that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(
            intents=discord.Intents.none(),
            max_messages=None,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
        )
        self._connection.parsers = dict.fromkeys(self._connection.parsers, self._counted)
        self._connection.parsers["READY"] = lambda data: watch.start()
        self._count = 0

    def _counted(self, data: Any) -> None:
        self._count += 1
        if self._count == watch.total:
            watch.stop(self._count, self.ws.sequence)


def main() -> None:
    """Point it at the server, as the tests of this project do."""
    base = f"http://127.0.0.1:{watch.port}/api/v10"
    discord.http.Route.BASE = base
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"ws://127.0.0.1:{watch.port}")
    if watch.compression == "none":
        defaults = DiscordWebSocket.from_client.__func__.__kwdefaults__  # type: ignore[attr-defined]
        defaults["compress"] = False
    token = base64.b64encode(b"80351110224678912").decode() + ".aaaaaa.bbbb"
    asyncio.run(Client().start(token))


main()
