"""A bot of interactions.py: prints one line for each event, and answers `!hello` and `/ping`."""

import logging
import sys

import interactions
from interactions.api.http import route

API_URL, TOKEN = sys.argv[1:]
route.Route.BASE = f"{API_URL}/v10"


class Log(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say("error", record.name, record.getMessage(), record.exc_info)


def say(*words: object) -> None:
    print(*words, flush=True)


bot = interactions.Client(token=TOKEN, intents=interactions.Intents.ALL)


@interactions.listen(interactions.api.events.Ready)
async def on_ready() -> None:
    say("ready")


@interactions.listen(interactions.api.events.Resume)
async def on_resumed() -> None:
    say("resumed")


@interactions.listen(interactions.api.events.MessageCreate)
async def on_message(event: interactions.api.events.MessageCreate) -> None:
    say("message", event.message.content)
    if event.message.content == "!hello":
        await event.message.channel.send(f"Hello, {event.message.author.username}!")


@interactions.slash_command(name="ping", description="Answer pong.")
async def ping(context: interactions.SlashContext) -> None:
    await context.send("pong")


logging.getLogger("interactions").addHandler(Log(logging.WARNING))
bot.start()
