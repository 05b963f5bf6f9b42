"""Messages in a Tk window; reads GATEWAY_TOKEN and GATEWAY_API.

Tk watches sockets only on some systems, so poll fifty times a second. A thread dials.
"""

import contextlib
import os
import random
import socket
import ssl
import time
import tkinter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gateway_proto import Client, Config, Connection, Dial, Dispatch, Event, Intents, State

WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
EVERY = 20  # milliseconds
now = time.monotonic


def connect(dial: Dial) -> socket.socket:
    time.sleep(max(0.0, dial.at - now()))
    sock = socket.create_connection((dial.host, dial.port), timeout=20)
    if dial.tls:
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=dial.host)
    sock.setblocking(False)
    return sock


def dial(transport: Future[socket.socket] | None = None) -> None:
    asked = client.next_dial()
    if asked is None:
        root.destroy()
    elif transport is None:
        root.after(EVERY, dial, threads.submit(connect, asked))
    elif not transport.done():
        root.after(EVERY, dial, transport)
    elif (error := transport.exception()) is not None:
        client.dial_failed(str(error), now=now())
        dial()
    else:
        drive(client.dial_succeeded(now=now()), transport.result())


def drive(connection: Connection[Any, Event], sock: socket.socket, out: bytes = b"") -> None:
    try:
        if data := sock.recv(65536):
            connection.receive_data(data, now=now())
        else:
            connection.receive_eof(now=now())
    except WAITS:
        connection.handle_timer(now=now())
    except OSError:
        connection.receive_eof(now=now())
    for event in connection.events():
        if isinstance(event, Dispatch) and event.name == "MESSAGE_CREATE":
            messages.insert(tkinter.END, event.data["content"])
            print(event.data["content"], flush=True)
            if event.data["content"] == "!stop":
                client.stop(keep_session=False, now=now())
    out += connection.data_to_send()
    with contextlib.suppress(OSError):  # of a dead one the next look finds the end
        out = out[sock.send(out) :]
    if connection.state is State.CLOSED:
        sock.close()
        dial()
    else:
        root.after(EVERY, drive, connection, sock, out)


token, api_url = os.environ["GATEWAY_TOKEN"], os.environ.get("GATEWAY_API")
intents = Intents.GUILD_MESSAGES | Intents.MESSAGE_CONTENT
client = Client(Config(token=token, api_url=api_url, intents=intents, random=random.random))
threads, root = ThreadPoolExecutor(1), tkinter.Tk()
messages = tkinter.Listbox(root)
messages.pack()
dial()
root.mainloop()
raise SystemExit(client.gave_up)  # None, status 0: it was stopped
