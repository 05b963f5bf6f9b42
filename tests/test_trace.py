"""A trace holds what happened to a machine, drives it again, and holds no secret."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import msgspec
import pytest

from gateway_proto import (
    DIALECTS,
    Activity,
    AfterClose,
    Client,
    ClientConnection,
    Closed,
    Config,
    Dispatch,
    Fault,
    Fleet,
    HeartbeatRequested,
    LocalProtocolError,
    Raw,
    Ready,
    ReconnectRequested,
    RequestAnswered,
    RequestGuildMembers,
    Resumed,
    Scenario,
    Server,
    ServerConfig,
    Session,
    State,
    Then,
    UpdatePresence,
    Url,
    World,
    fingerprint,
    trace,
)
from gateway_proto._layers import etf
from gateway_proto._tracing.values import plain, value_of
from gateway_proto.testing import Link
from gateway_proto.trace import Recorder, TraceError, read, replay
from tests import demo_trace

TOKEN = "ODAzNTExMTAyMjQ2Nzg5MTI.Gx-y_z.very/secret+token"
API = "http://localhost/api"
HELLO = '{"op":10,"d":{"heartbeat_interval":1000}}'
READY = '{"op":0,"t":"READY","s":1,"d":{"session_id":"abc","resume_gateway_url":"ws://localhost"}}'


def _chance() -> Callable[[], float]:
    return itertools.cycle([0.1, 0.7, 0.3, 0.9]).__next__


def _config(**fields: Any) -> Config:
    given = {"token": TOKEN, "intents": 2, "api_url": API, "unix_offset": 1e9, "random": _chance()}
    return Config(**{**given, **fields})


class Trace:
    """A recorder, and the lines that it has written."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.recorder = Recorder(self.lines.append)

    def close(self) -> list[str]:
        self.recorder.close()
        return self.lines

    def calls(self) -> list[str]:
        return [line["call"] for line in read(self.lines) if "call" in line]


def _differences(lines: list[str]) -> list[Any]:
    return [(step.number, d) for step in replay(lines) for d in step.differences]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            if key == "base64":
                yield base64.b64decode(item).decode("latin-1")
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            with contextlib.suppress(ValueError):
                yield from _strings(json.loads(value))


def _assert_hides(lines: list[str], *secrets: str) -> None:
    """What a replay makes of the bytes would show a secret that is compressed in them."""
    texts = [text for line in lines for text in (line, *_strings(json.loads(line)))]
    for secret in secrets:
        for form in (secret, json.dumps(secret)[1:-1], secret.replace("/", r"\/")):
            assert not [text for text in texts if form in text]
    assert _differences(lines) == []


# ----- what is recorded can be driven again -----


def _talk(link: Link, client: Client, server: Server) -> None:
    """An hour in which everything happens that a life has."""
    link.run(60)
    link.client.expect(Ready)
    link.client.send(UpdatePresence([Activity("chess")], since=5))
    link.client.send(Raw(4, {"guild_id": "7", "channel_id": None, "self_mute": False}))
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
    server.play(Scenario([Fault("close", code=4009, on="resumed", connection=None)]))
    link.run(3600)
    client.stop(keep_session=True, now=link.now)
    link.run(10)


@pytest.mark.parametrize("chopped", [False, True], ids=["whole", "chopped"])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"compression": "payload"},
        {"compression": "zlib-stream"},
        {"compression": "zstd-stream"},
        {"encoding": "etf", "compression": "zlib-stream"},
        {"dialect": 3, "intents": None},
    ],
    ids=str,
)
def test_a_life_and_its_server_do_the_same_again(form: dict[str, Any], chopped: bool) -> None:
    if "encoding" in form and not etf.available():
        pytest.skip("the extra etf is not installed")
    made = Trace()
    client = made.recorder.client(_config(**form))
    members = [{"user": {"id": str(n)}} for n in range(5)]
    world = World([{"id": "5", "name": "five", "members": members}])
    tokens = {TOKEN, "another-token"}
    server = made.recorder.server(ServerConfig(world=world, random=_chance(), tokens=tokens))
    chop = (lambda data: [data[i : i + 29] for i in range(0, len(data), 29)]) if chopped else None
    link = Link(client, server, delay=0.05, **({} if chop is None else {"chop": chop}))

    _talk(link, client, server)

    lines = made.close()
    _assert_hides(lines, TOKEN, "another-token")
    assert {"dial_succeeded", "accept", "receive_data", "handle_timer"} <= set(made.calls())
    assert {"dispatch", "play", "send", "request", "pause", "dial_failed"} <= set(made.calls())
    assert len({str(line.get("drew")) for line in read(lines)}) > 2


def test_messages_without_frames_are_recorded_too() -> None:
    made = Trace()
    connection = made.recorder.connection(_config(), "ws://localhost", now=5.0, framing=False)
    connection.receive_message(HELLO, now=5.0)
    sent = connection.messages_to_send()
    connection.receive_message(READY.encode(), now=5.5)
    connection.check_clock(1e9, now=5.5)
    connection.check_clock(1e9 + 9, now=5.6)
    closing = connection.close_to_send()
    events = connection.events()

    lines = made.close()
    assert _differences(lines) == []
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


def test_a_connection_and_a_lookup_are_recorded_without_a_life() -> None:
    made = Trace()
    session = Session(id="s", sequence=5, shard=(0, 2), dialect=10, fingerprint=fingerprint(TOKEN))
    config = _config(
        shard=(0, 2),
        ask_to_identify=True,
        presence=UpdatePresence([Activity("go")], since=3, status="dnd"),
        closes={4000: AfterClose(Then.STOP, "over")},
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
    lookup = made.recorder.lookup(_config(), f"{API}/gateway", now=4.0)
    lookup.data_to_send()
    lookup.check_clock(1e9, now=4.0)
    lookup.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n", now=4.0)
    lookup.receive_data(b'{"url":"ws://localhost"}', now=4.1)
    lookup.events()

    lines = made.close()
    _assert_hides(lines, TOKEN)
    assert made.calls().count("receive_eof") == 0  # it was closed already
    assert "check_clock" not in made.calls()  # a lookup has no use for it
    assert [line["state"] for line in read(lines) if line.get("call") == "receive_data"] == [
        *["upgrading", "closed"],
    ]


def test_a_client_of_a_fleet_with_a_session_is_recorded() -> None:
    made = Trace()
    session = Session(id="s", sequence=5, dialect=10, fingerprint=fingerprint(TOKEN))
    client = made.recorder.client(
        _config(), session=session, gateway=Url.parse("ws://localhost/?key=very-hidden")
    )
    client.events()
    client.dial_succeeded(now=0.0)
    made.recorder.client(_config(), only_look_up=True).events()

    lines = made.close()
    assert _differences(lines) == []
    assert read(lines)[0]["session"]["id"] == "s"
    assert "fingerprint" not in "".join(lines)


def test_the_turns_that_a_fleet_gives_are_recorded_where_they_are_given() -> None:
    made = Trace()
    config = _config(gateway_url="ws://localhost", api_url=None)
    fleet = Fleet(config, count=2, make_client=made.recorder.client)
    fleet.begin(now=0.0)
    connections: list[Any] = []
    for client in fleet.clients.values():
        connections.append(client.dial_succeeded(now=0.0, framing=False))
        connections[-1].receive_message(HELLO, now=0.5)
    at = fleet.next_timer()
    assert at is not None
    fleet.handle_timer(now=at)
    sent = [connection.messages_to_send() for connection in connections]

    lines = read(made.close())
    assert ['"op":2' in str(messages) for messages in sent] == [True, True]
    inside = [line["call"] for line in lines if line.get("inside")]
    assert inside == ["grant_identify"]  # the second had to wait for its turn
    assert made.calls().count("grant_identify") == 2
    assert _differences(made.lines) == []
    # One that is not given any more is missed.
    changed = [line for line in made.lines if '"inside"' not in line]
    assert {d.what for _, d in _differences(changed)} >= {"state"}


def test_a_call_inside_of_another_that_is_not_made_any_more_is_told() -> None:
    made = Trace()
    config = _config(gateway_url="ws://localhost", api_url=None)
    fleet = Fleet(config, count=1, make_client=made.recorder.client)
    fleet.begin(now=0.0)
    connection: Any = fleet.clients[0].dial_succeeded(now=0.0, framing=False)
    connection.receive_message(HELLO, now=0.5)
    lines = _changed(made.close(), lambda line: line.pop("asks_for_slots", None))

    found = {(json.loads(lines[n - 1])["call"], d.what) for n, d in _differences(lines)}

    assert {("receive_message", "state"), ("grant_identify", "state")} <= found


def test_a_server_is_told_more_later_and_the_trace_tells_it() -> None:
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
    assert _differences(lines) == []


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
def test_what_a_scenario_breaks_is_broken_again(fault: Fault, compression: str) -> None:
    made = Trace()
    client = made.recorder.client(_config(compression=compression))
    server = made.recorder.server(ServerConfig(scenario=Scenario([fault]), random=_chance()))
    link = Link(client, server)
    link.run(5)
    for _ in range(3):
        server.dispatch("MESSAGE_CREATE", {"content": "hello" * 20}, now=link.now)
        link.run(5)

    lines = made.close()
    _assert_hides(lines, TOKEN)
    assert "MESSAGE_CREATE" in "".join(lines)


def test_pings_and_closes_are_written_as_what_they_are() -> None:
    made = Trace()
    client = made.recorder.client(_config(gateway_url="ws://localhost", api_url=None))
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
    assert {"pong": {"utf8": "hi"}} in sent
    assert {"close": 4001, "reason": "enough"} in sent
    assert _differences(made.lines) == []


def test_a_tick_that_is_not_due_and_calls_after_the_end_are_left_out() -> None:
    made = Trace()
    connection = made.recorder.connection(_config(), "ws://localhost", now=0.0, framing=False)
    connection.handle_timer(now=1.0)
    connection.handle_timer(now=20.0)
    connection.handle_timer(now=21.0)
    connection.receive_message(HELLO, now=21.0)
    with pytest.raises(LocalProtocolError, match="the connection is closed"):
        connection.send(UpdatePresence(), now=22.0)

    assert connection.state is State.CLOSED
    assert made.calls() == ["handle_timer", "send"]
    assert "raised" in read(made.lines)[-1]
    assert _differences(made.close()) == []


def test_what_a_caller_does_wrong_raises_as_ever_and_is_recorded() -> None:
    made = Trace()
    with pytest.raises(LocalProtocolError, match="is not that of version 10"):
        made.recorder.client(_config(dialect=msgspec.structs.replace(DIALECTS[10], acks=False)))
    with pytest.raises(LocalProtocolError, match="another token"):
        session = Session(id="s", sequence=5, dialect=10, fingerprint="x")
        made.recorder.client(_config(), session=session)
    connection: Any = made.recorder.connection(_config(), "ws://localhost", now=0.0, framing=False)
    connection.receive_message(HELLO, now=1.0)
    connection.receive_message(READY, now=1.0)
    with pytest.raises(LocalProtocolError, match="is not a command"):
        connection.send(5, now=2.0)
    with pytest.raises(LocalProtocolError):
        connection.receive_data(b"x", now=3.0)
    with pytest.raises(LocalProtocolError):
        connection.data_to_send()
    with pytest.raises(TypeError):
        connection.receive_data()

    lines = made.close()
    assert len([line for line in read(lines) if "new" in line]) == 1
    assert _differences(lines) == []


def test_a_machine_that_breaks_is_recorded_up_to_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    made = Trace()
    with monkeypatch.context() as patched:
        patched.setattr(ClientConnection, "_greeted", broken)
        connection = made.recorder.connection(_config(), "ws://localhost", now=0.0, framing=False)
        with pytest.raises(ZeroDivisionError):
            connection.receive_message(HELLO, now=1.0)
        again = _differences(made.close())

    assert again == []
    mended = _differences(made.lines)
    assert (mended[0][0], mended[0][1].what) == (3, "raised")
    assert mended[0][1].recorded == "ZeroDivisionError: a bug"


# ----- what is different is found -----


def _recorded() -> list[str]:
    made = Trace()
    link = Link(made.recorder.client(_config(random=_chance())), Server(), delay=0.1)
    link.run(100)
    return made.close()


def _changed(lines: list[str], change: Callable[[dict[str, Any]], object]) -> list[str]:
    changed = []
    for line in lines:
        fields = json.loads(line)
        change(fields)
        changed.append(json.dumps(fields))
    return changed


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("timer", lambda line: line.update(timer=1.5) if line.get("timer") else None),
        ("state", lambda line: line.update(state="x") if line.get("state") == "ready" else None),
        ("events", lambda line: line["events"].pop() if "events" in line else None),
        ("sent", lambda line: line["sent"].clear() if "sent" in line else None),
        ("dial", lambda line: line.update(dial=None) if "dial" in line else None),
        ("drew", lambda line: line.pop("drew", None)),
        ("waiting", lambda line: line.update(waiting=3) if "state" in line else None),
        ("made", lambda line: line.update(made=9) if "made" in line else None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_as_it_was_is_told_with_its_line(what: str, change: Any) -> None:
    lines = _changed(_recorded(), change)

    found = []
    with pytest.raises(TraceError) if what == "made" else contextlib.nullcontext():
        found += _differences(lines)

    if what != "made":
        assert {difference.what for _, difference in found} >= {what}
        number, difference = next(pair for pair in found if pair[1].what == what)
        assert json.loads(lines[number - 1]).get(what) == difference.recorded
        assert difference.recorded != difference.replayed


def test_a_library_that_behaves_otherwise_is_told_by_a_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = _recorded()
    monkeypatch.setattr("gateway_proto.dialects.DIALECTS", DIALECTS)
    monkeypatch.setattr("gateway_proto._timing.heartbeats.Heartbeats.is_zombie", lambda _: True)

    found = _differences(lines)

    assert {difference.what for _, difference in found} >= {"state", "sent"}
    assert _differences(_recorded()) == []


def test_fields_and_lines_that_are_not_known_are_passed_over() -> None:
    lines = _changed(_recorded(), lambda line: line.update(new_field=1))
    lines = _changed(lines, lambda line: line.get("config", {}).update(of_later=2))
    lines = _changed(lines, lambda line: line.get("with", {}).update(of_later=2))
    lines.insert(3, '{"of_later": true}')

    assert _differences([*lines, "", "\n"]) == []


# ----- what is no trace -----


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: [], "line 1: this is no trace"),
        (lambda lines: ['{"event": 5}'], "line 1: this is no trace"),
        (lambda lines: lines[1:], "line 1: this is no trace"),
        (
            lambda lines: ['{"format": "gateway_proto trace", "version": 2, "library": "9.0"}'],
            "line 1: this trace has version 2, and 1 is read here: take the gateway_proto that "
            "wrote it, 9.0",
        ),
        (lambda lines: [*lines[:4], "nonsense", *lines[4:]], "line 5: JSON is malformed"),
        (lambda lines: [*lines[:4], "[]"], "line 5: Expected `object`"),
        (lambda lines: [*lines[:4], b"\xff\xfe"], "line 5: JSON is malformed"),
        (lambda lines: [*lines[:4], lines[4][:30]], "line 5: this line is cut off"),
        (lambda lines: [*lines[:2], *lines[3:]], None),
        (lambda lines: [lines[0], *lines[2:]], "line 2: there is no machine 1"),
        (lambda lines: [*lines, '{"call": "pause", "id": 77}'], "there is no machine 77"),
        (lambda lines: [*lines, '{"call": "pause"}'], "there is no 'id'"),
        (lambda lines: [*lines, '{"call": "events", "id": 1}'], None),
        (lambda lines: [*lines, '{"call": "__init__", "id": 1}'], "Client has no call '__init__'"),
        (lambda lines: [*lines, '{"took": "stop", "id": 3}'], "has no call 'stop'"),
        (
            lambda lines: [*lines, json.dumps({**json.loads(lines[1]), "new": "toaster"})],
            "there is no machine 'toaster'",
        ),
        (
            lambda lines: [*lines, '{"new": "client", "id": 9, "config": {"token": 5}}'],
            "line",
        ),
        (
            lambda lines: [*lines, '{"new": "client", "id": 9, "config": {"token": "t"}}'],
            "version 10 needs intents",
        ),
        (lambda lines: [*lines, '{"call": "pause", "id": 1, "with": []}'], "line"),
        (lambda lines: [*lines, '{"call": "pause", "id": 1, "at": 9e9, "sent": ["x"]}'], "line"),
    ],
)
def test_what_is_no_trace_is_said_with_its_line(change: Any, says: str | None) -> None:
    lines = change(_recorded())

    if says is None:
        list(replay(lines))
        return
    with pytest.raises(TraceError, match=re.escape(says) if says != "line" else says):
        list(replay(lines))


# ----- secrets -----

SHAPES = [
    TOKEN,
    'quo"ted\\back\\slashed/token',
    "x" * 24 + "%41&key=value",
    "secret",
    "any",
    "t",
]


@pytest.mark.parametrize("chopped", [0, 1, 10, 1000])
@pytest.mark.parametrize("token", SHAPES)
@pytest.mark.parametrize("compression", ["none", "payload", "zlib-stream", "zstd-stream"])
def test_a_server_that_echoes_the_token_puts_it_in_no_trace(
    token: str, compression: str, chopped: int
) -> None:
    made = Trace()
    config = _config(token=token, compression=compression)
    chop = (
        (lambda data: [data[i : i + chopped] for i in range(0, len(data), chopped)])
        if chopped
        else lambda data: (data,)
    )
    server = Server(ServerConfig(random=_chance()))
    link = Link(made.recorder.client(config), server, chop=chop)
    link.run(1)
    for echo in (
        {"token": token, "long": "x" * 1500},
        {"content": f"no secret {'y' * 1500}"},
        *([] if chopped in (1, 10) else [{"token": token, "very_long": "x" * 70_000}]),
        *([] if len(token) < 6 else [{"content": f"is it {token}?"}, {token: [token]}]),
        {"content": "after it"},
    ):
        server.dispatch("ECHO", echo, now=link.now, to=lambda _: True)
        link.run(1)
    link.cut()
    link.run(10)
    link.client.expect(Resumed)
    for present in server.open_connections:
        present.close(4000, token if len(token) > 5 else "", now=link.now)
    link.run(10)

    lines = made.close()
    assert _differences(lines) == []
    assert "after it" in "".join(lines)
    if len(token) < 6:
        assert not re.search(rf'token\\*":\\*"{token}\\*"', "".join(lines))
    else:
        _assert_hides(lines, token)
        echoes = [e["d"] for ln in read(lines) for e in ln.get("events", ()) if "d" in e]
        assert any("is it" in str(d) for d in echoes)


@pytest.mark.parametrize("token", SHAPES[:3])
def test_a_token_is_hidden_however_json_and_urls_escape_it(token: str) -> None:
    made = Trace()
    connection = made.recorder.connection(
        _config(token=token), "ws://localhost", now=0.0, framing=False
    )
    connection.receive_message(HELLO, now=0.0)
    connection.receive_message(READY, now=0.0)
    escaped = "".join(f"\\u{ord(c):04X}" for c in token)
    percent = "".join(f"%{ord(c):02x}" for c in token)
    inside = json.dumps(json.dumps({"a": token}))
    for text in (f'"{escaped}"', f'"{percent}"', inside, json.dumps(token).replace("/", "\\/")):
        connection.receive_message(f'{{"op":0,"t":"A","s":2,"d":{text}}}', now=1.0)
    connection.events()

    lines = made.close()
    _assert_hides(lines, token, escaped, escaped.lower(), percent)


@pytest.mark.parametrize("encoding", ["json", "etf"])
def test_a_server_hides_the_tokens_that_it_is_shown(encoding: str) -> None:
    if encoding == "etf" and not etf.available():
        pytest.skip("the extra etf is not installed")
    made = Trace()
    server = made.recorder.server(ServerConfig(random=_chance()))
    link = Link(Client(_config(encoding=encoding, lookup_bot=True)), server)
    link.run(1)
    link.cut()
    link.run(10)

    lines = made.close()
    _assert_hides(lines, TOKEN)
    assert "Authorization: Bot x" in "".join(lines)
    assert [e["type"] for ln in read(lines) for e in ln.get("events", ())].count("Resume") == 1


def test_what_is_not_known_and_what_is_echoed_holds_no_token_either() -> None:
    pytest.importorskip("erlpack")
    made, connection = _opened()
    term = etf.pack({"op": 99, "d": {"content": TOKEN}})
    infinite = b"F\x7f\xf0\0\0\0\0\0\0"
    content = b"m" + len(TOKEN).to_bytes(4, "big") + TOKEN.encode()
    d = b"t\0\0\0\x02m\0\0\0\x01a" + infinite + b"m\0\0\0\x01b" + content
    broken = b"\x83t\0\0\0\x03m\0\0\0\x02opa\0m\0\0\0\x01tm\0\0\0\x01Xm\0\0\0\x01d" + d
    ping = b"\xff" + TOKEN.encode()

    for code, data in ((0x82, term), (0x82, broken), (0x89, ping)):
        connection.receive_data(bytes([code, len(data)]) + data, now=2.0)
    connection.data_to_send()
    connection.events()

    lines = made.close()
    _assert_hides(lines, TOKEN)
    assert {"type": "Unknown", "op": 99, "message": None, "d": {"content": "x" * 47 + "1"}} in [
        event for line in read(lines) for event in line.get("events", ())
    ]
    assert "latin1" in lines[-2]


def test_interactions_and_voice_servers_have_tokens_that_are_hidden_too() -> None:
    made = Trace()
    server = Server()
    link = Link(made.recorder.client(_config(compression="zlib-stream")), server)
    link.run(1)
    for token in ("interaction-token", "interaction-token", "voice-token", 5, None, ""):
        server.dispatch("X", {"token": token}, now=link.now, to=lambda _: True)
        link.run(1)

    _assert_hides(made.close(), TOKEN, "interaction-token", "voice-token")


def test_many_tokens_of_others_cost_no_more_than_some() -> None:
    made = Trace()
    connection = made.recorder.connection(_config(), "ws://localhost", now=0.0, framing=False)
    connection.receive_message(HELLO, now=0.0)
    connection.receive_message(READY, now=0.0)
    tokens = [f"token-number-{n}-of-an-interaction" for n in (*range(300), 0)]
    for n, token in enumerate(tokens):
        text = json.dumps({"op": 0, "t": "A", "s": n + 2, "d": {"token": token, "again": token}})
        connection.receive_message(text, now=0.1)
    connection.events()

    lines = made.close()
    _assert_hides(lines, *tokens)
    again = [
        e["d"]["again"] for ln in read(lines) for e in ln.get("events", ()) if "again" in str(e)
    ]
    assert again[0] == again[-1]
    assert len(set(again)) == 300


def test_keys_in_urls_are_hidden() -> None:
    made = Trace()
    url = "ws://localhost/?key=very-hidden&v=10&none="
    client = made.recorder.client(_config(api_url=None, gateway_url=url))
    link = Link(client, Server())
    link.run(1)

    _assert_hides(made.close(), "very-hidden")
    assert '"v","10"' not in "".join(made.lines) and "v=10" in "".join(made.lines)


def _opened() -> tuple[Trace, Any]:
    """A client's connection, whose next bytes come by hand."""
    made = Trace()
    client = made.recorder.client(_config(gateway_url="ws://localhost", api_url=None))
    link = Link(client, Server())
    link.run(1)
    return made, client.connection


def test_a_line_waits_while_it_could_hold_a_part_of_a_token() -> None:
    made, connection = _opened()
    text = json.dumps({"op": 0, "t": "A", "s": 2, "d": TOKEN}).encode()
    frame = bytes([0x81, len(text)]) + text
    before = len(made.lines)

    connection.receive_data(frame[:40], now=2.0)
    connection.receive_data(frame[40:60], now=3.0)
    waiting = len(made.lines) - before
    connection.receive_data(frame[60:], now=4.0)

    assert waiting == 0
    reads = [line["with"]["data"] for line in read(made.lines)[before - 1 :]]
    assert reads[:2] == [{"utf8": ""}] * 2
    kept = base64.b64decode(reads[2]["base64"])
    assert kept == frame.replace(TOKEN.encode(), b"x" * (len(TOKEN) - 1) + b"1")


@pytest.mark.parametrize("size", [120, 200, 70_000])
@pytest.mark.parametrize("missing", [1, 30])
def test_what_never_became_whole_is_blank_at_the_end(size: int, missing: int) -> None:
    made, connection = _opened()
    text = (TOKEN * (size // len(TOKEN) + 1))[:size].encode()
    length = {120: b"\x78", 200: b"\x7e\x00\xc8", 70_000: b"\x7f" + size.to_bytes(8, "big")}[size]
    pong, first = b"\x8a\x00", b"\x01\x05"
    data = pong + first + TOKEN[:5].encode() + b"\x80" + length + text[:-missing]

    connection.receive_data(data, now=2.0)
    connection.receive_eof(now=3.0)
    connection.events()

    (kept,) = [line["with"]["data"] for line in read(made.close()) if line.get("at") == 2.0]
    blank = bytes(size - missing)
    assert base64.b64decode(kept["base64"]) == pong + first + bytes(5) + b"\x80" + length + blank
    _assert_hides(made.lines, TOKEN)


@pytest.mark.parametrize("masked", [False, True])
def test_the_head_of_a_frame_that_is_cut_off_is_kept(masked: bool) -> None:
    made, connection = _opened()
    head = b"\x81\xfe" if masked else b"\x81"

    connection.receive_data(head, now=2.0)
    connection.receive_eof(now=3.0)

    (kept,) = [line["with"]["data"] for line in read(made.close()) if line.get("at") == 2.0]
    assert base64.b64decode(kept["base64"]) == head


@pytest.mark.parametrize("at", [1, 10, 30])
def test_the_beginning_of_a_token_at_the_end_of_an_answer_is_hidden(at: int) -> None:
    made = Trace()
    lookup = made.recorder.lookup(_config(), f"{API}/gateway", now=0.0)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
    lookup.data_to_send()
    lookup.receive_data(head + TOKEN[:at].encode(), now=1.0)
    lookup.receive_eof(now=2.0)

    lines = made.close()
    assert (TOKEN[:at] in "".join(lines)) == (at < 4)
    assert _differences(lines) == []


def test_a_trace_that_is_closed_early_holds_back_what_is_not_whole() -> None:
    made, connection = _opened()
    connection.receive_data(b"\x81\x7e\x00\xff" + TOKEN.encode(), now=2.0)
    half = made.recorder.connection(
        _config(compression="zlib-stream"), "ws://localhost", now=2.0, framing=False
    )
    half.receive_message(b"\x78\x9c\x00", now=3.0)

    lines = made.close()

    _assert_hides(lines, TOKEN)
    assert read(lines)[-1]["with"] == {"message": None}


def test_after_the_end_of_a_trace_the_machine_lives_on() -> None:
    made, connection = _opened()
    lines = len(made.close())

    connection.receive_data(b"\x89\x00", now=2.0)
    pong = connection.data_to_send()

    assert pong.startswith(b"\x8a")
    assert len(made.lines) == lines


def test_messages_of_one_text_are_kept_together() -> None:
    import zlib

    made = Trace()
    config = _config(compression="zlib-stream")
    connection = made.recorder.connection(config, "ws://localhost", now=0.0, framing=False)
    deflate = zlib.compressobj()

    def receive(text: str, *, now: float) -> None:
        data = deflate.compress(text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
        for part in (data[:5], data[5:9], data[9:]):
            connection.receive_message(part, now=now)

    receive(HELLO, now=1.0)
    receive(READY, now=1.1)
    receive(json.dumps({"op": 0, "t": "A", "s": 2, "d": TOKEN}), now=1.2)
    receive(json.dumps({"op": 0, "t": "B", "s": 3, "d": "later"}), now=1.3)
    connection.messages_to_send()
    connection.events()

    lines = made.close()
    _assert_hides(lines, TOKEN)
    given = [line["with"]["message"] for line in read(lines) if "message" in line.get("with", {})]
    assert [None if value is None else next(iter(value)) for value in given] == [
        *["base64"] * 6,
        *[None, None, "text"] * 2,
    ]
    events = [e for line in read(lines) for e in line.get("events", ())]
    assert [e["d"] for e in events if e["type"] == "Dispatch"] == ["x" * 47 + "1", "later"][:2]


def test_a_text_of_several_messages_in_frames_is_written_anew_as_one() -> None:
    made = Trace()
    config = _config(compression="zlib-stream", gateway_url="ws://localhost", api_url=None)
    client = made.recorder.client(config)
    link = Link(client, Server())
    link.run(1)
    connection: Any = client.connection
    text = json.dumps({"op": 0, "t": "A", "s": 9, "d": TOKEN}).encode()
    # A block that is stored needs nothing of what the server's context holds.
    stored = b"\0" + len(text).to_bytes(2, "little") + (65535 - len(text)).to_bytes(2, "little")
    data = stored + text + b"\0\0\0\xff\xff"

    for part in (data[:50], data[50:]):
        connection.receive_data(bytes([0x82, len(part)]) + part, now=2.0)
    events = connection.events()

    assert [event.data for event in events] == [TOKEN]
    lines = made.close()
    reads = [
        line["with"]["data"] for line in read(lines) if line.get("at") == 2.0 and "call" in line
    ]
    assert reads[0] == {"utf8": ""}
    _assert_hides(lines, TOKEN)


def test_what_cannot_be_inflated_is_kept_as_it_came() -> None:
    made = Trace()
    config = _config(compression="zlib-stream")
    connection = made.recorder.connection(config, "ws://localhost", now=0.0, framing=False)
    connection.receive_message(b"\x00\x01nonsense", now=1.0)
    connection.events()

    lines = made.close()
    assert _differences(lines) == []
    assert "broken zlib data" in lines[-1]


def test_a_dispatch_that_cannot_be_decoded_is_kept_as_its_text() -> None:
    made = Trace()
    connection = made.recorder.connection(_config(), "ws://localhost", now=0.0, framing=False)
    connection.receive_message(HELLO, now=1.0)
    connection.receive_message(READY, now=1.0)
    connection.receive_message('{"op":0,"t":"A","s":2,"d":1e999}', now=1.0)
    connection.events()

    lines = made.close()
    assert _differences(lines) == []
    assert '"d":{"utf8":"1e999"}' in lines[-1]


def test_events_may_be_structs_of_msgspec() -> None:
    class Happened(msgspec.Struct):
        name: str
        fingerprint: str
        at: float

    assert plain([Happened("x", "y", float("inf"))]) == [
        {"type": "Happened", "name": "x", "at": None},
    ]


def test_what_is_no_value_of_this_package_has_no_more_than_a_name() -> None:
    assert plain([object(), b"\xff"]) == [{"type": "object"}, {"latin1": "\xff"}]
    assert value_of(plain(object())) is None


def test_a_server_without_chance_of_its_own_draws_the_constant() -> None:
    made = Trace()
    link = Link(Client(_config()), made.recorder.server())
    link.run(1)

    assert link.client.expect(Ready).session_id.startswith("80000000")
    assert _differences(made.close()) == []


def test_the_demo_is_the_trace_that_lies_in_the_docs() -> None:
    kept = demo_trace.FILE.read_text().splitlines()

    assert _differences(kept) == []
    assert len(demo_trace.record()) == len(kept)
    assert max(line.get("waiting", 0) for line in read(kept)) > 50


def test_the_names_of_the_module_are_its_own() -> None:
    assert set(trace.__all__) <= set(vars(trace))
    assert Closed.__name__ not in trace.__all__
