"""A bot of nextcord: prints one line for each event, and answers `!hello` and `/ping`."""

import logging
import sys

import nextcord
import nextcord.http

API_URL, TOKEN = sys.argv[1:]
nextcord.http.Route.BASE = f"{API_URL}/v10"
bot = nextcord.Client(intents=nextcord.Intents.all())


class Log(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say("error", record.name, record.getMessage(), record.exc_info)


def say(*words: object) -> None:
    print(*words, flush=True)


@bot.event
async def on_ready() -> None:
    say("ready")


@bot.event
async def on_resumed() -> None:
    say("resumed")


@bot.event
async def on_message(message: nextcord.Message) -> None:
    say("message", message.content)
    if message.content == "!hello":
        await message.channel.send(f"Hello, {message.author.name}!")


@bot.slash_command(description="Answer pong.")
async def ping(interaction: nextcord.Interaction) -> None:
    await interaction.response.send_message("pong")


logging.getLogger().addHandler(Log(logging.WARNING))
bot.run(TOKEN)
