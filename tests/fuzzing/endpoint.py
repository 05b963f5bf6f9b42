"""Fuzz target: HTTP, received by a client's lookup and upgrade and by a server's routes."""

from __future__ import annotations

import json
from typing import Any

import h11

from gateway_proto import Client, ClientConnection, Config, DialPurpose, State
from gateway_proto.server import Server, ServerConfig
from tests.fuzzing.chunks import pieces
from tests.fuzzing.contract import check, finish

__all__ = ["endpoint"]

_TOKEN = "t0ken-of-the-fuzzer"


def endpoint(data: bytes) -> None:
    """Select the reader by the first byte: a client's lookup, its upgrade, the URL
    of its READY, or a server."""
    kind, chunks = data[:1], pieces(data[1:])
    match (kind or b"\0")[0] % 4:
        case 0:
            _look_up(chunks)
        case 1:
            _upgrade(chunks)
        case 2:
            _serve(chunks)
        case _:
            _follow_resume_url(chunks[0])


def _look_up(chunks: list[bytes]) -> None:
    api = "https://discord.com/api/v10"
    client = Client(Config(token=_TOKEN, intents=0, use_gateway_bot=True, api_url=api))
    made = client.dial_succeeded(now=0.0)
    assert _TOKEN.encode() in made.data_to_send()
    _feed(made, chunks)
    finish(made, 2.0)
    dial = client.next_dial()
    assert (dial is None) == (client.gave_up is not None)
    for event in client.events():
        assert _TOKEN not in repr(event)
    if dial is not None and dial.purpose is not DialPurpose.LOOKUP:
        assert dial.tls and dial.host.rpartition(".discord.")[2] in ("gg", "discord.com")
    if dial is not None:
        upgrade = client.dial_succeeded(now=max(dial.at, 2.0))
        request = upgrade.data_to_send()
        assert request.count(b"\r\n\r\n") == 1 and request.endswith(b"\r\n\r\n")
        finish(upgrade, 3.0)


def _upgrade(chunks: list[bytes]) -> None:
    client = Client(Config(token=_TOKEN, intents=0, gateway_url="wss://gateway.discord.gg"))
    made = client.dial_succeeded(now=0.0)
    assert isinstance(made, ClientConnection)
    made.data_to_send()
    _feed(made, chunks)
    finish(made, 2.0)
    assert (client.next_dial() is None) == (client.gave_up is not None)


def _follow_resume_url(url: bytes) -> None:
    client = Client(Config(token=_TOKEN, intents=0, gateway_url="wss://gateway.discord.gg"))
    made: Any = client.dial_succeeded(now=0.0, framing=False)
    made.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=0.0)
    d = {"session_id": "s", "resume_gateway_url": url.decode("latin-1")}
    made.receive_message(json.dumps({"op": 0, "t": "READY", "s": 1, "d": d}), now=0.0)
    made.receive_eof(now=1.0)
    dial = client.next_dial()
    assert dial is not None and dial.tls and dial.host.endswith("discord.gg")
    assert 0 < dial.port < 65536
    request = client.dial_succeeded(now=dial.at).data_to_send()
    assert request.count(b"\r\n\r\n") == 1 and request.endswith(b"\r\n\r\n")


def _serve(chunks: list[bytes]) -> None:
    server = Server(ServerConfig(control="/control", tokens=[_TOKEN]))
    made = server.accept(now=0.0)
    events = _feed(made, chunks)
    answered = made.data_to_send()
    if answered.startswith(b"HTTP/1.1 ") and not answered.startswith(b"HTTP/1.1 101"):
        is_head = b"".join(chunks).lstrip(b"\r\n").startswith(b"HEAD ")
        reader = h11.Connection(h11.CLIENT)
        reader.send(
            h11.Request(method="HEAD" if is_head else "GET", target="/", headers=[("Host", "h")])
        )
        reader.send(h11.EndOfMessage())
        reader.receive_data(answered)
        reader.receive_data(b"")
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA
    for event in events:
        assert _TOKEN not in repr(event)
    finish(made, 2.0)
    assert not server.connections


def _feed(made: Any, chunks: list[bytes]) -> list[Any]:
    received = []
    for chunk in chunks:
        made.receive_data(chunk, now=1.0)
        received += check(made, 1.0)
        if made.state is State.CLOSED:
            break
    return received
