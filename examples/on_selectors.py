"""Bot in one thread with `selectors`; reads GATEWAY_TOKEN and GATEWAY_API.

The socket does not block, so neither a slow peer nor an incomplete TLS record delays the
timers. A selector could also watch other sockets and gateways.
"""

import os
import random
import selectors
import socket
import ssl
import time
from typing import Any

from gateway_proto import Client, Config, Connection, Dispatch, Event, Intents, State

WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
now = time.monotonic


def drive(connection: Connection[Any, Event], sock: socket.socket) -> None:
    """Drive one connection until it is closed."""
    out = b""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        while True:
            out += connection.data_to_send()
            try:
                while out:
                    out = out[sock.send(out) :]
            except WAITS:
                pass
            except OSError:
                out = b""
                connection.receive_eof(now=now())
            if connection.state is State.CLOSED:
                return
            selector.modify(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0))
            at = connection.next_timer()
            selector.select(None if at is None else max(0.0, at - now()))
            try:
                data = sock.recv(65536)
                if data:
                    connection.receive_data(data, now=now())
                else:
                    connection.receive_eof(now=now())
            except WAITS:
                connection.handle_timer(now=now())
            except OSError:
                connection.receive_eof(now=now())
            for event in connection.events():
                handle(event)


def handle(event: Event) -> None:
    if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
        print(event.data["content"], flush=True)
        if event.data["content"] == "!stop":
            client.stop(keep_session=False, now=now())


token, api_url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_API")
intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
client = Client(Config(token=token, api_url=api_url, intents=intents, random=random.random))
while (dial := client.next_dial()) is not None:
    time.sleep(max(0.0, dial.at - now()))
    try:
        sock = socket.create_connection((dial.host, dial.port), timeout=20)
        if dial.tls:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=dial.host)
    except OSError as error:
        client.dial_failed(str(error), now=now())
        continue
    with sock:
        sock.setblocking(False)
        drive(client.dial_succeeded(now=now()), sock)
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
