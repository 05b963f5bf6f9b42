"""Bot over the WebSocket of the library `websockets`; reads GATEWAY_TOKEN and GATEWAY_URL.

With `framing=False` the connection takes and returns WebSocket messages. The library handles TLS
and proxies, and answers pings. The gateway's own compression still works.
"""

import asyncio
import os
import random
import time

from websockets.asyncio.client import ClientConnection as WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from gateway_proto import Client, ClientConnection, Config, Dispatch, Event, Intents, State

LARGEST = 64 * 2**20  # as Config.message_limit
now = time.monotonic


async def drive(connection: ClientConnection, ws: WebSocket) -> None:
    """Drive one connection until it is closed."""
    while connection.state is not State.CLOSED:
        try:
            await send(connection, ws)
            at = connection.next_timer()
            async with asyncio.timeout(None if at is None else max(0.0, at - now())):
                message = await ws.recv()
            connection.receive_message(message, now=now())
        except TimeoutError:
            connection.handle_timer(now=now())
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                code = None if closed.rcvd.code == 1005 else closed.rcvd.code  # without a code
                connection.receive_close(code, closed.rcvd.reason, now=now())
            else:
                connection.receive_eof(now=now())
        for event in connection.events():
            handle(event)
    await send(connection, ws)


async def send(connection: ClientConnection, ws: WebSocket) -> None:
    for message in connection.messages_to_send():
        await ws.send(message)
    if (close := connection.close_to_send()) is not None:
        await ws.close(*close)  # awaits the answer


def handle(event: Event) -> None:
    if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
        print(event.data["content"], flush=True)
        if event.data["content"] == "!stop":
            client.stop(keep_session=False, now=now())


async def main() -> None:
    while (dial := client.next_dial()) is not None:
        await asyncio.sleep(max(0.0, dial.at - now()))
        try:
            # Heartbeats detect a dead peer, so the library need not send pings.
            ws = await connect(dial.url, max_size=LARGEST, compression=None, ping_interval=None)
        except (OSError, TimeoutError, WebSocketException) as error:
            client.dial_failed(str(error) or repr(error), now=now())
            continue
        async with ws:
            await drive(client.dial_succeeded(now=now(), framing=False), ws)


token, url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_URL", "wss://gateway.discord.gg")
intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
client = Client(Config(token=token, gateway_url=url, intents=intents, random=random.random))
asyncio.run(main())
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
