"""Bot over aiohttp's WebSocket; reads GATEWAY_TOKEN and GATEWAY_URL.

With `framing=False` the connection takes and returns WebSocket messages. aiohttp handles proxies,
cookies and TLS. The gateway's compression still works: its messages are bytes.
"""

import asyncio
import os
import random
import time

import aiohttp

from gateway_proto import Client, ClientConnection, Config, Dispatch, Event, Intents, State

now = time.monotonic


async def drive(connection: ClientConnection, ws: aiohttp.ClientWebSocketResponse) -> None:
    """Drive one connection until it is closed."""
    while connection.state is not State.CLOSED:
        try:
            for message in connection.messages_to_send():
                if isinstance(message, str):
                    await ws.send_str(message)
                else:
                    await ws.send_bytes(message)
            if (close := connection.close_to_send()) is not None:
                await ws.close(code=close[0], message=close[1].encode())  # awaits the answer
            at = connection.next_timer()
            received = await ws.receive(None if at is None else max(0.001, at - now()))
            match received.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    connection.receive_message(received.data, now=now())
                case aiohttp.WSMsgType.CLOSE:
                    connection.receive_close(received.data, received.extra or "", now=now())
                case _:
                    connection.receive_eof(now=now())
        except TimeoutError:
            connection.handle_timer(now=now())
        except (aiohttp.ClientError, ConnectionError):
            connection.receive_eof(now=now())
        for event in connection.events():
            handle(event)
    if (close := connection.close_to_send()) is not None:
        await ws.close(code=close[0], message=close[1].encode())


def handle(event: Event) -> None:
    if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
        print(event.data["content"], flush=True)
        if event.data["content"] == "!stop":
            client.stop(keep_session=False, now=now())


async def main() -> None:
    async with aiohttp.ClientSession() as http:
        while (dial := client.next_dial()) is not None:
            await asyncio.sleep(max(0.0, dial.at - now()))
            try:
                ws = await http.ws_connect(dial.url, max_msg_size=64 * 2**20)
            except (aiohttp.ClientError, OSError) as error:
                client.dial_failed(str(error) or repr(error), now=now())
                continue
            async with ws:
                await drive(client.dial_succeeded(now=now(), framing=False), ws)


client = Client(
    Config(
        token=os.environ["GATEWAY_TOKEN"],
        gateway_url=os.environ.get("GATEWAY_URL", "wss://gateway.discord.gg"),
        intents=Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT,
        random=random.random,
    )
)
asyncio.run(main())
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
