"""Bot whose dispatches are decoded into types; reads GATEWAY_TOKEN and GATEWAY_API.

`event.decode` decodes only the fields that a struct has. It checks them, so that a type checker and
`match` can rely on them.
"""

import asyncio
import os

import msgspec

from gateway_asyncio import open_gateway
from gateway_proto import Config, DataError, Dispatch, DispatchName, GaveUpError, Intents


class User(msgspec.Struct):
    id: int | str  # in JSON text, in ETF an int
    username: str
    bot: bool = False


class Message(msgspec.Struct):
    content: str
    author: User
    guild_id: int | str | None = None  # None: a direct message


class Deleted(msgspec.Struct):
    id: int | str


def decoded(event: Dispatch) -> Message | Deleted | None:
    """Return the typed data of a dispatch; None for those that this bot does not use."""
    match event.name:
        case DispatchName.MESSAGE_CREATE | DispatchName.MESSAGE_UPDATE:
            return event.decode(Message)
        case DispatchName.MESSAGE_DELETE:
            return event.decode(Deleted)
        case _:
            return None


def text_of(data: Message | Deleted) -> str | None:
    """Return the line to print; a type checker finds a missing case."""
    match data:
        case Message(author=User(bot=True)):
            return None
        case Message(content=content, author=User(username=name), guild_id=None):
            return f"{name}, to me alone: {content}"
        case Message(content=content, author=User(username=name)):
            return f"{name}: {content}"
        case Deleted(id=id_):
            return f"message {id_} was deleted"


async def main() -> None:
    config = Config(
        token=os.environ["GATEWAY_TOKEN"],
        intents=Intents.GUILD_MESSAGES | Intents.DIRECT_MESSAGES | Intents.MESSAGE_CONTENT,
        api_url=os.environ.get("GATEWAY_API"),  # None is Discord itself
    )
    async with open_gateway(config) as gateway:
        async for event in gateway:
            if not isinstance(event, Dispatch):
                continue
            try:
                data = decoded(event)
            except DataError as error:  # names the field and what was expected
                print(error, flush=True)
                continue
            if data is not None and (text := text_of(data)) is not None:
                print(text, flush=True)
            if isinstance(data, Message) and data.content == "!stop":
                break


try:
    asyncio.run(main())
except GaveUpError as error:  # such as a rejected token; a lost connection is dialled again
    raise SystemExit(error.reason) from None
