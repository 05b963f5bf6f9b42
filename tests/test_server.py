"""The server role: what it tells clients, their mistakes, and what it keeps for them."""

from __future__ import annotations

import json
import zlib
from typing import Any

import attrs
import pytest

import gateway_proto.server
from gateway_proto import (
    By,
    Client,
    Closed,
    Config,
    Dispatch,
    Fault,
    GatewayFound,
    HeartbeatAcked,
    HeartbeatRequested,
    Hello,
    HttpRequested,
    Identify,
    LocalProtocolError,
    MalformedPayload,
    Opened,
    Ready,
    Resumed,
    Scenario,
    Server,
    ServerConfig,
    ServerConnection,
    SessionStartLimit,
    State,
    UpdatePresence,
    World,
)
from gateway_proto._layers import etf
from gateway_proto.testing import Link

V10 = "/?v=10&encoding=json"
GUILDS = ({"id": "1", "name": "g"}, {"id": "2", "name": "h"})


def _accept(server: Server | None = None, target: str = V10) -> ServerConnection:
    return (server or Server()).accept(now=0.0, framing=False, target=target)


def _tell(
    connection: ServerConnection, op: Any, d: Any = None, *, now: float = 0.0, **r: Any
) -> None:
    connection.receive_message(json.dumps({"op": op, "d": d, **r}), now=now)


def _said(connection: ServerConnection) -> list[dict[str, Any]]:
    return [json.loads(message) for message in connection.messages_to_send()]


def _identify(connection: ServerConnection, **changes: Any) -> None:
    _tell(connection, 2, {"token": "t", "intents": 0, "properties": {}, **changes})


def _ready(server: Server | None = None, target: str = V10) -> ServerConnection:
    connection = _accept(server, target)
    _identify(connection)
    assert connection.state is State.READY
    return connection


# ----- greeting -----


def test_version_10_is_greeted_with_hello_and_version_3_with_silence() -> None:
    assert _said(_accept(Server(ServerConfig(heartbeat_interval=5)))) == [
        {"op": 10, "d": {"heartbeat_interval": 5}}
    ]
    assert _said(_accept(target="/")) == []


def test_ready_of_version_10_has_what_unmodified_clients_need() -> None:
    server = Server(ServerConfig(world=World(GUILDS)))
    connection = server.accept(now=0.0, framing=False, target=V10, host="localhost:5")
    connection.messages_to_send()

    _identify(connection, shard=[0, 2], intents=1)

    ready, *guilds = _said(connection)
    assert (ready["op"], ready["s"], ready["t"]) == (0, 1, "READY")
    d = ready["d"]
    assert d["v"] == 10
    assert d["guilds"] == [{"id": "1", "unavailable": True}, {"id": "2", "unavailable": True}]
    assert d["resume_gateway_url"] == "ws://localhost:5"
    assert d["shard"] == [0, 2]
    assert d["application"] == {"id": d["user"]["id"], "flags": 0}
    assert [d[key] for key in ("private_channels", "user_settings", "relationships")] == [
        [],
        {},
        [],
    ]
    assert [(guild["t"], guild["s"], guild["d"]["name"]) for guild in guilds] == [
        ("GUILD_CREATE", 2, "g"),
        ("GUILD_CREATE", 3, "h"),
    ]
    assert connection.session is not None
    assert d["session_id"] == connection.session.id


def test_ready_of_version_3_has_whole_guilds_and_the_interval() -> None:
    connection = _accept(Server(ServerConfig(world=World(GUILDS))), "/")

    _identify(connection)

    (ready,) = _said(connection)
    assert ready["d"]["guilds"] == list(GUILDS)
    assert ready["d"]["heartbeat_interval"] == 41250
    assert "resume_gateway_url" not in ready["d"]
    assert "application" not in ready["d"]


def test_each_session_has_an_id_of_its_own_even_without_chance() -> None:
    server = Server()
    for _ in range(3):
        _ready(server)

    assert len(server.sessions) == 3


def test_the_id_of_a_session_is_chance_of_128_bits_and_its_number() -> None:
    """Nobody may guess it, and where chance is the same each time it is one of its own."""
    draws = iter([0.25, 0.5, 0.75, 0.0, 0.0, 0.0, 0.0, 0.99])
    by_chance, constant = Server(ServerConfig(random=lambda: next(draws))), Server()
    for server in (by_chance, constant):
        for _ in range(2):
            _ready(server)

    assert list(by_chance.sessions) == [
        "4000000080000000c0000000000000001",
        "000000000000000000000000fd70a3d72",
    ]
    assert list(constant.sessions) == ["80000000" * 4 + "1", "80000000" * 4 + "2"]


def test_without_a_target_and_a_host_the_oldest_version_is_spoken_on_this_machine() -> None:
    connection = Server().accept(now=0.0, framing=False)
    assert connection.events() == [Opened("/")]

    whole = _accept(Server())
    whole.messages_to_send()
    _identify(whole)

    assert _said(whole)[0]["d"]["resume_gateway_url"] == "ws://localhost"


def test_a_heartbeat_is_acknowledged_before_identify_too() -> None:
    connection = _accept()
    connection.messages_to_send()

    _tell(connection, 1, None)

    assert _said(connection) == [{"op": 11, "d": None}]
    assert connection.state is State.IDENTIFYING


def test_version_3_has_no_ack() -> None:
    connection = _ready(target="/")
    connection.messages_to_send()

    _tell(connection, 1, "1450996513618")

    assert _said(connection) == []


# ----- mistakes of clients, by their documented codes -----


@pytest.mark.parametrize(
    ("op", "d", "code"),
    [
        (3, {"since": None, "activities": [], "status": "online", "afk": False}, 4003),
        (99, None, 4001),
        (1.5, None, 4001),
        (None, None, 4001),
        (2, None, 4002),
        (2, {"token": 5}, 4002),
        (2, {"token": "wrong", "intents": 0}, 4004),
        (2, {"token": "t", "intents": 0, "shard": [2, 2]}, 4010),
        (2, {"token": "t", "intents": 0, "shard": [-1, 2]}, 4010),
        (2, {"token": "t"}, 4013),
        (2, {"token": "t", "intents": -1}, 4013),
        (2, {"token": "t", "intents": 1 << 32}, 4013),
        (3, "x" * 4096, 4002),
    ],
)
def test_a_mistake_before_ready_is_closed_with_its_code(op: Any, d: Any, code: int) -> None:
    connection = _accept(Server(ServerConfig(tokens=frozenset({"t"}))))

    _tell(connection, op, d)

    close = connection.close_to_send()
    assert close is not None
    assert close[0] == code
    assert connection.state is State.CLOSING


@pytest.mark.parametrize("op", [2, 6])
def test_a_second_identify_or_a_resume_after_it_is_closed_with_4005(op: int) -> None:
    connection = _ready()

    _tell(connection, op, {"token": "t", "intents": 0, "session_id": "s", "seq": 1})

    assert connection.close_to_send() == (4005, "Already authenticated")


def test_a_message_that_is_no_payload_is_closed_with_4002_and_told() -> None:
    connection = _ready()
    connection.events()

    connection.receive_message("{", now=0.0)

    assert connection.close_to_send() == (4002, "Error while decoding payload")
    assert isinstance(connection.events()[0], MalformedPayload)


def test_a_client_that_never_identifies_is_closed() -> None:
    connection = _accept(target="/")

    connection.handle_timer(now=60.0)

    assert connection.close_to_send() == (4009, "Session timed out")


def test_a_client_that_waits_for_its_turn_and_beats_is_not() -> None:
    connection = _accept()
    for at in range(40, 400, 40):
        _tell(connection, 1, None, now=float(at))

    assert connection.state is State.IDENTIFYING


def test_a_transport_that_asks_for_nothing_is_dropped() -> None:
    connection = Server().accept(now=0.0)

    connection.handle_timer(now=20.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.error == "waited too long for the HTTP answer"


def test_a_close_that_the_client_does_not_answer_ends_by_timeout() -> None:
    connection = _ready()
    connection.close(4000, "x", now=0.0)

    connection.handle_timer(now=5.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by) == (4000, By.SELF)


# ----- the request -----


def _http(request: bytes, config: ServerConfig | None = None) -> tuple[bytes, list[Any]]:
    connection = Server(config).accept(now=0.0)
    connection.receive_data(request, now=0.0)
    assert connection.state is State.CLOSED
    return connection.data_to_send(), connection.events()


def test_the_gateway_that_a_lookup_names_is_the_host_that_was_asked() -> None:
    answer, events = _http(b"GET /api/v10/gateway HTTP/1.1\r\nHost: here:5\r\n\r\n")

    assert answer.endswith(b'{"url":"ws://here:5"}')
    assert b"content-type: application/json\r\n" in answer.lower()
    assert events[0] == HttpRequested("GET", "/api/v10/gateway", 200)


@pytest.mark.parametrize(
    ("header", "status"),
    [(b"", b"401"), (b"Authorization: Bot t\r\n", b"200"), (b"Authorization: t\r\n", b"200"),
     (b"Authorization: Bot wrong\r\n", b"401")],
)  # fmt: skip
def test_the_routes_for_bots_want_the_token(header: bytes, status: bytes) -> None:
    request = b"GET /api/v10/gateway/bot HTTP/1.1\r\nHost: h\r\n" + header + b"\r\n"

    answer, _ = _http(request, ServerConfig(tokens=frozenset({"Bot t"})))

    assert answer.startswith(b"HTTP/1.1 " + status)


UPGRADE = (
    "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("/?v=x", "version 'x'"),
        ("/?v=" + "9" * 5000, "version '99999"),
        ("/?v=10&encoding=xml", "encoding 'xml'"),
        ("/?v=10&compress=lzma", "compression 'lzma'"),
        ("/?v=3&compress=zlib-stream", "compression 'zlib-stream'"),
        ("/?v=10&compress=payload", "compression 'payload'"),
    ],
)
def test_what_is_not_spoken_is_refused_with_400(target: str, says: str) -> None:
    answer, _ = _http(UPGRADE.format(target=target).encode())

    assert answer.startswith(b"HTTP/1.1 400")
    assert says.encode() in answer
    with pytest.raises(LocalProtocolError, match=says):
        _accept(target=target)


@pytest.mark.parametrize(
    ("versions", "target", "version"),
    [
        ((3, 10), "/", 3),
        ((3, 10), "/4", 3),
        ((3, 10), "/?v=3", 3),
        ((3, 10), "/?encoding=json&v=10", 10),
        ((10,), "/", 10),
        ((6, 10), "/", 6),
        ((3,), "/", 3),
    ],
)
def test_the_version_is_that_of_the_query_or_the_oldest(
    versions: tuple[int, ...], target: str, version: int
) -> None:
    connection = _accept(Server(ServerConfig(versions=versions)), target)

    assert connection.dialect.version == version


@pytest.mark.parametrize("versions", [(), (99,), (3, 99)])
def test_a_server_of_no_version_or_an_unknown_one_is_refused(versions: tuple[int, ...]) -> None:
    with pytest.raises(LocalProtocolError, match="are not one or more of 3, 4, 5, 6, 7, 8, 9, 10"):
        ServerConfig(versions=versions)


def test_a_stream_is_compressed_and_identifies_compress_beside_it_is_once() -> None:
    connection = _accept(target=V10 + "&compress=zlib-stream")
    _identify(connection, compress=True)
    context = zlib.decompressobj()

    messages = connection.messages_to_send()

    texts = [json.loads(context.decompress(m)) for m in messages if isinstance(m, bytes)]
    assert [text.get("t") for text in texts] == [None, "READY"]
    assert len(texts) == len(messages)


# ----- what is sent -----


def test_every_message_of_a_server_arrives_as_an_equal_event() -> None:
    link = Link(Client(Config(token="t", intents=0, api_url="http://localhost/api")), Server())
    for message in (Hello(5000), HeartbeatRequested(), HeartbeatAcked(), Dispatch.of("X", 1, 50)):
        link.server.send(message)

        link.client.expect(message)


def test_a_dispatch_without_a_sequence_gets_the_next_and_one_with_keeps_it() -> None:
    connection = _ready()
    connection.messages_to_send()

    connection.send(Dispatch.of("A", 1), now=0.0)
    connection.send(Dispatch.of("B", 2, 77), now=0.0)
    connection.send(Dispatch.of("C", 3), now=0.0)

    assert [(payload["t"], payload["s"]) for payload in _said(connection)] == [
        ("A", 2),
        ("B", 77),
        ("C", 3),
    ]


def test_what_cannot_be_sent_is_the_callers_mistake() -> None:
    connection = _accept()
    with pytest.raises(LocalProtocolError, match="needs a session"):
        connection.send(Dispatch.of("A", 1), now=0.0)
    with pytest.raises(LocalProtocolError, match="not a message of a server"):
        connection.send(UpdatePresence(), now=0.0)  # type: ignore[arg-type]
    connection.receive_eof(now=0.0)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        connection.send(Hello(1), now=0.0)


def test_a_dispatch_goes_to_the_sessions_that_are_picked() -> None:
    server = Server()
    first, second = _accept(server), _accept(server)
    _identify(first, shard=[0, 2])
    _identify(second, shard=[1, 2])
    first.messages_to_send()
    second.messages_to_send()

    count = server.dispatch("X", 1, now=0.0, to=lambda session: session.shard == (1, 2))

    assert count == 1
    assert _said(first) == []
    assert [payload["t"] for payload in _said(second)] == ["X"]
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        server.dispatch("X", object(), now=0.0)


@pytest.mark.parametrize("name", ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"])
def test_what_is_told_of_a_guild_itself_goes_to_its_shard(name: str) -> None:
    server = Server()
    first, second = _accept(server), _accept(server)
    for number, connection in enumerate((first, second)):
        _identify(connection, shard=[number, 2], intents=1)
        connection.messages_to_send()

    count = server.dispatch(name, {"id": str(1 << 22), "guild_id": "0"}, now=0.0)

    assert count == 1
    assert _said(first) == []
    assert [payload["t"] for payload in _said(second)] == [name]


def test_a_client_that_does_not_read_is_dropped_at_a_bound_and_may_resume() -> None:
    server = Server(ServerConfig(output_limit=10_000))
    connection = _ready(server)

    for _ in range(20):
        server.dispatch("X", "y" * 1000, now=0.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert closed.reason == "dropped"
    assert len(server.sessions) == 1
    assert not server.connections


def test_whoever_changes_another_connection_wakes_its_pump() -> None:
    server = Server()
    connection = _ready(server)
    woken: list[str] = []
    connection.on_wake = lambda: woken.append("woken")

    server.dispatch("X", 1, now=0.0)
    assert woken == ["woken"]
    connection.drop(now=0.0)
    assert len(woken) == 2


# ----- sessions -----


def _away(server: Server) -> str:
    connection = _ready(server)
    connection.receive_eof(now=0.0)
    assert connection.session is not None
    return connection.session.id


def _resume(
    server: Server, session_id: str, seq: int, *, now: float = 0.0, **changes: Any
) -> ServerConnection:
    connection = server.accept(now=now, framing=False, target=changes.pop("target", V10))
    connection.messages_to_send()
    d = {"token": "t", "session_id": session_id, "seq": seq, **changes}
    _tell(connection, 6, d, now=now)
    return connection


def test_a_resume_replays_what_was_missed_and_ends_with_resumed() -> None:
    server = Server()
    session_id = _away(server)
    server.dispatch("A", 1, now=0.0)
    server.dispatch("B", 2, now=0.0)

    connection = _resume(server, session_id, 2)

    assert [(payload["t"], payload["s"]) for payload in _said(connection)] == [
        ("B", 3),
        ("RESUMED", 4),
    ]


def test_a_resume_while_the_old_connection_seems_alive_takes_its_place() -> None:
    server = Server()
    old = _ready(server)
    assert old.session is not None

    new = _resume(server, old.session.id, 1)

    assert old.state is State.CLOSED
    assert new.session is old.session
    assert server.connections == {new}
    server.dispatch("X", 1, now=10**6)
    assert "X" in [payload["t"] for payload in _said(new)]


@pytest.mark.parametrize(
    "changes", [{"token": "other"}, {"token": None}, {"session_id": "x"}, {"target": "/?v=3"}]
)
def test_a_resume_that_does_not_fit_is_answered_by_its_dialect(changes: dict[str, Any]) -> None:
    server = Server()
    resume = {"session_id": _away(server), **changes}

    connection = _resume(server, seq=1, **resume)

    if connection.dialect.version == 3:
        assert connection.close_to_send() == (4006, "Invalid session")
    else:
        assert _said(connection) == [{"op": 9, "d": False}]
        _identify(connection)
        assert connection.state is State.READY


def test_version_3_resumes_without_a_token_and_gets_the_interval() -> None:
    server = Server()
    connection = _ready(server, "/")
    connection.receive_eof(now=0.0)
    assert connection.session is not None

    again = _resume(server, connection.session.id, 1, target="/", token=None)

    (resumed,) = _said(again)
    assert (resumed["t"], resumed["d"]) == ("RESUMED", {"heartbeat_interval": 41250})


def test_a_sequence_from_the_future_is_closed_with_4007() -> None:
    server = Server()

    connection = _resume(server, _away(server), 99)

    assert connection.close_to_send() == (4007, "Invalid seq")


@pytest.mark.parametrize(("limit", "works"), [(2, True), (1, False), (0, False)])
def test_a_replay_that_is_not_whole_any_more_is_no_resume(limit: int, works: bool) -> None:
    server = Server(ServerConfig(replay_limit=limit))
    session_id = _away(server)
    server.dispatch("A", 1, now=0.0)
    server.dispatch("B", 2, now=0.0)

    (first, *_) = _said(_resume(server, session_id, 1))

    assert (first.get("t") == "A") == works
    assert (first["op"] == 9) != works


def test_a_session_without_a_connection_is_forgotten_after_its_lifetime() -> None:
    server = Server(ServerConfig(session_lifetime=100.0))
    session_id = _away(server)

    assert _resume(server, session_id, 1, now=99.0).state is State.READY
    assert server.sessions
    other = _away(server)
    server.dispatch("X", 1, now=100.0)

    assert other not in server.sessions
    assert session_id in server.sessions


@pytest.mark.parametrize("away", [False, True])
def test_a_session_that_the_server_forgets_is_neither_told_nor_resumed(away: bool) -> None:
    server = Server(ServerConfig(session_lifetime=100.0))
    connection = _ready(server)
    session = connection.session
    assert session is not None
    if away:
        connection.receive_eof(now=0.0)

    server.forget(session)
    server.forget(session)  # twice is once

    assert session.connection is None
    assert server.dispatch("X", 1, now=0.0) == 0
    connection.receive_eof(now=1.0)
    again = _resume(server, session.id, 1, now=200.0)
    assert _said(again) == [{"op": 9, "d": False}]


@pytest.mark.parametrize(
    ("code", "kept"), [(1000, False), (1001, False), (4000, True), (None, True)]
)
def test_a_clients_close_ends_the_session_or_keeps_it(code: int | None, kept: bool) -> None:
    server = Server()
    connection = _ready(server)

    connection.receive_close(code, now=0.0)

    assert bool(server.sessions) == kept


def test_a_token_may_come_with_the_word_bot() -> None:
    server = Server(ServerConfig(tokens=frozenset({"t"})))
    connection = _accept(server)
    _identify(connection, token="Bot t")
    assert connection.state is State.READY
    connection.receive_eof(now=0.0)
    assert connection.session is not None

    assert _resume(server, connection.session.id, 1, token="Bot t").state is State.READY


def test_identify_arrives_as_the_client_sent_it() -> None:
    config = Config(token="t", intents=5, api_url="http://localhost/api", shard=(1, 3))
    link = Link(Client(config), Server())

    identify = link.server.expect(Identify)

    assert identify == Identify(token="t", intents=5, shard=(1, 3), large_threshold=50)
    assert link.client.expect(Ready).shard == (1, 3)


@pytest.mark.parametrize("size", [1, 7, 150, 4000])
def test_a_stream_that_comes_in_any_pieces_is_resumed_without_loss(size: int) -> None:
    config = Config(token="t", intents=0, api_url="http://localhost/api", compression="zlib-stream")
    server = Server()
    link = Link(Client(config), server, chop=lambda data: [data[:size], data[size:]])
    server.dispatch("X", "y" * 300, now=link.now)
    link.run()
    link.cut()
    link.run(10)

    link.client.expect(Resumed)
    names = [event.name for event in link.client.events if isinstance(event, Dispatch)]
    assert names == ["READY", "X", "RESUMED"]


def test_a_dispatch_during_the_closing_handshake_is_kept_for_the_resume() -> None:
    server = Server()
    connection = _ready(server)
    connection.close(4000, now=0.0)
    connection.messages_to_send()

    server.dispatch("X", 1, now=0.0)

    assert connection.messages_to_send() == []
    connection.receive_eof(now=0.0)
    assert connection.session is not None
    assert "X" in [p.get("t") for p in _said(_resume(server, connection.session.id, 1))]


def test_the_servers_config_can_be_evolved() -> None:
    assert attrs.evolve(ServerConfig(), versions=[3]).versions == (3,)


@pytest.mark.parametrize("played", [False, True])
def test_the_first_connection_of_a_scenario_is_the_next_one(played: bool) -> None:
    scenario = Scenario([Fault("drop", on="open")])
    server = Server(None if played else ServerConfig(scenario=scenario))
    if played:
        _accept(server)
        server.play(scenario)

    assert _accept(server).state is State.CLOSED
    assert _accept(server).state is State.IDENTIFYING


# ----- close codes, each for its cause -----


def _closed_with(connection: ServerConnection) -> int | None:
    closing = connection.close_to_send()
    return None if closing is None else closing[0]


@pytest.mark.parametrize("target", ["/?v=99", "/?v=2", "/?v=999&encoding=json"])
def test_a_version_that_there_is_not_is_closed_with_4012(target: str) -> None:
    connection = _accept(target=target)

    assert _said(connection) == []
    assert _closed_with(connection) == 4012


@pytest.mark.parametrize(("count", "code"), [(120, None), (121, 4008)])
def test_more_than_120_payloads_in_a_minute_are_closed_with_4008(
    count: int, code: int | None
) -> None:
    connection = _accept()
    for _ in range(count):
        _tell(connection, 1, None, now=1.0)

    assert _closed_with(connection) == code


def test_after_a_minute_there_is_room_for_payloads_again() -> None:
    connection = _accept()
    for number in range(400):
        _tell(connection, 1, None, now=number * 0.51)

    assert _closed_with(connection) is None


@pytest.mark.parametrize(
    ("asked", "allowed", "code"),
    [
        (1, None, None),
        (1 << 8, 1, 4014),
        (1, 1, None),
        (3, 1, 4014),
        (1 << 32, None, 4013),
        (-1, None, 4013),
    ],
)
def test_intents_that_there_are_not_or_that_are_not_allowed(
    asked: int, allowed: int | None, code: int | None
) -> None:
    connection = _accept(Server(ServerConfig(allowed_intents=allowed)))

    _identify(connection, intents=asked)

    assert _closed_with(connection) == code


def test_in_version_6_intents_may_be_left_out_but_not_be_wrong() -> None:
    for intents, code in ((None, None), (1 << 40, 4013)):
        connection = _accept(target="/?v=6")
        _identify(connection, intents=intents)
        assert _closed_with(connection) == code


@pytest.mark.parametrize(("shard", "code"), [(None, 4011), ([0, 1], 4011), ([0, 3], None)])
def test_too_many_guilds_for_a_shard_are_closed_with_4011(shard: Any, code: int | None) -> None:
    world = World([{"id": str(number << 22)} for number in range(6)])
    connection = _accept(Server(ServerConfig(world=world, guilds_per_shard=2)))

    _identify(connection, shard=shard)

    assert _closed_with(connection) == code


def test_who_identifies_too_soon_gets_invalid_session_and_other_keys_do_not() -> None:
    """ "max_concurrency per 5 s, key = shard_id mod max_concurrency; surplus: op 9"."""
    server = Server(ServerConfig(identify_seconds=5.0, max_concurrency=2))
    said = []
    for now, shard_id in ((0.0, 0), (1.0, 1), (2.0, 2), (5.0, 2)):
        connection = server.accept(now=now, framing=False, target=V10)
        connection.messages_to_send()
        d = {"token": "t", "intents": 0, "shard": [shard_id, 4]}
        _tell(connection, 2, d, now=now)
        said.append(_said(connection)[0]["op"])
        assert connection.close_to_send() is None

    assert said == [0, 0, 9, 0]


def test_a_client_without_a_shard_takes_the_turn_of_shard_0() -> None:
    server = Server(ServerConfig(identify_seconds=5.0, max_concurrency=2))
    said = []
    for shard in (None, [0, 2], [1, 2]):
        connection = _accept(server)
        connection.messages_to_send()
        _identify(connection, shard=shard)
        said.append(_said(connection)[0]["op"])

    assert said == [0, 9, 0]


def test_the_sessions_of_a_day_are_counted_and_told_and_run_out() -> None:
    server = Server(ServerConfig(identifies_a_day=2))

    def left(now: float) -> tuple[int, int]:
        limit = server.found("ws://x", now=now).session_start_limit
        assert limit is not None
        return limit.remaining, limit.reset_after

    assert left(0.0) == (2, 0)
    codes = []
    for now in (0.0, 100.0, 200.0, 86400.0):
        connection = server.accept(now=now, framing=False, target=V10)
        _tell(connection, 2, {"token": "t", "intents": 0}, now=now)
        codes.append(_closed_with(connection))
        if now == 100.0:
            assert left(now) == (0, 86_300_000)

    assert codes == [None, None, 4004, None]


def test_what_a_lookup_learns_is_what_the_server_was_told() -> None:
    server = Server(ServerConfig(shards=3, identifies_a_day=7, max_concurrency=2))

    limit = SessionStartLimit(7, 7, 0, max_concurrency=2)
    assert server.found("ws://x", now=0.0) == GatewayFound("ws://x", 3, limit)


# ----- presences -----


def _shows(connection: ServerConnection) -> str | None:
    assert connection.session is not None
    presence = connection.session.presence
    return None if presence is None else presence.activities[0].name


def _play(connection: ServerConnection, name: str, *, now: float) -> None:
    activities = [{"name": name, "type": 0}]
    d = {"since": None, "activities": activities, "status": "online", "afk": False}
    _tell(connection, 3, d, now=now)


def test_the_presence_of_identify_is_shown_until_another_comes() -> None:
    connection = _accept()
    activities = [{"name": "first", "type": 0}]
    presence = {"since": None, "activities": activities, "status": "online", "afk": False}
    _identify(connection, presence=presence)

    assert _shows(connection) == "first"
    _play(connection, "second", now=1.0)
    assert _shows(connection) == "second"


def test_presences_beyond_the_limit_are_let_go_without_a_word() -> None:
    """5 in 20 seconds, in any window; the connection is none the worse for it."""
    connection = _ready()
    assert _shows(connection) is None

    for number in range(7):
        _play(connection, str(number), now=float(number))

    assert _shows(connection) == "4"
    _play(connection, "too soon", now=19.9)
    assert _shows(connection) == "4"
    _play(connection, "in time", now=20.0)
    assert _shows(connection) == "in time"
    assert connection.state is State.READY


# ----- many sessions -----


@pytest.mark.skipif(not etf.available(), reason="the extra etf is not installed")
@pytest.mark.parametrize(
    ("encodings", "terms"),
    [
        (("json", "etf", "etf", "json", "etf"), [b'{"a":[1,null]}']),
        (("json", "json"), []),
    ],
)
def test_a_dispatch_to_many_is_written_once_in_each_encoding(
    encodings: tuple[str, ...], terms: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    real = gateway_proto.server.to_term

    def to_term(raw: bytes) -> bytes:
        written.append(raw)
        return real(raw)

    monkeypatch.setattr(gateway_proto.server, "to_term", to_term)
    server = Server()
    links = [
        Link(
            Client(Config(token="t", intents=0, gateway_url="ws://localhost", encoding=encoding)),
            server,
        )
        for encoding in encodings
    ]

    server.dispatch("X", {"a": [1, None]}, now=0.0)

    for link in links:
        link.run(0.01)
        dispatches = [event for event in link.client.events if isinstance(event, Dispatch)]
        assert dispatches[-1].data == {"a": [1, None]}
    assert written == terms
