"""Replay of recorded traces without differences."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
import pytest

from gateway_proto import (
    Activity,
    Client,
    ClientConnection,
    CloseCodePolicy,
    Dispatch,
    HeartbeatRequested,
    LocalProtocolError,
    MalformedPayload,
    NextAction,
    RawCommand,
    Ready,
    ReconnectRequested,
    RequestAnswered,
    RequestGuildMembers,
    Resumed,
    Session,
    State,
    UpdatePresence,
)
from gateway_proto.encoding import etf
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, World
from gateway_proto.session import token_fingerprint
from gateway_proto.shards import ShardManager
from gateway_proto.testing import Link
from gateway_proto.trace import read
from gateway_proto.urls import Url
from gateway_proto.versions import VERSIONS
from tests.trace.support import (
    API,
    HELLO,
    READY,
    TOKEN,
    Trace,
    assert_hides,
    changed_lines,
    config_with,
    differences,
    random_source,
)


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def _talk(link: Link, client: Client, server: Server) -> None:
    """Run five minutes with every kind of event of a client."""
    link.run(60)
    link.client.expect(Ready)
    link.client.send(UpdatePresence([Activity("chess")], since=5))
    link.client.send(RawCommand(4, {"guild_id": "7", "channel_id": None, "self_mute": False}))
    server.dispatch("MESSAGE_CREATE", {"content": "x" * 2000}, now=link.now)
    server.dispatch("PING", [1.5], now=link.now, to=lambda session: True)
    server.dispatch("NOBODY", None, now=link.now, to=lambda session: False)
    connection: Any = client.connection
    connection.request(RequestGuildMembers("5"), now=link.now)
    connection.pause(now=link.now)
    link.run(1)
    connection.unpause(now=link.now)
    link.client.expect(RequestAnswered)
    link.cut()
    server.dispatch("MISSED", 1, now=link.now)
    link.run(10)
    link.client.expect(Resumed)
    for present in server.open_connections:
        present.send(HeartbeatRequested(), now=link.now)
        present.send(Dispatch.of("BY_HAND", {"a": 1}), now=link.now)
        present.send(ReconnectRequested(), now=link.now)
    link.dead_hosts.add("localhost")
    link.run(3)
    link.dead_hosts.clear()
    server.set_scenario(Scenario([Fault("close", code=4009, on="resumed", connection=None)]))
    link.run(200)
    client.stop(keep_session=True, now=link.now)
    link.run(10)


def test_handshake_in_single_bytes_replays_without_differences() -> None:
    made = Trace()
    client = made.recorder.client(config_with())
    link = Link(client, Server(ServerConfig(random=random_source())), chop=_bytes)
    link.run(1)
    link.client.expect(Ready)

    assert differences(made.close()) == []


@pytest.mark.parametrize("chopped", [False, True], ids=["whole", "chopped"])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"compression": "payload"},
        {"compression": "zlib-stream"},
        {"compression": "zstd-stream"},
        {"encoding": "etf", "compression": "zlib-stream"},
        {"version": 3, "intents": None},
    ],
    ids=str,
)
def test_client_and_server_replay_without_differences(form: dict[str, Any], chopped: bool) -> None:
    if "encoding" in form and not etf.available():
        pytest.skip("the extra etf is not installed")
    made = Trace()
    client = made.recorder.client(config_with(**form))
    members = [{"user": {"id": str(n)}} for n in range(5)]
    # TOKEN starts with the id of the default user in base64, as tokens do.
    user = {"id": "7", "username": "bot"}
    world = World([{"id": "5", "name": "five", "members": members}], user)
    tokens = {TOKEN, "another-token"}
    server = made.recorder.server(ServerConfig(world=world, random=random_source(), tokens=tokens))
    chop = (lambda data: [data[i : i + 29] for i in range(0, len(data), 29)]) if chopped else None
    link = Link(client, server, delay=0.05, **({} if chop is None else {"chop": chop}))

    _talk(link, client, server)

    lines = made.close()
    assert_hides(lines, TOKEN, "another-token")
    assert {"dial_succeeded", "accept", "receive_data", "handle_timer"} <= set(made.calls())
    assert {"dispatch", "set_scenario", "send", "request", "pause", "dial_failed"} <= set(
        made.calls()
    )
    assert len({str(line.get("drew")) for line in read(lines)}) > 2


def test_unframed_messages_are_recorded() -> None:
    made = Trace()
    connection = made.recorder.connection(config_with(), "ws://localhost", now=5.0, framing=False)
    connection.receive_message(HELLO, now=5.0)
    sent = connection.messages_to_send()
    connection.receive_message(READY.encode(), now=5.5)
    connection.check_clock(1e9, now=5.5)
    connection.check_clock(1e9 + 9, now=5.6)
    closing = connection.close_to_send()
    events = connection.events()

    lines = made.close()
    assert differences(lines) == []
    assert [line.get("call") or line.get("took") for line in read(lines)] == [
        *[None, "receive_message", "messages_to_send", "receive_message"],
        *["check_clock", "check_clock", "close_to_send", "events"],
    ]
    took = {line["took"]: line for line in read(lines) if "took" in line}
    assert took["messages_to_send"]["sent"][0]["message"]["op"] == 2 and len(sent) == 1
    assert took["close_to_send"]["sent"] == [{"close": 4000, "reason": ""}] and closing
    assert [event["type"] for event in took["events"]["events"]] == [
        type(event).__name__ for event in events
    ]


def test_connection_and_lookup_without_client_are_recorded() -> None:
    made = Trace()
    session = Session(
        id="s", sequence=5, shard=(0, 2), version=10, token_fingerprint=token_fingerprint(TOKEN)
    )
    config = config_with(
        shard=(0, 2),
        wait_for_identify_slot=True,
        presence=UpdatePresence([Activity("go")], since=3, status="dnd"),
        close_policies={4000: CloseCodePolicy(NextAction.STOP, "over")},
    )
    connection = made.recorder.connection(
        config,
        Url.parse("ws://localhost"),
        now=0.0,
        session=session,
        presence=UpdatePresence(),
        framing=False,
    )
    connection.receive_message(HELLO, now=0.5)
    connection.messages_to_send()
    connection.receive_message('{"op":9,"d":false}', now=0.6)
    other = made.recorder.connection(config, "ws://localhost", now=0.6, framing=False)
    other.receive_message(HELLO, now=1.0)
    other.grant_identify(now=2.0)
    other.messages_to_send()
    other.receive_close(4000, "bye", now=3.0)
    other.receive_eof(now=3.0)
    lookup = made.recorder.lookup(config_with(), f"{API}/gateway", now=4.0)
    lookup.data_to_send()
    lookup.check_clock(1e9, now=4.0)
    lookup.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n", now=4.0)
    lookup.receive_data(b'{"url":"ws://localhost"}', now=4.1)
    lookup.events()

    lines = made.close()
    assert_hides(lines, TOKEN)
    assert made.calls().count("receive_eof") == 0  # it is already closed
    assert "check_clock" not in made.calls()  # a lookup has no use for it
    assert [line["state"] for line in read(lines) if line.get("call") == "receive_data"] == [
        *["connecting", "closed"],
    ]


def test_shard_client_with_a_session_is_recorded() -> None:
    made = Trace()
    session = Session(id="s", sequence=5, version=10, token_fingerprint=token_fingerprint(TOKEN))
    client = made.recorder.client(
        config_with(), session=session, gateway=Url.parse("ws://localhost/?key=very-hidden")
    )
    client.events()
    client.dial_succeeded(now=0.0)
    made.recorder.client(config_with(), lookup_only=True).events()

    lines = made.close()
    assert differences(lines) == []
    assert read(lines)[0]["session"]["id"] == "s"
    assert "token_fingerprint" not in "".join(lines)


def test_granted_identify_slots_are_recorded_in_their_caller() -> None:
    made = Trace()
    config = config_with(gateway_url="ws://localhost", api_url=None)
    manager = ShardManager(config, count=2, make_client=made.recorder.client)
    manager.start(now=0.0)
    connections: list[Any] = []
    for client in manager.clients.values():
        connections.append(client.dial_succeeded(now=0.0, framing=False))
        connections[-1].receive_message(HELLO, now=0.5)
    at = manager.next_timer()
    assert at is not None
    manager.handle_timer(now=at)
    sent = [connection.messages_to_send() for connection in connections]

    lines = read(made.close())
    assert ['"op":2' in str(messages) for messages in sent] == [True, True]
    inside = [line["call"] for line in lines if line.get("inside")]
    assert inside == ["grant_identify"]  # the second had to wait for its identify slot
    assert made.calls().count("grant_identify") == 2
    assert differences(made.lines) == []
    # A slot that is no longer granted is reported.
    changed = [line for line in made.lines if '"inside"' not in line]
    assert {d.what for _, d in differences(changed)} >= {"state"}


def test_missing_nested_call_is_reported_as_a_difference() -> None:
    made = Trace()
    config = config_with(gateway_url="ws://localhost", api_url=None)
    manager = ShardManager(config, count=1, make_client=made.recorder.client)
    manager.start(now=0.0)
    connection: Any = manager.clients[0].dial_succeeded(now=0.0, framing=False)
    connection.receive_message(HELLO, now=0.5)
    lines = changed_lines(made.close(), lambda line: line.pop("asks_for_slots", None))

    found = {(json.loads(lines[n - 1])["call"], d.what) for n, d in differences(lines)}

    assert {("receive_message", "state"), ("grant_identify", "state")} <= found


def test_changes_to_a_server_are_recorded_and_replayed() -> None:
    made = Trace()
    server = made.recorder.server()
    server.config = attrs.evolve(server.config, heartbeat_interval=500)
    connection = server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")
    connection.messages_to_send()
    server.config = attrs.evolve(server.config, tls=True)
    server.dispatch("NOTHING", {}, now=1.0)
    with pytest.raises(LocalProtocolError):
        server.dispatch("NO_JSON", object(), now=1.0)

    lines = made.close()
    configs = [line["config"] for line in read(lines) if "config" in line]
    assert [(c["heartbeat_interval"], c["tls"], c["tokens"]) for c in configs] == [
        (500, False, None),
        (500, True, None),
    ]
    assert differences(lines) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("fragment", size=10, on="dispatch"),
        Fault("corrupt", on="dispatch"),
        Fault("corrupt_data", on="dispatch"),
        Fault("garbage", on="dispatch"),
        Fault("trickle", size=7, on="dispatch", seconds=0.1),
        Fault("trickle", size=7, on="open", seconds=0.01),
        Fault("refuse", status=503, on="upgrade"),
        Fault("bomb", size=1000, on="dispatch"),
    ],
    ids=lambda fault: fault.what,
)
@pytest.mark.parametrize("compression", ["none", "zlib-stream"])
def test_faults_of_a_scenario_are_replayed(fault: Fault, compression: str) -> None:
    made = Trace()
    client = made.recorder.client(config_with(compression=compression))
    server = made.recorder.server(ServerConfig(scenario=Scenario([fault]), random=random_source()))
    link = Link(client, server)
    link.run(5)
    for _ in range(3):
        server.dispatch("MESSAGE_CREATE", {"content": "hello" * 20}, now=link.now)
        link.run(5)

    lines = made.close()
    assert_hides(lines, TOKEN)
    assert "MESSAGE_CREATE" in "".join(lines)


def test_ping_and_close_frames_are_recorded_as_such() -> None:
    made = Trace()
    client = made.recorder.client(config_with(gateway_url="ws://localhost", api_url=None))
    server = Server()
    link = Link(client, server)
    link.run(1)
    connection: Any = client.connection
    connection.receive_data(b"\x89\x02hi", now=link.now)  # a ping
    connection.data_to_send()
    connection.receive_data(b"\x8a\x00", now=link.now)  # a pong
    connection.close(4001, "enough", now=link.now)
    link.run(1)

    sent = [item for line in read(made.close()) for item in line.get("sent", ())]
    assert {"pong": {"utf8": "xx"}} in sent
    assert {"close": 4001, "reason": "enough"} in sent
    assert differences(made.lines) == []


def test_early_timer_calls_and_calls_after_close_are_omitted() -> None:
    made = Trace()
    connection = made.recorder.connection(config_with(), "ws://localhost", now=0.0, framing=False)
    connection.handle_timer(now=1.0)
    connection.handle_timer(now=20.0)
    connection.handle_timer(now=21.0)
    connection.receive_message(HELLO, now=21.0)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        connection.send(UpdatePresence(), now=22.0)

    assert connection.state is State.CLOSED
    assert made.calls() == ["handle_timer", "send"]
    assert "raised" in read(made.lines)[-1]
    assert differences(made.close()) == []


def test_invalid_calls_still_raise_and_are_recorded() -> None:
    made = Trace()
    with pytest.raises(LocalProtocolError, match=r"invalid Config\.version of version 10"):
        made.recorder.client(
            config_with(version=msgspec.structs.replace(VERSIONS[10], acks_heartbeats=False))
        )
    with pytest.raises(LocalProtocolError, match=r"invalid Session\.sequence -1"):
        session = Session(id="s", sequence=-1, version=10)
        made.recorder.client(config_with(), session=session)
    connection: Any = made.recorder.connection(
        config_with(), "ws://localhost", now=0.0, framing=False
    )
    connection.receive_message(HELLO, now=1.0)
    connection.receive_message(READY, now=1.0)
    with pytest.raises(LocalProtocolError, match="invalid command 5"):
        connection.send(5, now=2.0)
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"x", now=3.0)
    with pytest.raises(LocalProtocolError):
        connection.data_to_send()
    with pytest.raises(TypeError):
        connection.receive_data()

    lines = made.close()
    assert len([line for line in read(lines) if "new" in line]) == 1
    assert differences(lines) == []


def test_exception_in_the_state_machine_ends_the_recorded_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    made = Trace()
    with monkeypatch.context() as patched:
        patched.setattr(ClientConnection, "_handle_hello", broken)
        connection = made.recorder.connection(
            config_with(), "ws://localhost", now=0.0, framing=False
        )
        with pytest.raises(ZeroDivisionError):
            connection.receive_message(HELLO, now=1.0)
        again = differences(made.close())

    assert again == []
    fixed = differences(made.lines)
    assert (fixed[0][0], fixed[0][1].what) == (3, "raised")
    assert fixed[0][1].recorded == "ZeroDivisionError: a bug"


def test_malformed_message_is_recorded_once_without_its_token() -> None:
    made = Trace()
    connection = made.recorder.connection(config_with(), "ws://localhost", now=0.0, framing=False)
    connection.receive_message(HELLO, now=0.0)
    connection.receive_message(f'{{"op":0,"d":"{TOKEN}', now=0.1)

    (event,) = [e for e in connection.events() if isinstance(e, MalformedPayload)]
    assert event.excerpt
    lines = made.close()
    assert_hides(lines, TOKEN)
    assert differences(lines) == []
    (took,) = [line for line in read(lines) if line.get("took") == "events"]
    (shown,) = [one for one in took["events"] if one["type"] == "MalformedPayload"]
    assert shown == {"type": "MalformedPayload", "error": event.error}
