"""Bot on blocking sockets and threads; reads GATEWAY_TOKEN and GATEWAY_API.

One thread blocks in `recv`. Another owns the connection, and other threads put calls into its
inbox. So no lock is needed, and any thread may send.
"""

import os
import queue
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gateway_proto as gp

now = time.monotonic
inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()


def send(command: gp.Command) -> None:
    """Send from any thread; while no gateway is connected, nothing is sent."""

    def send_now() -> None:
        if isinstance(client.connection, gp.ClientConnection):
            client.connection.send(command, now=now())

    inbox.put(send_now)


def receive(connection: gp.Connection[Any, gp.Event], data: bytes) -> None:
    connection.receive_data(data, now=now())


def read(sock: socket.socket, connection: gp.Connection[Any, gp.Event]) -> None:
    try:
        while data := sock.recv(65536):
            inbox.put(partial(receive, connection, data))
    except OSError:
        pass
    inbox.put(lambda: connection.receive_eof(now=now()))


def drive(sock: socket.socket, connection: gp.Connection[Any, gp.Event]) -> None:
    threading.Thread(target=read, args=(sock, connection), daemon=True).start()
    while True:
        try:
            if data := connection.data_to_send():
                sock.sendall(data)
            if connection.state is gp.State.CLOSED:
                return
            at = connection.next_timer()
            inbox.get(timeout=None if at is None else max(0.0, at - now()))()
        except queue.Empty:
            connection.handle_timer(now=now())
        except OSError:
            connection.receive_eof(now=now())
        except gp.GatewayProtoError as error:  # such as a command that came too early
            print(error)
        for event in connection.events():
            handle(event)


def handle(event: gp.Event) -> None:
    if isinstance(event, gp.Dispatch) and event.name == "MESSAGE_CREATE":
        print(event.data["content"], flush=True)
        if event.data["content"] == "!stop":
            client.stop(keep_session=False, now=now())


token, api_url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_API")
intents = gp.Intents.GUILD_MESSAGES | gp.Intents.MESSAGE_CONTENT
config = gp.Config(token=token, api_url=api_url, intents=intents, random=random.random)
client = gp.Client(config)
while (dial := client.next_dial()) is not None:
    time.sleep(max(0.0, dial.at - now()))
    try:
        sock = socket.create_connection((dial.host, dial.port), timeout=20)
        if dial.tls:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=dial.host)
        sock.settimeout(None)
    except OSError as error:
        client.dial_failed(str(error), now=now())
        continue
    with sock:
        drive(sock, client.dial_succeeded(now=now()))
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
