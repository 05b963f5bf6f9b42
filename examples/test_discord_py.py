"""Tests of a discord.py bot: a reply to a message, and a slash command.

The fixture has a gateway and the REST routes. The tests act as a member, and check the bot's
requests.

pip install "gateway-proto[pytest]" discord.py && pytest test_discord_py.py
"""

import asyncio
import threading
from collections.abc import Iterator

import discord
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from gateway_pytest import RunningGateway

MESSAGES = "/channels/{channel_id}/messages"
CALLBACK = "/interactions/{interaction_id}/{interaction_token}/callback"

# ----- the bot -----


class Bot(discord.Client):
    def __init__(self) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(intents=intents)
        self.tree = app_commands.CommandTree(self)
        self.tree.command()(roll)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def on_message(self, message: discord.Message) -> None:
        if message.content == "!hello":
            await message.reply(f"Hello, {message.author.name}!")


async def roll(interaction: discord.Interaction, sides: int = 6) -> None:
    """Announce a roll."""
    await interaction.response.send_message(f"a die with {sides} sides rolls")


# ----- its tests -----


@pytest.fixture
def bot(gateway_server: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot]:
    monkeypatch.setattr(Route, "BASE", f"{gateway_server.api_url}/v10")
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(gateway_server.url))
    bot = Bot()
    options = {"token": gateway_server.token, "log_handler": None}
    thread = threading.Thread(target=bot.run, kwargs=options)
    thread.start()
    try:
        gateway_server.wait_until_ready(timeout=30)
        yield bot
    finally:
        asyncio.run_coroutine_threadsafe(bot.close(), bot.loop).result(30)
        thread.join(30)


def test_it_replies_to_a_message(bot: Bot, gateway_server: RunningGateway) -> None:
    message = gateway_server.say("!hello", author="member-1")
    request = gateway_server.wait_for_request("POST", MESSAGES, timeout=30)
    assert request.json["content"] == "Hello, member-1!"
    assert request.json["message_reference"]["message_id"] == int(message["id"])


def test_it_answers_a_slash_command(bot: Bot, gateway_server: RunningGateway) -> None:
    gateway_server.slash("roll", sides=20)
    request = gateway_server.wait_for_request("POST", CALLBACK, timeout=30)
    assert request.json["data"]["content"] == "a die with 20 sides rolls"


def test_it_tries_again_after_an_error(bot: Bot, gateway_server: RunningGateway) -> None:
    gateway_server.rest.reply("POST", MESSAGES, status=500, times=1)
    gateway_server.say("!hello")
    requests = [gateway_server.wait_for_request("POST", MESSAGES, timeout=30) for _ in range(2)]
    assert [request.status for request in requests] == [500, 200]
