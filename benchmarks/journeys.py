"""Files and functions that a journey enters: `python -m benchmarks.journeys`.

A journey is what happens between an input and its outputs, such as a received dispatch and its
event. It is easy to follow if it enters few files. `sys.setprofile` counts the calls of functions
in `gateway_proto/`, from the first call to the last. `tests/test_journeys.py` holds the goals.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import msgspec

import gateway_proto
from gateway_proto import Client, ClientConnection, Config, State

__all__ = ["GOALS", "Journey", "journeys"]

GOALS = {
    "dispatch": 5,
    "heartbeat timer": 6,
    "op 7": 6,
    "close 4009": 8,
}
"""Most files that each journey may enter."""
_FOLDER = pathlib.Path(gateway_proto.__file__).parent
_CONFIG = Config(token="t" * 20, intents=0, gateway_url="ws://localhost")
_ACCEPT = b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


class Journey(msgspec.Struct):
    """Calls of one journey."""

    name: str
    calls: int
    functions: dict[str, list[str]]
    """Names of the functions of each file, in the order of their first call."""

    @property
    def files(self) -> int:
        """Number of files entered."""
        return len(self.functions)

    def __str__(self) -> str:
        count = sum(map(len, self.functions.values()))
        head = f"{self.name}: {self.calls} calls, {count} functions, {self.files} files"
        lines = [f"  {file}: {', '.join(names)}" for file, names in self.functions.items()]
        return "\n".join([f"{head} (goal: at most {GOALS[self.name]} files)", *lines])


def journeys() -> list[Journey]:
    """Run all journeys on ready connections."""
    return [_dispatch(), _heartbeat_timer(), _reconnect(), _close()]


def _dispatch() -> Journey:
    _, connection = _ready()
    data = _frame({"t": "MESSAGE_CREATE", "s": 2, "op": 0, "d": {"id": "1"}})

    def run() -> None:
        connection.receive_data(data, now=1.0)
        connection.events()

    return _count("dispatch", run)


def _heartbeat_timer() -> Journey:
    _, connection = _ready()
    due = connection.next_timer()
    assert due is not None

    def run() -> None:
        connection.handle_timer(now=due)
        assert connection.data_to_send()

    return _count("heartbeat timer", run)


def _reconnect() -> Journey:
    connection = ClientConnection(_CONFIG, "ws://localhost", now=0.0)
    _make_ready(connection)
    data = _frame({"op": 7, "d": None})

    def run() -> None:
        connection.receive_data(data, now=1.0)
        connection.data_to_send()
        connection.events()

    journey = _count("op 7", run)
    assert connection.state is State.CLOSED
    return journey


def _close() -> Journey:
    client, connection = _ready()
    payload = (4009).to_bytes(2, "big") + b"Session timed out."
    data = bytes([0x88, len(payload)]) + payload

    def run() -> None:
        connection.receive_data(data, now=1.0)
        connection.data_to_send()
        connection.events()
        assert client.next_dial() is not None

    return _count("close 4009", run)


def _ready() -> tuple[Client, ClientConnection]:
    client = Client(_CONFIG)
    connection = client.dial_succeeded(now=0.0)
    assert isinstance(connection, ClientConnection)
    _make_ready(connection)
    client.events()
    return client, connection


def _make_ready(connection: ClientConnection) -> None:
    import base64
    import hashlib

    request = connection.data_to_send()
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    # RFC 6455, 4.2.2: the accept value is made of the key and this constant.
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    connection.receive_data(_ACCEPT + base64.b64encode(digest) + b"\r\n\r\n", now=0.0)
    connection.receive_data(_frame({"op": 10, "d": {"heartbeat_interval": 41250}}), now=0.0)
    ready = {"t": "READY", "s": 1, "op": 0, "d": {"session_id": "s"}}
    connection.receive_data(_frame(ready), now=0.0)
    connection.data_to_send()
    connection.events()
    assert connection.state is State.READY


def _frame(payload: dict[str, Any]) -> bytes:
    data = msgspec.json.encode(payload)
    assert len(data) < 126
    return bytes([0x81, len(data)]) + data


def _count(name: str, run: Callable[[], None]) -> Journey:
    journey = Journey(name, 0, {})

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            _record(journey, frame.f_code)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return journey


def _record(journey: Journey, code: CodeType) -> None:
    path = pathlib.Path(code.co_filename)
    # Comprehensions have a frame of their own before Python 3.12.
    if not path.is_relative_to(_FOLDER) or code.co_name.startswith("<"):
        return
    names = journey.functions.setdefault(path.relative_to(_FOLDER).as_posix(), [])
    journey.calls += 1
    if code.co_name not in names:
        names.append(code.co_name)


if __name__ == "__main__":
    print("\n\n".join(map(str, journeys())))
