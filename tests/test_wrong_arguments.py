"""Each argument of the calls of a connection or client, given wrong values: nothing changes."""

from __future__ import annotations

import datetime
import decimal
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Config,
    LocalProtocolError,
    RequestSoundboardSounds,
    Session,
    UpdatePresence,
)
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.events import ReconnectRequested
from gateway_proto.server import Fault, Scenario, Server, World
from gateway_proto.session import token_fingerprint
from gateway_proto.shard_ids import shard_of
from gateway_proto.shards import IdentifyQueue, ShardManager
from gateway_proto.testing import Link
from gateway_proto.urls import Url
from gateway_proto.wire.frame_events import ExternalWebSocket
from tests.wrong_values import ReprRaises, async_function

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")


OBJECTS = (object(), ReprRaises(), [], {}, {1}, datetime.timedelta(1), decimal.Decimal(5), 1j)
TEXTS = ("", "5", "\ud800")
NOT_A_FLAG = (None, 0, 1, "no", *OBJECTS)
NOT_A_TIME = (None, True, math.nan, b"5", *TEXTS, *OBJECTS)
NOT_BYTES = (None, 0, "text", *OBJECTS)
NOT_A_MESSAGE = (None, 0, 1.5, *OBJECTS)
NOT_A_TIMEOUT = (None, True, 0, -1, math.nan, math.inf, 10**5000, "5", *OBJECTS)
NOT_A_CALLBACK = (5, "f", async_function, functools.partial(async_function), *OBJECTS)
NOT_A_CONFIG = (None, "secret", {"token": "secret"}, Config, *OBJECTS)
NOT_A_CODE = (None, True, "1000", 999, 1005, 10**5000, *OBJECTS)
NOT_A_REASON = (None, b"why", "\ud800", "x" * 124, 10**5000, *OBJECTS)
NOT_A_COMMAND = (None, "x" * 100_000, {"op": 3}, UpdatePresence, 10**5000, *OBJECTS)


def _ready() -> Link:
    return Link(Client(CONFIG), Server())


def _client_end() -> Any:
    return _ready().client.connection


def _server_end() -> Any:
    return _ready().server.connection


def _messages() -> Any:
    return Client(CONFIG).dial_succeeded(now=0.0, framing=False)


def _lookup() -> Any:
    return LookupConnection(CONFIG, Url.parse("http://localhost/"), now=0.0)


def _client() -> Client:
    return Client(CONFIG)


def _server() -> Any:
    link = _ready()
    return link._server


def _queue() -> Any:
    return IdentifyQueue()


def _manager() -> Any:
    manager = ShardManager(CONFIG, count=2)
    manager.start(now=0.0)
    return manager


CALLS: tuple[tuple[Callable[[], Any], str, dict[str, Any], str, tuple[Any, ...]], ...] = (
    *(
        (make, call, fields, "now", NOT_A_TIME)
        for make in (_client_end, _server_end, _messages)
        for call, fields in (
            ("handle_timer", {}),
            ("receive_eof", {}),
            ("pause", {}),
            ("unpause", {}),
            ("close", {}),
        )
    ),
    *(
        (make, "receive_data", {"data": b"", "now": 0.0}, field, wrong)
        for make in (_client_end, _server_end, _lookup)
        for field, wrong in (("data", NOT_BYTES), ("now", NOT_A_TIME))
    ),
    *(
        (_messages, "receive_message", {"message": "{}", "now": 0.0}, field, wrong)
        for field, wrong in (("message", NOT_A_MESSAGE), ("now", NOT_A_TIME))
    ),
    *(
        (make, "close", {"now": 0.0}, field, wrong)
        for make in (_client_end, _server_end, _messages, _lookup)
        for field, wrong in (("code", NOT_A_CODE), ("reason", NOT_A_REASON))
    ),
    (_lookup, "close", {}, "now", NOT_A_TIME),
    (_messages, "receive_close", {"code": 1000}, "now", NOT_A_TIME),
    (_messages, "receive_close", {"now": 0.0}, "code", NOT_A_CODE[1:4] + NOT_A_CODE[5:]),
    (_messages, "receive_close", {"code": 1000, "now": 0.0}, "reason", (5, b"", *OBJECTS)),
    (_client_end, "send", {"message": UpdatePresence()}, "now", NOT_A_TIME),
    (_client_end, "send", {"now": 0.0}, "message", NOT_A_COMMAND),
    (_client_end, "can_send", {"command": UpdatePresence()}, "now", NOT_A_TIME),
    (_client_end, "request", {"request": RequestSoundboardSounds(1)}, "now", NOT_A_TIME),
    (_client_end, "request", {"now": 0.0}, "request", NOT_A_COMMAND),
    (
        _client_end,
        "request",
        {"request": RequestSoundboardSounds(1), "now": 0.0},
        "timeout",
        NOT_A_TIMEOUT,
    ),
    (_client_end, "grant_identify", {}, "now", NOT_A_TIME),
    (_client_end, "check_clock", {"unix": 0.0}, "now", NOT_A_TIME),
    (_client_end, "check_clock", {"now": 0.0}, "unix", (*NOT_A_TIME, math.inf)),
    (_server_end, "send", {"message": ReconnectRequested()}, "now", NOT_A_TIME),
    (_server_end, "send", {"now": 0.0}, "message", NOT_A_COMMAND),
    (_server_end, "inject", {"fault": Fault("drop")}, "now", NOT_A_TIME),
    (_server_end, "inject", {"now": 0.0}, "fault", ("drop", 10**5000, *OBJECTS)),
    (_server_end, "drop", {}, "now", NOT_A_TIME),
    (_client, "dial_succeeded", {}, "now", NOT_A_TIME),
    (_client, "dial_succeeded", {"now": 0.0}, "framing", NOT_A_FLAG),
    (_client, "dial_failed", {"error": "why"}, "now", NOT_A_TIME),
    (_client, "dial_failed", {"now": 0.0}, "error", (None, 5, b"why", *OBJECTS)),
    (_client, "dial_failed", {"error": "why", "now": 0.0}, "permanent", NOT_A_FLAG),
    (_client, "stop", {"keep_session": True}, "now", NOT_A_TIME),
    (_client, "stop", {"now": 0.0}, "keep_session", NOT_A_FLAG),
    (_server, "accept", {}, "now", NOT_A_TIME),
    (_server, "accept", {"now": 0.0}, "framing", NOT_A_FLAG),
    (_server, "accept", {"now": 0.0, "framing": False}, "target", (None, b"/", *OBJECTS)),
    (_server, "accept", {"now": 0.0, "framing": False}, "host", (None, b"h", *OBJECTS)),
    (_server, "dispatch", {"name": "X", "data": {}}, "now", NOT_A_TIME),
    (_server, "recipients", {"name": "X", "data": {}}, "now", NOT_A_TIME),
    (_server, "reset", {}, "now", NOT_A_TIME),
    (_server, "expire_session", {}, "session", (None, "id", *OBJECTS)),
    (_queue, "join", {"grant": print}, "shard_id", (None, True, -1, "0", 0.0, *OBJECTS)),
    (_queue, "join", {"shard_id": 0}, "grant", NOT_A_CALLBACK),
    (_queue, "handle_timer", {}, "now", NOT_A_TIME),
    (_manager, "handle_timer", {}, "now", NOT_A_TIME),
    *(
        (_manager, call, {}, "shard_id", (None, True, 0.0, "0", 10**5000, *OBJECTS))
        for call in ("add", "replace", "remove")
    ),
    (_client, "share_budget", {}, "budget", (None, 5, *OBJECTS)),
)


def _state(owner: Any) -> Any:
    if isinstance(owner, Client):
        return owner.next_dial(), owner.events(), owner.session, owner.connection
    if isinstance(owner, Server):
        return set(owner.connections), dict(owner.sessions)
    if isinstance(owner, IdentifyQueue):
        return owner.waiting_shards, owner.next_timer()
    if isinstance(owner, ShardManager):
        return dict(owner.clients), owner.next_timer(), owner.events()
    presence = getattr(owner, "presence", None)
    has_messages = isinstance(getattr(owner, "_frames", None), ExternalWebSocket)
    output = owner.messages_to_send() if has_messages else owner.data_to_send()
    return owner.state, owner.next_timer(), presence, owner.events(), output


@pytest.mark.parametrize(
    ("make", "call", "fields", "field", "wrong"),
    CALLS,
    ids=lambda value: (
        value.__name__ if callable(value) else value if isinstance(value, str) else ""
    ),
)
def test_wrong_argument_is_named_and_changes_nothing(
    make: Callable[[], Any], call: str, fields: dict[str, Any], field: str, wrong: tuple[Any, ...]
) -> None:
    owner = make()
    _state(owner)
    before = _state(owner)
    for value in wrong:
        with pytest.raises(LocalProtocolError) as caught:
            getattr(owner, call)(**{**fields, field: value})

        error = str(caught.value)
        assert len(error) < 300
        assert field in error or "command" in error or "not a request" in error
        assert "secret" not in error
        assert _state(owner) == before


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("config", NOT_A_CONFIG),
        ("url", (None, b"ws://localhost", 5, *OBJECTS)),
        ("now", NOT_A_TIME),
        ("session", ("{}", *OBJECTS)),
        ("presence", ("", 0, *OBJECTS)),
        ("on_slot_needed", NOT_A_CALLBACK),
        ("framing", NOT_A_FLAG),
    ],
)
def test_wrong_argument_of_a_connection_is_named(field: str, wrong: tuple[Any, ...]) -> None:
    for value in wrong:
        fields: dict[str, Any] = {"config": CONFIG, "url": "ws://localhost", "now": 0.0}
        with pytest.raises(LocalProtocolError, match=f"(?i){field}") as caught:
            ClientConnection(**{**fields, field: value})

        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "wrong"), [("on_slot_needed", NOT_A_CALLBACK), ("lookup_only", NOT_A_FLAG)]
)
def test_wrong_argument_of_a_client_is_named(field: str, wrong: tuple[Any, ...]) -> None:
    for value in wrong:
        arguments: dict[str, Any] = {field: value}
        with pytest.raises(LocalProtocolError, match=field):
            Client(CONFIG, **arguments)


def test_wrong_config_of_a_session_and_wrong_token_are_not_shown() -> None:
    session = Session(id="s", sequence=1, version=10)
    for call in (session.misfit, session.check_fits, token_fingerprint):
        for value in (None, b"secret", {"token": "secret"}, "\ud800secret"):
            with pytest.raises(LocalProtocolError, match="is of type") as caught:
                call(value)  # type: ignore[operator]

            assert "secret" not in str(caught.value)


def test_times_of_other_number_types_are_taken() -> None:
    link = _ready()
    connection = link.client.connection
    assert connection is not None

    connection.handle_timer(now=5)  # an int
    connection.handle_timer(now=math.inf)  # counts as the largest time
    connection.handle_timer(now=10**5000)

    assert isinstance(connection._now, float)
    assert connection.next_timer() is not None


def test_bytes_like_data_is_taken() -> None:
    whole = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    for data in (bytearray(whole), memoryview(whole)):
        connection = Client(CONFIG).dial_succeeded(now=0.0)
        connection.receive_data(data, now=0.0)  # type: ignore[arg-type]

        (closed,) = connection.events()
        assert closed.code == 503


def test_messages_of_other_types_are_taken() -> None:
    class Text(str):
        __slots__ = ()

    for message in (Text('{"op":10,"d":{"heartbeat_interval":1000}}'), bytearray(b'{"op":11}')):
        connection = _messages()
        connection.events()
        connection.receive_message(message, now=0.0)

        assert [type(event).__name__ for event in connection.events()][:1] in (
            ["Hello"],
            ["HeartbeatAcked"],
        )


def test_exception_is_taken_as_the_error_of_a_dial() -> None:
    client = _client()

    client.dial_failed(OSError("refused"), now=0.0)

    assert "refused" in str(client.events())


@pytest.mark.parametrize(
    "value", ["", "abc", "+5", " 5 ", "1_0", "\u0663", -1, 2**64, 1.5, True, b"5"]
)
def test_value_that_is_no_id_has_no_shard(value: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"guild_id .*: expected a snowflake"):
        shard_of(value, 2)


def test_wrong_arguments_of_a_manager_are_named() -> None:
    wrong: dict[str, tuple[Any, ...]] = {
        "ids": ("01", b"01", bytearray(b"01"), {0: 1}, 10**5000, *OBJECTS[:2]),
        "identify_queue": ("text", ",", *OBJECTS),
        "make_client": NOT_A_CALLBACK,
        "sessions": (10**5000, "x", *OBJECTS[:3]),
    }
    for field, values in wrong.items():
        for value in values:
            arguments: dict[str, Any] = {"count": 2, field: value}
            with pytest.raises(LocalProtocolError, match=f"invalid {field} "):
                ShardManager(CONFIG, **arguments)


def test_wrong_config_and_world_of_a_server_are_named() -> None:
    server = Server()
    for field in ("config", "world"):
        before = getattr(server, field)
        for value in (None, {}, "x", *OBJECTS):
            with pytest.raises(LocalProtocolError, match=field):
                setattr(server, field, value)

        assert getattr(server, field) is before


def test_wrong_members_and_shard_of_a_world_are_named() -> None:
    for members in (None, "5", True, -1, 1.0, 10**9, *OBJECTS):
        with pytest.raises(LocalProtocolError, match=r"members .*from 0 to 1000000"):
            World.with_guild(members=members)  # type: ignore[arg-type]
    world = World.with_guild()
    for shard in (0, "01", (1, 1), (0, 0), (0,), [0, 1], {0: 1}, *OBJECTS):
        with pytest.raises(LocalProtocolError, match="invalid shard"):
            world.guilds_of(shard)  # type: ignore[arg-type]


def test_texts_of_a_str_subclass_are_read() -> None:
    class Text(str):
        __slots__ = ()

    session = Session(id="s", sequence=1, version=10)

    assert World.from_json(Text('{"guilds": [{"id": "1"}]}')).guild("1") is not None
    assert Scenario.from_json(Text('[{"what": "drop"}]')) == Scenario([Fault("drop")])
    assert Scenario.from_yaml(Text("- what: drop")) == Scenario([Fault("drop")])
    assert Session.from_json(Text(session.to_json())) == session
