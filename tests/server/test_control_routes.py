"""HTTP control route of a server, for tests in any language."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_proto import (
    Activity,
    Client,
    Closed,
    Config,
    Dispatch,
    Encoding,
    Heartbeat,
    Intents,
    LocalProtocolError,
    RawCommand,
    Ready,
    ReconnectRequested,
    Resume,
    Resumed,
    SessionInvalidated,
    UpdatePresence,
)
from gateway_proto.server import Fault, HttpRequested, Scenario, Server, ServerConfig
from gateway_proto.server.received_log import ReceivedLog
from gateway_proto.testing import Link
from gateway_proto.wire.frames import ClientFrames
from tests.server.control_requests import CONFIG, ask, connected, post

# ----- resources and hosts -----


def test_control_route_is_disabled_by_default() -> None:
    assert ask(Server(), "POST /control/drop", {})[0] == 404
    assert ask(Server(), "GET /control/connections")[0] == 404


@pytest.mark.parametrize("prefix", ["", "control", "/", "/a b", "/a/", "/a?b"])
def test_invalid_control_prefix_is_rejected(prefix: str) -> None:
    with pytest.raises(LocalProtocolError, match="expected the beginning of a path"):
        ServerConfig(control=prefix)


def test_paths_outside_of_the_prefix_are_not_control() -> None:
    _, server = connected()

    assert ask(server, "GET /controls")[0] == 404
    assert ask(server, "GET /api/v10/gateway")[0] == 200


@pytest.mark.parametrize(
    "header",
    ["Origin: https://evil.example", "Origin: null"]
    + [f"Sec-Fetch-Site: {site}" for site in ("cross-site", "same-site", "same-origin")],
)
def test_request_from_a_web_page_is_rejected(header: str) -> None:
    _, server = connected()

    status, _ = ask(server, "POST /control/drop", {}, headers=f"{header}\r\n")

    assert status == 403
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.1.2.3")),
        *((host, 200) for host in ("[::1]", "[::1]:8080", "gateway:8080", "[fd00::1]:1")),
        *((host, 403) for host in ("evil.example:8080", "localhost.evil.example", "10.0.0.1")),
        *((host, 403) for host in ("127.0.0.1.evil.example", "::1", "[127.0.0.1]", "", "gateway2")),
        *((host, 403) for host in ("evil.example:80:localhost", "[fd00::2]", "localhost:1:1")),
    ],
)
def test_control_accepts_only_local_and_configured_hosts(host: str, status: int) -> None:
    _, server = connected(control_hosts=["Gateway", "[fd00::1]"])

    assert ask(server, "GET /control/sessions", host=host)[0] == status


def test_control_request_without_host_is_rejected() -> None:
    _, server = connected()
    connection = server.accept(now=0.0)

    connection.receive_data(b"GET /control/sessions HTTP/1.0\r\n\r\n", now=0.0)

    assert connection.data_to_send().startswith(b"HTTP/1.1 403")


def test_request_from_the_browser_address_bar_is_accepted() -> None:
    _, server = connected()

    assert ask(server, "GET /control/sessions", headers="Sec-Fetch-Site: none\r\n")[0] == 200


@pytest.mark.parametrize("hosts", ["gateway:8080", ["a b"], [""], [1], "fd00::1", None])
def test_control_hosts_with_a_port_are_rejected(hosts: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"ServerConfig\.control_hosts"):
        ServerConfig(control_hosts=hosts)


@pytest.mark.parametrize("request_", ["GET /control", "GET /control/x", "GET /control/drop"])
def test_unknown_resource_returns_404(request_: str) -> None:
    _, server = connected()

    status, body = ask(server, request_)

    assert status == 404
    assert body["message"].startswith("unknown control request GET")


# ----- GET requests -----


def test_connections_have_protocol_and_session() -> None:
    _, server = connected()

    status, (one,) = ask(server, "GET /control/connections")

    assert status == 200
    assert (one["number"], one["state"], one["version"]) == (1, "ready", 10)
    assert (one["encoding"], one["compression"], one["buffered_bytes"]) == ("json", "none", 0)
    assert one["session"]["sequence"] == 1
    assert one["session"]["intents"] == Intents.GUILDS
    assert one["session"]["connection"] == 1


def test_connections_are_listed_in_order_of_their_numbers() -> None:
    server = Server(ServerConfig(control="/control"))
    for _ in range(12):
        server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")

    _, connections = ask(server, "GET /control/connections")

    assert [connection["number"] for connection in connections] == list(range(1, 13))
    assert {connection["session"] for connection in connections} == {None}


def test_sessions_of_disconnected_clients_are_listed() -> None:
    link, server = connected()
    link.client.send(UpdatePresence([Activity("chess")]))
    link.run(1)
    link.cut()

    _, (session,) = ask(server, "GET /control/sessions", now=link.now)

    assert session["connection"] is None
    assert session["presence"]["activities"][0]["name"] == "chess"
    assert session["id"] in server.sessions


def test_received_has_commands_in_order_and_without_tokens() -> None:
    link, server = connected()
    link.client.send(RawCommand(99, {"odd": [1]}))
    link.run(5)

    _, entries = ask(server, "GET /control/received", now=link.now)

    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    names = ["Opened", "Identify", "Ready", "RawCommand", "Closed"]
    assert [entry["event"] for entry in entries] == names
    assert [entry["connection"] for entry in entries] == [1] * 5
    assert (entries[4]["code"], entries[4]["initiator"]) == (4001, "self")
    assert entries[3]["d"] == {"odd": [1]}
    identify = entries[1]
    assert (identify["op"], identify["connection"]) == (2, 1)
    assert identify["d"]["token"] == "***"
    assert identify["d"]["intents"] == Intents.GUILDS
    assert "secret" not in json.dumps(entries)


def test_received_starts_after_the_given_number() -> None:
    link, server = connected()
    link.cut()
    link.run(5)
    _, entries = ask(server, "GET /control/received", now=link.now)

    _, later = ask(server, "GET /control/received?after=2", now=link.now)

    assert later == entries[2:]
    assert later[0]["number"] == 3
    assert ask(server, "GET /control/received?after=999")[1] == []


def test_received_keeps_only_the_last_entries() -> None:
    link, server = connected(received_log_limit=3)
    link.run(300)

    _, entries = ask(server, "GET /control/received", now=link.now)

    assert [entry["event"] for entry in entries] == ["Heartbeat"] * 3
    assert entries[-1]["number"] > 3


def test_received_entries_are_bounded_in_bytes() -> None:
    log = ReceivedLog(10**6)

    for _ in range(200):
        log.log_received(None, "HttpRequested", target="x" * 10**6)

    entries = log.after(0)
    assert 60 < len(entries) < 68
    assert entries[-1]["number"] == 200


@pytest.mark.parametrize("after", ["-1", "x", "1e3", "%F0%9F%98%80", "9" * 30])
def test_received_after_an_invalid_number_is_rejected(after: str) -> None:
    _, server = connected()

    status, body = ask(server, f"GET /control/received?after={after}")

    assert status == 400
    assert "expected the number of an entry" in body["message"]


def test_entries_are_not_kept_without_a_control_route() -> None:
    server = Server()
    Link(Client(CONFIG), server).client.expect(Ready)

    assert server._context.received_log.after(0) == []


def test_undecodable_command_is_an_entry_with_an_error() -> None:
    server = Server(ServerConfig(control="/control"))
    connection = server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")
    identify = '{"token": "t", "properties": {}, "intents": 0, "unused": 1e999}'
    connection.receive_message(f'{{"op": 2, "d": {identify}}}', now=0.0)

    _, entries = ask(server, "GET /control/received")

    assert [entry["event"] for entry in entries] == ["Opened", "Identify", "Ready"]
    assert entries[1]["d"] == {"error": "Number out of range - at `$[...]`"}


def test_commands_in_etf_are_shown_as_json() -> None:
    pytest.importorskip("erlpack")
    server = Server(ServerConfig(control="/control"))
    link = Link(
        Client(
            Config(token="secret", intents=1, gateway_url="ws://localhost", encoding=Encoding.ETF)
        ),
        server,
    )
    link.client.expect(Ready)

    _, entries = ask(server, "GET /control/received")

    (identify,) = [entry for entry in entries if entry["event"] == "Identify"]
    assert identify["d"]["intents"] == 1
    assert identify["d"]["token"] == "***"


# ----- POST requests -----


def test_dispatch_is_sent_to_sessions_with_its_intents() -> None:
    link, server = connected()

    mine = post(link, server, "dispatch", {"t": "GUILD_CREATE", "d": {"id": "1"}})
    others = post(link, server, "dispatch", {"t": "TYPING_START", "d": {"guild_id": "1"}})
    link.run(1)

    assert (mine, others) == ((200, {"count": 1}), (200, {"count": 0}))
    assert link.client.expect(Dispatch).data == {"id": "1"}


def test_dispatch_to_one_connection_ignores_its_intents() -> None:
    link, server = connected()
    other = Link(Client(CONFIG), server)
    other.client.expect(Ready)

    body = {"t": "TYPING_START", "d": {"guild_id": "1"}, "connection": 2}
    assert post(link, server, "dispatch", body) == (200, {"count": 1})
    link.run(1)
    other.run(1)

    assert other.client.expect(Dispatch).name == "TYPING_START"
    assert not [e for e in link.client.events if isinstance(e, Dispatch) and e.name != "READY"]


def test_dispatch_to_a_connection_without_session_is_rejected() -> None:
    server = Server(ServerConfig(control="/control"))
    server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")

    status, body = ask(server, "POST /control/dispatch", {"t": "X", "connection": 1})

    assert (status, body["message"]) == (400, "connection 1 has no session yet")


@pytest.mark.parametrize("connection", [None, 1])
def test_drop_makes_the_client_resume(connection: int | None) -> None:
    link, server = connected()
    body = {} if connection is None else {"connection": connection}

    assert post(link, server, "drop", body) == (200, {"count": 1})
    link.run(5)

    link.server.expect(Resume)
    link.client.expect(Resumed)


def test_empty_body_means_an_empty_object() -> None:
    link, server = connected()

    assert ask(server, "POST /control/drop", now=link.now) == (200, {"count": 1})


@pytest.mark.parametrize("code", [4008, 1001, 1011, 1012])
def test_close_sends_code_and_reason(code: int) -> None:
    link, server = connected()

    assert post(link, server, "close", {"code": code, "reason": "enough"}) == (200, {"count": 1})
    link.run(5)

    closed = link.client.expect(Closed)
    assert (closed.code, closed.reason) == (code, "enough")


@pytest.mark.parametrize(
    ("op", "d", "event"),
    [
        (7, None, ReconnectRequested()),
        (9, True, SessionInvalidated(True)),
        (9, False, SessionInvalidated(False)),
    ],
)
def test_send_sends_the_payload_of_an_op_code(op: int, d: Any, event: Any) -> None:
    link, server = connected()

    assert post(link, server, "send", {"op": op, "d": d}) == (200, {"count": 1})
    link.run(0.01)

    assert event in link.client.events


def test_send_supports_heartbeat_request_ack_and_hello() -> None:
    link, server = connected()
    before = len(link.server.events)

    for body in ({"op": 1}, {"op": 11}, {"op": 10, "d": {"heartbeat_interval": 30_000}}):
        assert post(link, server, "send", body) == (200, {"count": 1})
    link.run(0.01)

    assert [type(event) for event in link.server.events[before:]] == [Heartbeat]


def test_send_supports_the_redirect_of_version_3() -> None:
    server = Server(ServerConfig(control="/control"))
    config = Config(token="t", version=3, gateway_url="ws://localhost", unix_offset=0.0)
    link = Link(Client(config), server)
    link.client.expect(Ready)

    post(link, server, "send", {"op": 7, "d": {"url": "ws://elsewhere"}})
    link.run(0.01)

    assert ReconnectRequested("ws://elsewhere") in link.client.events


@pytest.mark.parametrize(
    "body", [{"op": 0}, {"op": 2}, {"op": 10}, {"op": 10, "d": {}}, {"op": 99}]
)
def test_send_of_an_unsupported_op_code_is_rejected(body: Any) -> None:
    link, server = connected()

    status, answer = post(link, server, "send", body)

    assert status == 400
    assert answer["message"].startswith(f"op {body['op']} cannot be sent: it may be 1, 7, 9")


@pytest.mark.parametrize("path", ["drop", "close", "send", "dispatch"])
def test_number_of_a_closed_connection_returns_404(path: str) -> None:
    link, server = connected()
    body = {"send": {"op": 7}, "dispatch": {"t": "X"}}.get(path, {})

    status, answer = post(link, server, path, {**body, "connection": 9})

    assert (status, answer["message"]) == (404, "connection 9 is not open")


def test_closing_connection_does_not_count_as_open() -> None:
    link, server = connected()
    post(link, server, "close", {"code": 4000})

    assert post(link, server, "drop", {}) == (200, {"count": 0})


def test_scenario_counts_from_the_next_connection() -> None:
    link, server = connected()
    faults = [{"what": "close", "on": "resumed", "code": 4009, "connection": 1}]

    assert post(link, server, "scenario", faults) == (200, {"count": 1})
    post(link, server, "drop", {})
    link.run(10)

    codes = [event.code for event in link.client.events if isinstance(event, Closed)]
    assert codes == [None, 4009]
    _, (one,) = ask(server, "GET /control/connections", now=link.now)
    assert one["number"] == 3


def test_play_starts_a_scenario_from_python() -> None:
    link, server = connected()

    server.set_scenario(Scenario([Fault("refuse", on="upgrade", status=520)]))
    link.cut()
    link.run(10)

    assert [e.status for e in link.server.events if isinstance(e, HttpRequested)] == [520]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("drop", b"{"),
        ("drop", b"\xff"),
        ("drop", {"conection": 1}),
        ("drop", b"[" * 100_000),
        ("dispatch", {"d": 1}),
        ("dispatch", {"t": 1}),
        ("send", {}),
        ("close", {"code": "4000"}),
        ("close", {"code": 1005}),
        ("scenario", {"what": "drop"}),
        ("scenario", [{"what": "nonsense"}]),
    ],
)
def test_invalid_body_is_rejected_without_effect(path: str, body: Any) -> None:
    link, server = connected()

    status, answer = post(link, server, path, body)

    assert status == 400
    assert answer["message"]
    assert len(server.open_connections) == 1


def test_large_body_is_accepted_up_to_a_limit() -> None:
    link, server = connected()
    body = {"t": "X", "d": "x" * 1_000_000}

    assert post(link, server, "dispatch", body) == (200, {"count": 1})
    connection = Server().accept(now=0.0)
    connection.receive_data(
        b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", now=0.0
    )
    for _ in range(17):
        connection.receive_data(b"x" * 2**20, now=0.0)
    assert connection.data_to_send().startswith(b"HTTP/1.1 413 ")


def test_expect_100_continue_is_answered() -> None:
    _, server = connected()
    connection = server.accept(now=0.0)
    head = b"POST /control/drop HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 2\r\n"
    connection.receive_data(head + b"Expect: 100-continue\r\n\r\n", now=0.0)

    assert connection.data_to_send().startswith(b"HTTP/1.1 100 ")
    connection.receive_data(b"{", now=0.0)
    assert connection.data_to_send() == b""
    connection.receive_data(b"}", now=0.0)
    assert connection.data_to_send().startswith(b"HTTP/1.1 200 ")


def test_upgrade_to_a_control_path_is_rejected() -> None:
    server = Server(ServerConfig(control="/control"))
    connection = server.accept(now=0.0)
    frames = ClientFrames(host="h", target="/control/drop?v=10", user_agent="u", limit=9)

    connection.receive_data(frames.data_to_send(), now=0.0)

    assert connection.number == 1
