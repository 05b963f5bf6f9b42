"""A bot of any Python library: prints a line for each event, and obeys commands of stdin.

Arguments: library, base URL of the API, token, compression.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

LIBRARY, API_URL, TOKEN, COMPRESSION = sys.argv[1:]
HEARTBEAT_TIMEOUT = 6.0
Commands = dict[str, Callable[[], Awaitable[Any]]]


class Log(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "not installed, voice will NOT be supported" in message:
            return
        say(
            "error", record.name, message, *traceback.format_exception(*(record.exc_info or [None]))
        )


def say(*words: object) -> None:
    print(" ".join(map(str, words)).replace("\n", " / "), flush=True)


def obey(commands: Commands) -> None:
    """Run the commands that arrive, in the running loop."""
    loop = asyncio.get_running_loop()

    async def run(command: str) -> None:
        try:
            await commands[command]()
        except Exception:
            say("error", command, traceback.format_exc())

    def read() -> None:
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(run(line.strip()), loop)

    threading.Thread(target=read, daemon=True).start()


def run_discord(name: str) -> None:
    """Run discord.py, or a library that was derived from it."""
    if COMPRESSION == "zlib-stream":
        sys.modules["zstandard"] = None  # type: ignore[assignment]
    lib: Any = importlib.import_module(name)
    http: Any = importlib.import_module(f"{name}.http")
    options: dict[str, Any] = {"intents": lib.Intents.all(), "heartbeat_timeout": HEARTBEAT_TIMEOUT}
    if lib.__title__ == "discord":
        yarl: Any = importlib.import_module("yarl")
        url = API_URL.replace("http", "ws", 1).removesuffix("/api")
        lib.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)
    if lib.__title__ == "pycord":
        http.Route.API_BASE_URL = f"{API_URL}/v10"
    else:
        http.Route.BASE = f"{API_URL}/v10"
    if name == "disnake":
        options["gateway_params"] = lib.GatewayParams(zlib=COMPRESSION != "none")

    class Client(lib.Client):  # type: ignore[misc]
        is_obeying = False

        async def on_ready(self) -> None:
            if not self.is_obeying:
                obey({"members": self.members, "presence": self.presence, "voice": self.voice})
            self.is_obeying = True
            say("ready")

        async def on_resumed(self) -> None:
            say("resumed")

        async def on_message(self, message: Any) -> None:
            say("message", message.content)

        async def on_error(self, *args: Any, **kwargs: Any) -> None:
            say("error", *args[:1], traceback.format_exc())

        async def members(self) -> None:
            say("members", len(await self.get_guild(1000).query_members("m", limit=100)))

        async def presence(self) -> None:
            await self.change_presence(status=lib.Status.idle, activity=lib.Game("x"))

        async def voice(self) -> None:
            guild = self.get_guild(1000)
            await guild.change_voice_state(channel=guild.get_channel(2001), self_mute=True)

    async def main() -> None:
        await Client(**options).start(TOKEN)

    asyncio.run(main())


def run_interactions() -> None:
    lib: Any = importlib.import_module("interactions")
    route: Any = importlib.import_module("interactions.api.http.route")
    route.Route.BASE = f"{API_URL}/v10"
    bot = lib.Client(token=TOKEN, intents=lib.Intents.ALL)
    is_obeying = False

    async def members() -> None:
        guild = bot.get_guild(1000)
        await guild.gateway_chunk(wait=True)
        say("members", sum(member.username.startswith("m") for member in guild.members))

    async def presence() -> None:
        await bot.change_presence(status=lib.Status.IDLE, activity="x")

    async def voice() -> None:
        await bot._connection_state.gateway.voice_state_update(1000, 2001, True, False)

    @lib.listen(lib.events.Ready)  # type: ignore[untyped-decorator]
    async def on_ready(event: Any) -> None:
        nonlocal is_obeying
        if not is_obeying:
            obey({"members": members, "presence": presence, "voice": voice})
        is_obeying = True
        say("ready")

    @lib.listen(lib.events.Resume)  # type: ignore[untyped-decorator]
    async def on_resumed(event: Any) -> None:
        say("resumed")

    @lib.listen(lib.events.MessageCreate)  # type: ignore[untyped-decorator]
    async def on_message(event: Any) -> None:
        say("message", event.message.content)

    @lib.slash_command(name="ping", description="Answer pong.")  # type: ignore[untyped-decorator]
    async def ping(context: Any) -> None:
        say("ping")

    @lib.component_callback("b")  # type: ignore[untyped-decorator]
    async def pressed(context: Any) -> None:
        say("pressed")

    for listener in (on_ready, on_resumed, on_message):
        bot.add_listener(listener)
    bot.add_interaction(ping)
    bot.add_component_callback(pressed)
    bot.start()


def run_hikari() -> None:
    lib: Any = importlib.import_module("hikari")
    shard: Any = importlib.import_module("hikari.impl.shard")
    kinds = {
        "payload": "PAYLOAD_ZLIB_STREAM",
        "zlib-stream": "TRANSPORT_ZLIB_STREAM",
        "zstd-stream": "TRANSPORT_ZSTD_STREAM",
    }
    kind = kinds.get(COMPRESSION)
    chosen = None if kind is None else shard.shard.GatewayCompression[kind]
    # hikari has no option for it, so the default is changed.
    shard.GatewayShardImpl.__init__.__kwdefaults__["compression"] = chosen
    bot = lib.GatewayBot(
        TOKEN,
        rest_url=f"{API_URL}/v10",
        banner=None,
        logs=None,
        intents=lib.Intents.ALL,
        suppress_optimization_warning=True,
    )
    is_obeying = False

    async def members() -> None:
        await bot.request_guild_members(1000, query="m", limit=100)

    async def presence() -> None:
        await bot.update_presence(status=lib.Status.IDLE)

    async def voice() -> None:
        await bot.update_voice_state(1000, 2001, self_mute=True)

    async def on_ready(event: Any) -> None:
        nonlocal is_obeying
        if not is_obeying:
            obey({"members": members, "presence": presence, "voice": voice})
        is_obeying = True
        say("ready")

    def on(kind: Any, text: Callable[[Any], str]) -> None:
        async def listener(event: Any) -> None:
            say(text(event))

        bot.event_manager.subscribe(kind, listener)

    bot.event_manager.subscribe(lib.ShardReadyEvent, on_ready)
    on(lib.ShardResumedEvent, lambda event: "resumed")
    on(lib.MessageCreateEvent, lambda event: f"message {event.content}")
    on(lib.MemberChunkEvent, lambda event: f"members {len(event.members)}")
    bot.run(check_for_updates=False)


logging.getLogger().addHandler(Log(logging.WARNING))
logging.captureWarnings(True)
if LIBRARY == "hikari":
    run_hikari()
elif LIBRARY == "interactions":
    run_interactions()
else:
    run_discord(LIBRARY)
