"""Bot over picows' WebSocket; reads GATEWAY_TOKEN and GATEWAY_URL."""

import asyncio
import os
import random
import time
from typing import Any

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from gateway_proto import Client, Config, Dispatch, Intents, State

now = time.monotonic


class Driver(WSListener):
    timer: asyncio.TimerHandle | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.parts: list[bytes] = []
        self.connection = client.dial_succeeded(now=now(), framing=False)
        self.process_output()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            code: Any = frame.get_close_code()  # typed as an Enum, it is any int
            self.connection.receive_close(code or None, frame.get_close_reason() or "", now=now())
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            if frame.msg_type is not WSMsgType.CONTINUATION:
                self.kind = frame.msg_type
            self.parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                data, self.parts = b"".join(self.parts), []
                message = data.decode() if self.kind is WSMsgType.TEXT else data
                self.connection.receive_message(message, now=now())
        self.process_output()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.connection.receive_eof(now=now())
        self.process_output()

    def process_output(self) -> None:
        """After each change, and when it is time: events, messages, and the next time."""
        self.connection.handle_timer(now=now())
        for event in self.connection.events():
            if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
                print(event.data["content"], flush=True)
                if event.data["content"] == "!stop":
                    client.stop(keep_session=False, now=now())
        for message in self.connection.messages_to_send():
            if isinstance(message, str):
                self.transport.send(WSMsgType.TEXT, message.encode())
            else:
                self.transport.send(WSMsgType.BINARY, message)
        close: Any = self.connection.close_to_send()
        if close is not None:
            self.transport.send_close(close[0], close[1].encode())
        if self.timer is not None:
            self.timer.cancel()
        if self.connection.state is State.CLOSED:
            self.transport.disconnect()
        elif (at := self.connection.next_timer()) is not None:
            loop, delay = asyncio.get_running_loop(), max(0.0, at - now())
            self.timer = loop.call_later(delay, self.process_output)


async def main() -> None:
    while (dial := client.next_dial()) is not None:
        await asyncio.sleep(max(0.0, dial.at - now()))
        try:
            transport, _ = await ws_connect(Driver, dial.url)
        except (WSError, OSError) as error:
            client.dial_failed(str(error) or repr(error), now=now())
        else:
            await transport.wait_disconnected()


token, url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_URL", "wss://gateway.discord.gg")
intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
client = Client(Config(token=token, gateway_url=url, intents=intents, random=random.random))
asyncio.run(main())
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
