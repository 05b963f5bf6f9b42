"""Bot with its own transport; reads GATEWAY_TOKEN, GATEWAY_API and FROM_ADDRESS.

It connects from a chosen local address. For a Unix socket or a tunnel, change the line in
`connect`; the adapter adds TLS over the returned stream.
"""

import asyncio
import os
import sys

import trio

import gateway_asyncio
import gateway_trio
from gateway_proto import Config, Dial, Dispatch, Event, GaveUpError, Intents

FROM = os.environ.get("FROM_ADDRESS", "0.0.0.0")
CONFIG = Config(
    token=os.environ["GATEWAY_TOKEN"],
    intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
    api_url=os.environ.get("GATEWAY_API"),  # None is Discord itself
)


async def by_asyncio(dial: Dial) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(dial.host, dial.port, local_addr=(FROM, 0))


async def by_trio(dial: Dial) -> trio.abc.Stream:
    return await trio.open_tcp_stream(dial.host, dial.port, local_address=FROM)


def is_last(event: Event) -> bool:
    """Print a message; whether it was the last."""
    if not isinstance(event, Dispatch) or event.name != "MESSAGE_CREATE":
        return False
    print(event.data["content"], flush=True)
    return bool(event.data["content"] == "!stop")


async def on_asyncio() -> None:
    async with gateway_asyncio.open_gateway(CONFIG, connect=by_asyncio) as gateway:
        async for event in gateway:
            if is_last(event):
                break


async def on_trio() -> None:
    async with gateway_trio.open_gateway(CONFIG, connect=by_trio) as gateway:
        async for event in gateway:
            if is_last(event):
                break


try:
    if sys.argv[1:] == ["trio"]:
        trio.run(on_trio)
    else:
        asyncio.run(on_asyncio())
except GaveUpError as error:  # such as a rejected token; a lost connection is dialled again
    raise SystemExit(error.reason) from None
