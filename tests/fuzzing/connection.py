"""Fuzz target: any messages, received by a connection of either role."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from gateway_proto import ClientConnection, Config, DataError, Dispatch, State
from gateway_proto.encoding import etf
from gateway_proto.server import Server, ServerConfig, World
from tests.fuzzing.chunks import pieces
from tests.fuzzing.contract import check, finish

__all__ = ["FORMS", "connection"]

FORMS = [
    (version, encoding, compression)
    for version in (3, 4, 5, 6, 8, 10)
    for encoding in ("json", "etf")
    for compression in ("none", "zlib-stream")
    if version >= 6 or compression == "none"
]
_TOKEN = "t0ken-of-the-fuzzer"
_GUILD = {"id": "7", "name": "g", "members": [{"user": {"id": "1", "username": "u"}}]}


def connection(data: bytes) -> None:
    """Read role and format from the first two bytes, then messages and steps of time."""
    role, form = (data + b"\0\0")[:2]
    version, encoding, compression = FORMS[form % len(FORMS)]
    if encoding == "etf" and not etf.available():
        return
    if role % 2:
        made: Any = Server(ServerConfig(world=World([_GUILD]), control="/control")).accept(
            now=0.0, framing=False, target=f"/?v={version}&encoding={encoding}"
        )
    else:
        made = ClientConnection(
            Config(
                token=_TOKEN,
                version=version,
                encoding=encoding,
                compression=compression,
                intents=0 if version >= 6 else None,
                unix_offset=0.0,
                gateway_url="ws://localhost",
                message_limit=50_000,
                identify_on_same_connection=role & 2 > 0,
            ),
            "ws://localhost",
            now=0.0,
            framing=False,
        )
    now, received = 0.0, check(made, 0.0)
    for number, message in enumerate(pieces(data[2:])):
        if message[:1] == b"\xf7":  # not the start of any text: a step of time
            now = made.next_timer() or now + len(message)
            made.handle_timer(now=now)
        else:
            now += 0.01 * (number % 3)
            made.receive_message(_message(message), now=now)
        received += check(made, now)
        sent = made.messages_to_send(), made.close_to_send()
        if made.state is State.CLOSED:
            break
        del sent
    received += finish(made, now)
    for event in received:
        assert _TOKEN not in repr(event), "events do not contain the token"
        if isinstance(event, Dispatch):
            _look_into(event)
    session = getattr(made, "session", None)
    assert session is None or role % 2 or type(session).from_json(session.to_json()) == session
    assert math.isfinite(now)


def _message(message: bytes) -> str | bytes:
    # wsproto passes on only valid UTF-8 as text.
    try:
        return message.decode() if message[:1] == b"{" else message
    except UnicodeDecodeError:
        return message


def _look_into(event: Dispatch) -> None:
    with contextlib.suppress(DataError):
        _ = event.data
