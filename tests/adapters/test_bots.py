"""Whole bots of unmodified libraries: they answer "!hello" and "/ping" by REST."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import discord
import discord.http
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket

from gateway_asyncio import Serving, serve_gateway
from gateway_proto import Server, ServerConfig, World
from gateway_proto.interactions import chat_message, slash_command

TOKEN = base64.b64encode(b"80351110224678912").decode() + ".aaaaaa.bbbb"
WORLD = World.with_guild("Test", members=3)


class _Bot(discord.Client):
    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.all())
        self.was_ready = asyncio.Event()
        self.tree = app_commands.CommandTree(self)
        self.tree.command(name="ping", description="Answer")(_ping)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def on_ready(self) -> None:
        assert self.guilds[0].me is not None and self.guilds[0].owner is not None
        self.was_ready.set()

    async def on_message(self, message: discord.Message) -> None:
        if message.content == "!hello":
            await message.channel.send("hello")


async def _ping(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("pong")


@asynccontextmanager
async def _discordpy(serving: Serving) -> AsyncIterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(discord.http.Route, "BASE", f"{serving.api_url}/v10")
    patch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(serving.url))
    bot = _Bot()
    running = asyncio.create_task(bot.start(TOKEN))
    try:
        await bot.was_ready.wait()
        yield
    finally:
        await bot.close()
        await asyncio.gather(running, return_exceptions=True)
        patch.undo()


@asynccontextmanager
async def _hikari(serving: Serving) -> AsyncIterator[None]:
    hikari = pytest.importorskip("hikari")
    bot = hikari.GatewayBot(
        TOKEN,
        rest_url=f"{serving.api_url}/v10",
        banner=None,
        logs=None,
        intents=hikari.Intents.ALL,
        suppress_optimization_warning=True,
    )
    was_ready = asyncio.Event()

    async def on_guild(event: Any) -> None:
        was_ready.set()

    async def on_message(event: Any) -> None:
        if event.content == "!hello":
            await event.message.respond("hello")

    async def on_interaction(event: Any) -> None:
        await event.interaction.create_initial_response(4, "pong")

    bot.event_manager.subscribe(hikari.GuildAvailableEvent, on_guild)
    bot.event_manager.subscribe(hikari.GuildMessageCreateEvent, on_message)
    bot.event_manager.subscribe(hikari.InteractionCreateEvent, on_interaction)
    await bot.start(check_for_updates=False)
    try:
        ping = bot.rest.slash_command_builder("ping", "Answer")
        await bot.rest.set_application_commands(WORLD.application["id"], [ping])
        await was_ready.wait()
        yield
    finally:
        await bot.close()


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("client", [_discordpy, _hikari])
def test_bot_answers_a_message_and_a_slash_command(
    client: Callable[[Serving], AbstractAsyncContextManager[None]],
) -> None:
    server = Server(ServerConfig(tokens=frozenset({TOKEN}), world=WORLD))

    def contents() -> list[str]:
        return [message["content"] for message in server.world.messages]

    async def main() -> None:
        async with asyncio.timeout(40), serve_gateway(server) as serving, client(serving):
            message = chat_message(
                server.world, "!hello", id_=server.rest.new_id(now=serving.now())
            )
            serving.dispatch("MESSAGE_CREATE", message)
            await _until(lambda: "hello" in contents())
            id_ = server.rest.new_id(now=serving.now())
            ping = slash_command(server.world, "ping", id_=id_, token="interaction")
            serving.dispatch("INTERACTION_CREATE", ping)
            await _until(lambda: "pong" in contents())

    asyncio.run(main())

    routes = [(requested.method, requested.route) for requested in server.rest.requests]
    assert ("POST", "/channels/{channel_id}/messages") in routes
    assert ("PUT", "/applications/{application_id}/commands") in routes
    callback = server.rest.requests[-1]
    assert callback.route == "/interactions/{interaction_id}/{interaction_token}/callback"
    assert callback.json["data"]["content"] == "pong"
    assert list(server.rest.unknown) == []
    assert {requested.status for requested in server.rest.requests} <= {200, 201, 204}
