"""Version 3, by the document of early 2016, sentence by sentence."""

from __future__ import annotations

import json
import zlib
from typing import Any

import attrs
import pytest

from gateway_proto import (
    Activity,
    Client,
    ClientConnection,
    Closed,
    Compression,
    Config,
    DialPurpose,
    GatewayFound,
    Heartbeat,
    HeartbeatSent,
    Identify,
    Initiator,
    NextAction,
    Ready,
    ReconnectRequested,
    Resume,
    Resumed,
    Session,
    State,
    UpdatePresence,
    UrlRejected,
)
from gateway_proto.client.lookup import LookupConnection
from gateway_proto.server import Server, ServerConfig
from gateway_proto.session import token_fingerprint
from gateway_proto.testing import Link
from tests.connections import sent_payloads

UNIX_OFFSET = 1_450_996_000.0
CONFIG = Config(token="t0ken", version=3, api_url="http://localhost/api", unix_offset=UNIX_OFFSET)
SESSION = Session(id="s1", sequence=7, version=3, token_fingerprint=token_fingerprint("t0ken"))


def _link(config: Config = CONFIG, **server: Any) -> Link:
    return Link(Client(config), Server(ServerConfig(**server)), now=100.0)


def _bare(config: Config = CONFIG, session: Session | None = None) -> ClientConnection:
    """Return a connection without framing, which sends JSON text."""
    return ClientConnection(config, "ws://localhost/4", now=100.0, session=session, framing=False)


def _payload(op: int, d: Any, s: int | None = None, t: str | None = None) -> str:
    return json.dumps({"op": op, "d": d, "s": s, "t": t})


def _ready(interval: int = 41250) -> str:
    d = {"v": 3, "session_id": "s1", "heartbeat_interval": interval, "user": {}, "guilds": []}
    return _payload(0, d, 1, "READY")


# ----- GET endpoint -----


def test_lookup_sends_get_api_gateway_with_authorization() -> None:
    client = Client(CONFIG)
    connection = client.dial_succeeded(now=0.0)

    request = connection.data_to_send().decode()

    assert isinstance(connection, LookupConnection)
    assert request.startswith("GET /api/gateway HTTP/1.1\r\n")
    assert "authorization: bot t0ken\r\n" in request.lower()


def test_lookup_of_a_user_account_sends_the_bare_token() -> None:
    client = Client(attrs.evolve(CONFIG, bot=False))

    request = client.dial_succeeded(now=0.0).data_to_send().decode()

    assert "authorization: t0ken\r\n" in request.lower()


def test_lookup_url_defaults_to_the_documented_endpoint() -> None:
    dial = Client(Config(token="t", version=3)).next_dial()

    assert dial is not None
    assert dial.url == "https://discordapp.com/api/gateway"
    assert (dial.tls, dial.port) == (True, 443)


def test_lookup_precedes_every_connection() -> None:
    link = _link()
    for _ in range(2):
        link.cut()
        link.run(10)
        link.client.expect(Resumed)

    purposes = [dial.purpose for dial in link.dials]

    assert purposes == [
        DialPurpose.LOOKUP,
        DialPurpose.IDENTIFY,
        *[DialPurpose.LOOKUP, DialPurpose.RESUME] * 2,
    ]


def test_url_of_the_lookup_is_used_unchanged() -> None:
    link = _link(url="ws://localhost:8080/4?keep=this")

    link.client.expect(GatewayFound("ws://localhost:8080/4?keep=this"))

    assert link.dials[-1].url == "ws://localhost:8080/4?keep=this"
    assert link.dials[-1].port == 8080


def test_server_answers_the_lookup() -> None:
    connection = Server(ServerConfig(url="ws://localhost:1/4")).accept(now=0.0)

    connection.receive_data(b"GET /api/gateway HTTP/1.1\r\nHost: localhost\r\n\r\n", now=0.0)

    head, _, body = connection.data_to_send().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body) == {"url": "ws://localhost:1/4"}


# ----- connect -----


def test_identify_is_sent_at_once_with_every_required_field() -> None:
    connection = _bare()

    (identify,) = sent_payloads(connection)

    assert connection.state is State.IDENTIFYING
    assert identify["op"] == 2
    d = identify["d"]
    assert d["token"] == "t0ken"
    assert d["v"] == 3
    assert d["properties"].keys() == {
        "$os",
        "$browser",
        "$device",
        "$referrer",
        "$referring_domain",
    }
    assert d["large_threshold"] == 100
    assert d["compress"] is False


def test_identify_requests_payload_compression() -> None:
    connection = _bare(attrs.evolve(CONFIG, compression=Compression.PAYLOAD))

    (identify,) = sent_payloads(connection)

    assert identify["d"]["compress"] is True


def test_ready_is_accepted_as_plain_text() -> None:
    connection = _bare()

    connection.receive_message(_ready(), now=100.0)

    assert connection.state is State.READY
    assert any(isinstance(event, Ready) for event in connection.events())


def test_ready_is_accepted_with_payload_compression() -> None:
    connection = _bare(attrs.evolve(CONFIG, compression=Compression.PAYLOAD))

    connection.receive_message(zlib.compress(_ready().encode()), now=100.0)

    assert connection.state is State.READY


def test_server_sends_ready_with_payload_compression_on_request() -> None:
    server = Server().accept(now=0.0, framing=False)
    d = {"token": "t", "v": 3, "properties": {}, "large_threshold": 100, "compress": True}

    server.receive_message(_payload(2, d), now=0.0)

    (message,) = server.messages_to_send()
    assert isinstance(message, bytes)
    assert json.loads(zlib.decompress(message))["t"] == "READY"


# ----- keepalive -----


def test_heartbeat_is_sent_at_the_interval_of_ready() -> None:
    connection = _bare()
    connection.receive_message(_ready(interval=30_000), now=100.0)
    sent_payloads(connection)
    times: list[float] = []

    for _ in range(3):
        at = connection.next_timer()
        assert at is not None
        connection.handle_timer(now=at)
        (heartbeat,) = sent_payloads(connection)
        assert heartbeat["op"] == 1
        times.append(at)

    assert times == [130.0, 160.0, 190.0]


def test_heartbeat_interval_of_resumed_replaces_that_of_ready() -> None:
    connection = _bare(session=SESSION)
    connection.receive_message(_payload(0, {"heartbeat_interval": 5_000}, 8, "RESUMED"), now=100.0)

    assert connection.next_timer() == 105.0
    connection.handle_timer(now=105.0)
    assert connection.next_timer() == 110.0


def test_no_heartbeat_is_sent_before_ready() -> None:
    connection = _bare()
    sent_payloads(connection)

    connection.handle_timer(now=150.0)

    assert sent_payloads(connection) == []


def test_heartbeat_has_unix_milliseconds_as_text() -> None:
    connection = _bare()
    connection.receive_message(_ready(interval=518_618), now=0.0)
    sent_payloads(connection)

    connection.handle_timer(now=618.618)

    assert sent_payloads(connection) == [{"op": 1, "d": "1450996618618"}]


def test_heartbeat_has_an_integer_by_option() -> None:
    connection = _bare(attrs.evolve(CONFIG, heartbeat_as_integer=True))
    connection.receive_message(_ready(), now=0.0)
    sent_payloads(connection)

    connection.handle_timer(now=200.5)

    assert sent_payloads(connection) == [{"op": 1, "d": 1450996200500}]


def test_heartbeat_is_received_by_the_server_unchanged() -> None:
    link = _link(heartbeat_interval=1000)

    link.run(1.0)

    sent = link.client.expect(HeartbeatSent)
    assert link.server.expect(Heartbeat) == Heartbeat(sent.d)


def test_server_closes_after_a_missing_heartbeat() -> None:
    server = Server(ServerConfig(heartbeat_interval=1000)).accept(now=0.0, framing=False)
    server.receive_message(_payload(2, {"token": "t", "v": 3, "properties": {}}), now=0.0)
    server.messages_to_send()

    server.receive_message(_payload(1, "1450996513618"), now=1.0)
    server.handle_timer(now=2.0)
    assert server.close_to_send() is None
    server.handle_timer(now=2.5)

    assert server.close_to_send() == (4009, "Session timed out")


# ----- update status -----


@pytest.mark.parametrize(
    ("presence", "d"),
    [
        (UpdatePresence(), {"game": None, "idle_since": None}),
        (UpdatePresence([Activity("chess")]), {"game": {"name": "chess"}, "idle_since": None}),
        (UpdatePresence(since=1450996513618), {"game": None, "idle_since": 1450996513618}),
        (
            UpdatePresence([Activity("go")], 1450996513618),
            {"game": {"name": "go"}, "idle_since": 1450996513618},
        ),
    ],
)
def test_status_update_always_has_game_and_idle_since(
    presence: UpdatePresence, d: dict[str, Any]
) -> None:
    connection = _bare()
    connection.receive_message(_ready(), now=100.0)
    sent_payloads(connection)

    connection.send(presence, now=100.0)

    assert sent_payloads(connection) == [{"op": 3, "d": d}]


def test_last_status_is_sent_again_in_a_new_session() -> None:
    link = _link()
    chess = UpdatePresence([Activity("chess")])
    link.client.send(chess)
    link.server.expect(chess)
    assert isinstance(link._server, Server)
    link._server.sessions.clear()

    link.cut()
    link.run(30)

    link.server.expect(Identify)
    link.server.expect(chess)


def test_last_status_is_sent_again_after_resume() -> None:
    link = _link()
    chess = UpdatePresence([Activity("chess")])
    link.client.send(chess)

    link.cut()
    link.run(30)

    link.server.expect(Resume)
    link.server.expect(chess)


# ----- redirect -----


def test_redirect_resumes_at_its_url_at_once() -> None:
    link = _link()
    link.client.expect(Ready)

    link.server.send(ReconnectRequested("ws://localhost:9999/4"))

    closed = link.server.expect(
        Closed(
            code=4000,
            reason="reconnect requested",
            initiator=Initiator.PEER,
            next_action=NextAction.STOP,
        )
    )
    assert closed.code not in (1000, 1001)
    assert link.dials[-1].url == "ws://localhost:9999/4"
    assert link.dials[-1].purpose is DialPurpose.RESUME
    link.server.expect(Resume)
    link.client.expect(Resumed)
    assert link.now == 100.0


def test_redirect_before_ready_identifies_at_its_url() -> None:
    client = Client(attrs.evolve(CONFIG, api_url=None, gateway_url="ws://localhost/4"))
    connection = client.dial_succeeded(now=100.0, framing=False)
    assert isinstance(connection, ClientConnection)

    connection.receive_message(_payload(7, {"url": "ws://localhost:9/4"}), now=100.0)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.url, dial.purpose) == ("ws://localhost:9/4", DialPurpose.IDENTIFY)
    assert dial.at == 100.0


@pytest.mark.parametrize("url", ["ws://evil.example/", "http://", "ws://user@localhost/", "x"])
def test_redirect_to_an_untrusted_host_causes_a_lookup(
    url: str,
) -> None:
    link = _link()

    link.server.send(ReconnectRequested(url))
    link.run(5)

    assert link.client.expect(UrlRejected).url == url
    assert [dial.host for dial in link.dials] == ["localhost"] * len(link.dials)
    link.client.expect(Resumed)


@pytest.mark.parametrize("d", [None, {"url": None}, {}, 0, [1]])
def test_redirect_without_url_causes_a_lookup(d: Any) -> None:
    client = Client(CONFIG, session=SESSION)
    lookup = client.dial_succeeded(now=0.0)
    lookup.receive_data(
        b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"url":"ws://localhost"}', now=0.0
    )
    connection = client.dial_succeeded(now=0.0, framing=False)
    assert isinstance(connection, ClientConnection)

    connection.receive_message(_payload(7, d), now=0.0)

    assert ReconnectRequested(None) in connection.events()
    dial = client.next_dial()
    assert dial is not None
    assert dial.purpose is DialPurpose.LOOKUP
