"""version, encoding, compression → a conversation of the two roles as JSON lines, and back.

A line is `{"at": seconds, "connection": 1, "from": "client", "payload": {...}}`, with the message
as it went over the wire: `"text"`, or `"hex"` where it was binary. To record all anew after a
change that is meant: `PYTHONPATH=. python tests/tracing.py`.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from gateway_proto import (
    DIALECTS,
    Activity,
    Client,
    ClientConnection,
    Compression,
    Config,
    Dialect,
    Encoding,
    Server,
    ServerConfig,
    ServerConnection,
    UpdatePresence,
    UpdateVoiceState,
    World,
    dialect,
)
from gateway_proto._layers.inflate import Inflater, inflater
from gateway_proto._layers.payloads import decode, from_raw

FOLDER = pathlib.Path(__file__).with_name("traces")
Line = dict[str, Any]


def forms() -> Iterator[tuple[int, str, str]]:
    """All that go together, in order."""
    for version, spoken in DIALECTS.items():
        for encoding in Encoding:
            for compression in Compression:
                payload_etf = (encoding, compression) == (Encoding.ETF, Compression.PAYLOAD)
                if compression in spoken.compressions and not payload_etf:
                    yield version, encoding.value, compression.value


def path(form: tuple[int, str, str]) -> pathlib.Path:
    """Where the trace of a form lies."""
    return FOLDER / "v{}-{}-{}.jsonl".format(*form)


def read(form: tuple[int, str, str]) -> list[Line]:
    """The recorded lines."""
    return [json.loads(line) for line in path(form).read_text().splitlines()]


class Decoder:
    """Messages of one side of one connection → payloads."""

    def __init__(self, compression: Compression) -> None:
        self._inflater: Inflater = inflater(compression, limit=10**6)

    def decode(self, message: str | bytes) -> dict[str, Any]:
        """The payload, with all of its keys."""
        text = self._inflater.receive(message)
        assert text is not None
        payload = decode(text)
        return {
            "op": payload.opcode,
            "d": from_raw(payload.raw, Any),
            "s": payload.sequence,
            "t": payload.t,
        }


def make_client(form: tuple[int, str, str]) -> Client:
    """The client of every trace; its chance is constant."""
    version, encoding, compression = form
    return Client(
        Config(
            token="trace-token",
            dialect=version,
            encoding=encoding,
            compression=compression,
            intents=641 if dialect(version).intents else None,
            gateway_url="ws://localhost",
            unix_offset=1_450_996_513.618,
            random=lambda: 0.25,
        )
    )


def make_server() -> Server:
    """The server of every trace; its chance is constant."""
    return Server(
        ServerConfig(
            world=World([{"id": "41771983423143937", "name": "traces", "topic": "x" * 1100}]),
            heartbeat_interval=41250,
            random=lambda: 0.25,
        )
    )


def accept(server: Server, form: tuple[int, str, str], now: float) -> ServerConnection:
    """A connection of the server, as the URL of the form asks for it."""
    dial = make_client(form).next_dial()
    assert dial is not None
    return server.accept(now=now, framing=False, target=dial.url.removeprefix("ws://localhost"))


def script(spoken: Dialect) -> list[tuple[float, str]]:
    """What happens when, besides what the roles do by themselves."""
    return [
        (1.0, "presence"),
        (2.0, "voice"),
        (3.0, "dispatch"),
        (15.0, "time"),
        (16.0, "ask for a heartbeat"),
        (45.0, "time"),
        (53.0, "time"),
        (60.0, "cut"),
        (61.0, "dispatch"),
        (62.0, "connect"),
        (63.0, "reconnect" if spoken.version != 3 else "dispatch"),
    ]


def act(what: str, client: Any, server: Server, connection: Any, now: float) -> None:
    """One step of the script, on whichever of the two roles are there."""
    from gateway_proto import HeartbeatRequested, ReconnectRequested

    match what:
        case "presence" if client is not None:
            client.send(UpdatePresence([Activity("chess")], 1_450_996_513_618), now=now)
        case "voice" if client is not None:
            client.send(UpdateVoiceState("41771983423143937", "127121515262115840"), now=now)
        case "dispatch" if connection is not None:
            d = {"id": "162701077035089920", "content": "h\N{LATIN SMALL LETTER E WITH ACUTE}llo"}
            server.dispatch("MESSAGE_CREATE", {**d, "long": "lorem ipsum " * 120}, now=now)
        case "ask for a heartbeat" if connection is not None:
            connection.send(HeartbeatRequested(), now=now)
        case "reconnect" if connection is not None:
            connection.send(ReconnectRequested(), now=now)
        case _:
            pass
    for role in (client, connection):
        if role is not None:
            role.handle_timer(now=now)


def record(form: tuple[int, str, str]) -> list[Line]:
    """Let the two roles talk, and write it down."""
    life, server = make_client(form), make_server()
    lines: list[Line] = []
    number, now = 0, 0.0
    client: Any = None
    connection: Any = None
    decoders: dict[str, Decoder] = {}

    def connect() -> None:
        nonlocal client, connection, number
        number += 1
        client = life.dial_succeeded(now=now, framing=False)
        assert isinstance(client, ClientConnection)
        connection = accept(server, form, now)
        decoders["client"] = Decoder(Compression.NONE)
        decoders["server"] = Decoder(Compression(form[2]))

    def exchange() -> None:
        busy = True
        while busy:
            busy = False
            for name, source, target in (
                ("server", connection, client),
                ("client", client, connection),
            ):
                for message in source.messages_to_send():
                    busy = True
                    raw = {"text": message} if isinstance(message, str) else {"hex": message.hex()}
                    lines.append(
                        {
                            "at": now,
                            "connection": number,
                            "from": name,
                            "payload": decoders[name].decode(message),
                            **raw,
                        }
                    )
                    target.receive_message(message, now=now)

    connect()
    exchange()
    for now, what in script(dialect(form[0])):
        if what == "cut":
            client.receive_eof(now=now)
            connection.receive_eof(now=now)
        elif what == "connect":
            connect()
        else:
            act(what, client, server, connection, now)
        exchange()
    return lines


if __name__ == "__main__":
    for form in forms():
        path(form).write_text("".join(json.dumps(line) + "\n" for line in record(form)))
        print(path(form))
