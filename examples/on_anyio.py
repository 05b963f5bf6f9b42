"""Bot on anyio, with trio or asyncio; reads GATEWAY_TOKEN and GATEWAY_API.

python on_anyio.py trio
"""

import os
import random
import sys
import time
from typing import Any

import anyio
from anyio.abc import ByteStream

from gateway_proto import Client, Config, Connection, Dial, Dispatch, Event, Intents, State

now = time.monotonic
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


async def drive(connection: Connection[Any, Event], stream: ByteStream) -> None:
    """Drive one connection until it is closed."""
    while True:
        try:
            if data := connection.data_to_send():
                await stream.send(data)
            if connection.state is State.CLOSED:
                return
            at = connection.next_timer()
            with anyio.move_on_after(None if at is None else max(0.0, at - now())):
                connection.receive_data(await stream.receive(), now=now())
        except GONE:
            connection.receive_eof(now=now())
        connection.handle_timer(now=now())
        for event in connection.events():
            handle(event)


def handle(event: Event) -> None:
    if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
        print(event.data["content"], flush=True)
        if event.data["content"] == "!stop":
            client.stop(keep_session=False, now=now())


async def connect(dial: Dial) -> ByteStream:
    if dial.tls:
        return await anyio.connect_tcp(
            dial.host, dial.port, tls=True, tls_standard_compatible=False
        )
    return await anyio.connect_tcp(dial.host, dial.port)


async def main() -> None:
    while (dial := client.next_dial()) is not None:
        await anyio.sleep(max(0.0, dial.at - now()))
        try:
            with anyio.fail_after(20):
                stream = await connect(dial)
        except OSError as error:  # TimeoutError is one
            client.dial_failed(str(error) or repr(error), now=now())
            continue
        async with stream:
            await drive(client.dial_succeeded(now=now()), stream)


token, api_url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_API")
intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
client = Client(Config(token=token, api_url=api_url, intents=intents, random=random.random))
anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "asyncio")
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
