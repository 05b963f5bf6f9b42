"""Connection of a client: commands, limits, malformed input, framing and close."""

from __future__ import annotations

import json
import zlib
from typing import Any

import attrs
import pytest

from gateway_proto import (
    Client,
    ClientConnection,
    Closed,
    CommandsDelayed,
    Config,
    Dispatch,
    Heartbeat,
    Identify,
    IdentifyProperties,
    Initiator,
    LocalProtocolError,
    MalformedPayload,
    NextAction,
    Opened,
    RawCommand,
    RequestGuildMembers,
    Resume,
    Session,
    State,
    UnknownPayload,
    UpdatePresence,
)
from gateway_proto.session import token_fingerprint
from gateway_proto.wire.compressors import make_compressor
from tests.connections import close_event, ready, receive, sent_payloads, unframed

CONFIG = Config(token="t0ken", intents=0, gateway_url="ws://localhost")
NO_REPLY_YET = 10**9
CAPACITY = 120 - 1 - 2  # one for Identify, and two reserved for heartbeats


def _bare(config: Config = CONFIG, session: Session | None = None) -> ClientConnection:
    return unframed(config, session)


def _ready(config: Config = CONFIG) -> ClientConnection:
    return ready(config, interval=NO_REPLY_YET)


# ----- commands and limits -----


def test_command_before_ready_is_rejected() -> None:
    connection = _bare()

    with pytest.raises(LocalProtocolError, match="RequestGuildMembers needs READY"):
        connection.send(RequestGuildMembers("1", "q", 1), now=0.0)


@pytest.mark.parametrize(
    "command", [Identify(token="t"), Resume(session_id="s", seq=1), Heartbeat(1)]
)
def test_commands_of_the_connection_itself_are_rejected(command: Any) -> None:
    with pytest.raises(LocalProtocolError, match="by itself"):
        _ready().send(command, now=0.0)


@pytest.mark.parametrize("end", ["close", "eof"])
def test_command_on_a_closed_connection_is_rejected(end: str) -> None:
    connection = _ready()
    connection.close(4000, now=0.0) if end == "close" else connection.receive_eof(now=0.0)

    with pytest.raises(LocalProtocolError, match="send on the next one"):
        connection.send(UpdatePresence(), now=0.0)
    with pytest.raises(LocalProtocolError, match=r"without one, see Client\.gave_up"):
        connection.request(RequestGuildMembers("1", "q", 1), now=0.0)


def test_command_over_the_payload_limit_is_rejected() -> None:
    """Rule 61: bytes of the encoded payload, not characters."""
    connection = _ready()
    empty = len(json.dumps({"op": 60, "d": ""}, separators=(",", ":")))

    connection.send(RawCommand(60, "x" * (4096 - empty)), now=0.0)
    with pytest.raises(LocalProtocolError, match="RawCommand has 4097 bytes, more than the 4096"):
        connection.send(RawCommand(60, "x" * (4097 - empty)), now=0.0)
    with pytest.raises(LocalProtocolError, match="more than the 4096"):
        connection.send(RawCommand(60, "\N{GRINNING FACE}" * 1024), now=0.0)

    assert len(sent_payloads(connection)) == 1


@pytest.mark.parametrize("d", [object(), "\ud800", {(1, 2): 3}])
def test_command_that_json_cannot_express_is_rejected(d: Any) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be encoded as JSON"):
        _ready().send(RawCommand(60, d), now=0.0)


def test_rate_limit_delays_commands_but_not_heartbeats() -> None:
    connection = _ready()
    for number in range(130):
        connection.send(RawCommand(60, number), now=1.0)
    assert [payload["d"] for payload in sent_payloads(connection)] == list(range(CAPACITY))

    receive(connection, 1, now=2.0)
    assert [payload["op"] for payload in sent_payloads(connection)] == [1]
    assert connection.next_timer() == 6.0
    connection.handle_timer(now=6.0)
    assert connection.events()[-1] == CommandsDelayed(130 - CAPACITY, 5.0)
    assert connection.next_timer() == 60.0
    connection.handle_timer(now=60.0)
    connection.handle_timer(now=61.0)

    assert [payload["d"] for payload in sent_payloads(connection)] == list(range(CAPACITY, 130))


def test_requested_heartbeats_count_for_the_rate_limit() -> None:
    connection = _ready()
    for _ in range(50):
        receive(connection, 1, now=1.0)
    assert len(sent_payloads(connection)) == 50

    for number in range(130):
        connection.send(RawCommand(60, number), now=1.0)

    assert len(sent_payloads(connection)) == CAPACITY - 50


def test_rate_limit_of_120_payloads_holds_in_every_minute() -> None:
    connection = _bare()
    receive(connection, 10, {"heartbeat_interval": 20_000})
    receive(connection, 0, {"session_id": "s"}, s=1, t="READY")
    for number in range(400):
        connection.send(RawCommand(60, number), now=0.0)
    sent: list[float] = [0.0] * len(connection.messages_to_send())
    while (at := connection.next_timer()) is not None and at < 300:
        connection.handle_timer(now=at)
        receive(connection, 11, now=at)
        sent += [at] * len(connection.messages_to_send())

    assert len(sent) > 400
    for at in sent:
        assert sum(at <= other < at + 60 for other in sent) <= 120


def test_command_over_the_waiting_limit_is_rejected() -> None:
    connection = _ready(attrs.evolve(CONFIG, command_queue_limit=3))
    for number in range(CAPACITY + 3):
        connection.send(RawCommand(60, number), now=0.0)

    with pytest.raises(LocalProtocolError, match="3 commands are queued already"):
        connection.send(RawCommand(60, "one more"), now=0.0)


def test_queued_commands_are_reported_unsent_on_close() -> None:
    connection = _ready()
    for number in range(CAPACITY + 2):
        connection.send(RawCommand(60, number), now=0.0)

    connection.receive_eof(now=0.0)

    assert close_event(connection).unsent == (
        RawCommand(60, CAPACITY),
        RawCommand(60, CAPACITY + 1),
    )


def test_presence_counts_in_the_command_rate_limit() -> None:
    connection = _ready()
    for number in range(CAPACITY):
        connection.send(RawCommand(60, number), now=0.0)
    connection.messages_to_send()

    connection.send(UpdatePresence(), now=1.0)
    assert sent_payloads(connection) == []
    connection.handle_timer(now=60.0)

    assert [payload["op"] for payload in sent_payloads(connection)] == [3]


def test_identify_has_the_configured_properties_and_threshold() -> None:
    config = attrs.evolve(
        CONFIG, properties=IdentifyProperties("linux", "b", "d"), large_threshold=200
    )
    connection = _bare(config)
    receive(connection, 10, {"heartbeat_interval": 1000})

    (identify,) = sent_payloads(connection)

    assert identify["d"]["properties"] == {"os": "linux", "browser": "b", "device": "d"}
    assert identify["d"]["large_threshold"] == 200


@pytest.mark.parametrize(("option", "token"), [(None, None), (True, "t0ken"), (False, None)])
def test_version_3_resume_has_the_token_only_by_option(
    option: bool | None, token: str | None
) -> None:
    config = Config(
        token="t0ken",
        version=3,
        unix_offset=0.0,
        gateway_url="ws://localhost",
        resume_with_token=option,
    )
    session = Session(id="s", sequence=5, version=3, token_fingerprint=token_fingerprint("t0ken"))

    (resume,) = sent_payloads(_bare(config, session))

    assert resume["op"] == 6
    assert resume["d"].get("token") == token


def test_version_3_requires_the_unix_time_offset() -> None:
    config = Config(token="t", version=3, gateway_url="ws://localhost")

    with pytest.raises(LocalProtocolError, match=r"set Config\.unix_offset"):
        ClientConnection(config, "ws://localhost", now=0.0)


def test_heartbeat_zombie_is_detected_despite_unpause() -> None:
    connection = _bare()
    receive(connection, 10, {"heartbeat_interval": 10_000})
    receive(connection, 0, {"session_id": "s"}, s=1, t="READY")
    connection.handle_timer(now=5.0)

    connection.unpause(now=6.0)
    connection.handle_timer(now=15.0)

    assert connection.state is State.CLOSED


# ----- bad input -----


def test_malformed_message_without_a_stream_is_skipped() -> None:
    """Rule 79."""
    connection = _ready()

    connection.receive_message("{", now=0.0)
    receive(connection, 0, {}, s=2, t="X")

    malformed, dispatch = connection.events()
    assert isinstance(malformed, MalformedPayload)
    assert isinstance(dispatch, Dispatch)


def test_resume_has_the_sequence_of_a_dispatch_before_hello() -> None:
    session = Session(id="s", sequence=5, version=10, token_fingerprint=token_fingerprint("t0ken"))
    connection = _bare(session=session)

    receive(connection, 0, {}, s=6, t="A")
    receive(connection, 10, {"heartbeat_interval": NO_REPLY_YET})

    (resume,) = sent_payloads(connection)
    assert resume["d"]["seq"] == 6


def _zlib_stream_connection() -> tuple[ClientConnection, Any]:
    config = attrs.evolve(CONFIG, compression="zlib-stream")
    session = Session(id="s", sequence=5, version=10, token_fingerprint=token_fingerprint("t0ken"))
    return _bare(config, session), make_compressor(config.compression)


def test_malformed_message_in_a_compression_stream_causes_resume() -> None:
    connection, sender = _zlib_stream_connection()

    connection.receive_message(sender.send(b"{]", large=False), now=0.0)

    _, malformed, closed = connection.events()
    assert isinstance(malformed, MalformedPayload)
    assert isinstance(closed, Closed)
    assert (closed.initiator, closed.next_action) == (Initiator.SELF, NextAction.RESUME)


def test_invalid_compression_data_causes_resume() -> None:
    """Rule 75."""
    connection, _ = _zlib_stream_connection()

    connection.receive_message(b"garbage\x00\x00\xff\xff", now=0.0)

    closed = close_event(connection)
    assert closed.next_action is NextAction.RESUME
    assert closed.error is not None
    assert "invalid zlib data" in closed.error


def test_compression_payload_may_span_several_messages() -> None:
    connection, sender = _zlib_stream_connection()
    message = sender.send(b'{"op":10,"d":{"heartbeat_interval":1000}}', large=False)

    connection.receive_message(message[:-4], now=0.0)
    assert connection.state is State.AWAITING_HELLO
    connection.receive_message(message[-4:], now=0.0)

    assert connection.state is State.RESUMING


def test_compression_output_over_the_limit_closes_the_connection() -> None:
    """Rule 74."""
    connection = _bare(attrs.evolve(CONFIG, compression="payload", message_limit=1000))

    connection.receive_message(zlib.compress(b"x" * 10**6), now=0.0)

    closed = close_event(connection)
    assert closed.error is not None
    assert "expected at most 1000 bytes" in closed.error


def test_version_3_without_heartbeat_interval_ends_connection() -> None:
    config = Config(token="t", version=3, unix_offset=0.0, gateway_url="ws://localhost")
    session = Session(id="s", sequence=5, version=3, token_fingerprint=token_fingerprint("t"))
    for name in ("READY", "RESUMED"):
        connection = _bare(config, session)

        receive(connection, 0, {"session_id": "x"}, s=1, t=name)

        closed = close_event(connection)
        assert closed.error is not None
        assert f"{name} has no usable heartbeat_interval" in closed.error


def test_ready_before_hello_is_ignored() -> None:
    connection = _bare()

    receive(connection, 0, {"session_id": "s"}, s=1, t="READY")

    assert connection.state is State.AWAITING_HELLO
    assert connection.session is None


def test_dispatch_before_ready_is_returned() -> None:
    connection = _bare()

    receive(connection, 0, {}, s=1, t="EARLY")

    assert connection.events()[1:] == [Dispatch.of("EARLY", {}, 1)]


@pytest.mark.parametrize(
    ("seconds", "awaited"),
    [(20.0, "the HTTP response"), (20.0, "HELLO"), (60.0, "READY or RESUMED")],
)
def test_missing_response_in_any_phase_ends_by_timeout(seconds: float, awaited: str) -> None:
    """Rule 27."""
    if awaited == "the HTTP response":
        connection = ClientConnection(CONFIG, "ws://localhost", now=0.0)
    else:
        connection = _bare()
    if awaited == "READY or RESUMED":
        receive(connection, 10, {"heartbeat_interval": NO_REPLY_YET})

    assert connection.next_timer() == seconds
    connection.handle_timer(now=seconds)

    assert close_event(connection).error == f"waited too long for {awaited}"


@pytest.mark.parametrize("now", [1e18, 1e300, float("inf")])
def test_huge_clock_value_does_not_repeat_heartbeats(now: float) -> None:
    """Adding an interval does not change a float this large."""
    config = attrs.evolve(CONFIG, version=3, intents=None, unix_offset=0.0)
    connection = _bare(config)
    receive(connection, 0, {"heartbeat_interval": 41250, "session_id": "s"}, t="READY", s=1)
    connection.messages_to_send()

    connection.handle_timer(now=now)

    assert [sent["op"] for sent in sent_payloads(connection)] == [1]


# ----- without framing -----


def test_connection_without_framing_is_open_at_once() -> None:
    connection = _bare()

    assert connection.events() == [Opened("/?v=10&encoding=json")]
    assert connection.state is State.AWAITING_HELLO


def test_calls_of_the_other_framing_mode_are_rejected() -> None:
    unframed, framed = _bare(), ClientConnection(CONFIG, "ws://localhost", now=0.0)

    for call in (
        lambda: unframed.receive_data(b"", now=0.0),
        unframed.data_to_send,
        lambda: framed.receive_message("", now=0.0),
        lambda: framed.receive_close(1000, now=0.0),
        framed.messages_to_send,
        framed.close_to_send,
    ):
        with pytest.raises(LocalProtocolError, match="framing=False"):
            call()


def test_peer_close_without_framing_ends_the_connection() -> None:
    connection = _ready()

    connection.receive_close(4000, "x", now=0.0)

    assert connection.close_to_send() == (4000, "")
    assert close_event(connection).initiator is Initiator.PEER


def test_our_close_is_complete_after_the_peer_close() -> None:
    connection = _ready()
    connection.close(1000, "bye", now=0.0)
    connection.close(4000, "again", now=0.0)  # the first one counts
    receive(connection, 0, {}, s=9, t="LATE")
    assert connection.session is not None
    assert connection.session.sequence == 1
    assert connection.close_to_send() == (1000, "bye")

    connection.receive_close(1000, now=0.0)

    assert connection.events() == [
        Closed(code=1000, reason="bye", initiator=Initiator.SELF, next_action=NextAction.STOP)
    ]


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 2999, 5000, 70_000])
def test_invalid_close_code_is_rejected(code: int) -> None:
    with pytest.raises(LocalProtocolError, match=f"close code {code}"):
        _ready().close(code, now=0.0)


def test_invalid_data_after_our_close_keeps_the_close_reason() -> None:
    client = Client(CONFIG)
    connection = client.dial_succeeded(now=0.0)
    from gateway_proto.server import Server

    server = Server().accept(now=0.0)
    server.receive_data(connection.data_to_send(), now=0.0)
    connection.receive_data(server.data_to_send(), now=0.0)
    connection.close(4000, "bye", now=0.0)

    connection.receive_data(b"\xff\xff\xff", now=0.0)

    closed = connection.events()[-1]
    assert (closed.code, closed.initiator, closed.next_action) == (
        4000,
        Initiator.SELF,
        NextAction.STOP,
    )


def test_unknown_payload_has_the_name_of_the_message() -> None:
    connection = _ready()

    connection.receive_message('{"t": "SOMETHING", "d": 1}', now=0.0)

    (unknown,) = connection.events()
    assert isinstance(unknown, UnknownPayload)
    assert (unknown.op, unknown.name) == (None, "SOMETHING")


@pytest.mark.parametrize(
    ("message", "excerpt"),
    [("<html>" + "x" * 200, "<html>" + "x" * 94), (b"{\xff<html>", "{\\xff<html>"), (b"", "")],
)
def test_malformed_payload_has_an_excerpt_of_the_message(
    message: str | bytes, excerpt: str
) -> None:
    connection = _ready()

    connection.receive_message(message, now=0.0)

    (malformed,) = connection.events()
    assert isinstance(malformed, MalformedPayload)
    assert malformed.excerpt == excerpt


def test_handshake_timeout_has_no_close_code() -> None:
    connection = ClientConnection(CONFIG, "ws://localhost", now=0.0)

    connection.handle_timer(now=CONFIG.handshake_timeout)

    assert close_event(connection).code is None
