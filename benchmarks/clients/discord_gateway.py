"""Client: discord-gateway in the blocking loop of its own documentation."""

from __future__ import annotations

import socket

from discord_gateway import DiscordConnection

from benchmarks.clients.stopwatch import Stopwatch


def main() -> None:
    """One thread, and no heartbeats: a run is over before the first is due."""
    watch = Stopwatch()
    compress = watch.compression if watch.compression != "none" else False
    url = f"ws://127.0.0.1:{watch.port}"
    connection = DiscordConnection(url, encoding="json", compress=compress)
    count, total, identified = 0, watch.total, False
    with socket.create_connection(connection.destination) as sock:
        sock.sendall(connection.connect())
        while True:
            for data in connection.receive(sock.recv(65536)):
                sock.sendall(data)
            if not identified and connection.heartbeat_interval is not None:
                identified = True
                properties = {"$os": "", "$browser": "", "$device": ""}
                sock.sendall(connection.identify(token="t", intents=513, properties=properties))
            for event in connection.events():
                if event["t"] == "READY":
                    watch.start()
                elif event["t"] is not None:
                    count += 1
                    if count == total:
                        watch.stop(count, connection.sequence)


main()
