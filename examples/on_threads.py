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

from gateway_proto import Client, Config, Connection, Dispatch, GatewayProtoError, Intents, State

now = time.monotonic
inbox: queue.SimpleQueue = queue.SimpleQueue()


def send(command: object) -> None:
    """Called by any thread."""
    inbox.put(lambda: client.connection.send(command, now=now()))


def read(sock: socket.socket, connection: Connection) -> None:
    try:
        while data := sock.recv(65536):
            inbox.put(lambda data=data: connection.receive_data(data, now=now()))
    except OSError:
        pass
    inbox.put(lambda: connection.receive_eof(now=now()))


def drive(sock: socket.socket, connection: Connection) -> None:
    threading.Thread(target=read, args=(sock, connection), daemon=True).start()
    while True:
        try:
            if data := connection.data_to_send():
                sock.sendall(data)
            if connection.state is State.CLOSED:
                return
            at = connection.next_timer()
            inbox.get(timeout=None if at is None else max(0.0, at - now()))()
        except queue.Empty:
            connection.handle_timer(now=now())
        except OSError:
            connection.receive_eof(now=now())
        except GatewayProtoError as error:  # such as a command that came too early
            print(error)
        for event in connection.events():
            handle(event)


def handle(event: object) -> None:
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
        sock.settimeout(None)
    except OSError as error:
        client.dial_failed(str(error), now=now())
        continue
    with sock:
        drive(sock, client.dial_succeeded(now=now()))
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
