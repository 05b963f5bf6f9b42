"""Effect of each injected fault, and how the client recovers from it."""

from __future__ import annotations

import pytest

from gateway_proto import (
    Client,
    Config,
    DialPurpose,
    DialScheduled,
    Dispatch,
    GaveUp,
    HeartbeatRequested,
    Initiator,
    NextAction,
    Ready,
    ReconnectRequested,
    Resume,
    Resumed,
    SessionInvalidated,
    State,
    UrlRejected,
)
from gateway_proto.server import Fault, Scenario, Server, ServerConfig, ServerConnection
from gateway_proto.server.fault_injector import OutputShaper
from gateway_proto.testing import Link
from gateway_proto.wire.frame_events import Upgraded
from gateway_proto.wire.frames import ClientFrames
from tests.messages import one_by_one
from tests.server.fault_links import (
    close_events,
    identify_count,
    is_ready,
    received_numbers,
    run_with_faults,
)
from tests.server.support import accept_connection, identify_on, send_payload, sent_payloads


def test_rejected_upgrade_is_retried_after_retry_after() -> None:
    link = run_with_faults(
        Fault("refuse", on="upgrade", status=429, retry_after=7.0, reason="slow down")
    )

    (closed,) = close_events(link)
    assert (closed.code, closed.reason, closed.retry_after) == (429, "slow down", 7.0)
    assert (
        next(e for e in link.client.events if isinstance(e, DialScheduled) and e.delay).delay == 7
    )


@pytest.mark.parametrize("size", [0, 1, 10, 100])
def test_drop_at_any_byte_is_resumed_without_loss(size: int) -> None:
    link = run_with_faults(Fault("drop", on="dispatch", nth=3, size=size))

    (closed,) = close_events(link)
    assert (closed.initiator, closed.code, closed.next_action) == (
        Initiator.TRANSPORT,
        None,
        NextAction.RESUME,
    )
    assert received_numbers(link) == [1, 2, 3, 4]
    assert identify_count(link) == 1


def test_op_7_before_hello_is_followed() -> None:
    """Rule 28."""
    link = run_with_faults(
        Fault("reconnect", on="open", connection=2), Fault("drop", on="dispatch")
    )

    assert any(isinstance(event, ReconnectRequested) for event in link.client.events)
    assert received_numbers(link) == [1, 2, 3, 4]
    assert identify_count(link) == 1


@pytest.mark.parametrize(("resumable", "identifies"), [(True, 1), (False, 2)])
def test_op_9_resumes_or_identifies_by_its_flag(resumable: bool, identifies: int) -> None:
    link = run_with_faults(Fault("invalidate", on="dispatch", resumable=resumable))

    assert SessionInvalidated(resumable) in link.client.events
    assert identify_count(link) == identifies


def test_identify_after_an_injected_op_9_is_answered() -> None:
    fault = Fault("invalidate", on="resume", resumable=False)
    server = Server(ServerConfig(scenario=Scenario([fault])))
    connection = accept_connection(server)
    send_payload(connection, 6, {"token": "t", "session_id": "s", "seq": 1})
    assert sent_payloads(connection)[-1]["op"] == 9

    identify_on(connection)

    assert connection.state is State.READY


def test_forgotten_session_is_replaced_by_identify() -> None:
    link = run_with_faults(
        Fault("drop", on="dispatch"), Fault("invalidate", on="resume", connection=2)
    )

    assert any(isinstance(event, Resume) for event in link.server.events)
    assert identify_count(link) == 2


def _accepted(*faults: Fault) -> tuple[Server, ServerConnection, ClientFrames]:
    """Return an open WebSocket whose HELLO is still pending."""
    server = Server(ServerConfig(scenario=Scenario(faults)))
    connection = server.accept(now=0.0)
    frames = ClientFrames(host="h", target="/?v=10&encoding=json", user_agent="u", limit=9999)
    connection.receive_data(frames.data_to_send(), now=0.0)
    return server, connection, frames


def test_trickle_sends_chunks_at_an_interval() -> None:
    _, connection, _ = _accepted(Fault("trickle", on="open", size=10, seconds=2.0))
    whole = connection.buffered_bytes

    sizes = []
    for now in (0.0, 1.9, 2.0, 2.1, 4.0, 4.0):
        connection.handle_timer(now=now)
        sizes.append(len(connection.data_to_send()))

    assert sizes == [10, 0, 10, 0, 10, 0]
    assert connection.buffered_bytes == whole - 30
    assert connection.next_timer() == 6.0


def test_trickle_without_interval_does_not_block_time() -> None:
    _, connection, _ = _accepted(Fault("trickle", on="open", size=0, seconds=0.0))

    connection.handle_timer(now=0.0)

    assert len(connection.data_to_send()) == 1
    assert connection.next_timer() == 0.001


def test_trickle_ends_at_the_close_of_the_connection() -> None:
    _, connection, _ = _accepted(Fault("trickle", on="open", size=1, seconds=1.0))
    whole = connection.buffered_bytes

    connection.drop(now=0.0)

    assert len(connection.data_to_send()) == whole


def test_merged_messages_are_sent_in_one_chunk() -> None:
    _, connection, frames = _accepted(Fault("merge", on="open", size=3))
    before = connection.data_to_send()
    assert [type(item) for item in one_by_one(frames.receive(before))] == [Upgraded]

    for _ in range(2):
        connection.send(HeartbeatRequested(), now=0.0)
        sent = connection.data_to_send()

    assert [type(item) for item in one_by_one(frames.receive(sent))] == [str, str, str]
    connection.send(HeartbeatRequested(), now=0.0)
    assert len(connection.data_to_send()) > 0  # and continues normally


def test_silence_stops_only_later_output() -> None:
    _, connection, _ = _accepted(Fault("silence", on="open", after=5.0))
    before = connection.buffered_bytes

    connection.handle_timer(now=5.0)
    connection.send(HeartbeatRequested(), now=5.0)
    connection.close(4000, now=5.0)

    assert len(connection.data_to_send()) == before
    connection.handle_timer(now=60.0)
    assert connection.state is State.CLOSED
    assert connection.data_to_send() == b""


def test_silence_stops_pongs() -> None:
    _, connection, _ = _accepted(Fault("silence", on="open"))
    connection.data_to_send()

    connection.receive_data(b"\x89\x80\0\0\0\0", now=1.0)  # a ping

    assert connection.data_to_send() == b""


def test_silence_includes_output_that_another_fault_delays() -> None:
    trickle = Fault("trickle", on="open", size=5, seconds=1.0)
    _, connection, _ = _accepted(trickle, Fault("silence", on="open", after=3.0))
    whole = connection.buffered_bytes

    sizes = []
    for now in range(100):
        connection.handle_timer(now=float(now))
        if now == 10:
            connection.send(HeartbeatRequested(), now=10.0)
        sizes.append(len(connection.data_to_send()))

    assert sum(sizes) == whole
    assert set(sizes[:-1]) <= {5, whole % 5, 0}


def test_later_end_does_not_extend_an_earlier_one() -> None:
    shaper = OutputShaper()
    shaper.stop_after(3)
    shaper.stop_after(5)

    assert shaper.shape(b"abcdef", at_end=True) == b"abc"


def test_silence_without_framing_includes_the_close() -> None:
    server = Server(ServerConfig(scenario=Scenario([Fault("silence", on="open", after=1.0)])))
    connection = server.accept(now=0.0, framing=False, target="/?v=10&encoding=json")
    connection.handle_timer(now=1.0)

    connection.send(HeartbeatRequested(), now=1.0)
    connection.close(4000, now=1.0)

    assert len(connection.messages_to_send()) == 1  # HELLO
    assert connection.close_to_send() is None


@pytest.mark.parametrize("what", ["silence", "no_acks"])
def test_silence_is_detected_by_missing_heartbeat_acks(what: str) -> None:
    link = run_with_faults(Fault(what, on="dispatch"), dispatches=1)

    closed = close_events(link)[0]
    assert "zombie" in (closed.error or "")
    assert link.client.expect(Resumed)


@pytest.mark.parametrize(("on", "what"), [("open", "HELLO"), ("identify", "READY or RESUMED")])
def test_silence_before_ready_ends_by_timeout(on: str, what: str) -> None:
    """Rule 27."""
    link = run_with_faults(Fault("silence", on=on))

    assert f"waited too long for {what}" in (close_events(link)[0].error or "") or (
        "zombie" in (close_events(link)[0].error or "")
    )


def test_delayed_ready_is_awaited() -> None:
    link = run_with_faults(Fault("hold", on="identify", seconds=30.0))

    assert close_events(link) == []
    assert link.client.expect(Ready)


@pytest.mark.parametrize("compression", ["none", "zlib-stream", "zstd-stream"])
def test_compression_bomb_is_rejected(compression: str) -> None:
    """Rule 74."""
    link = run_with_faults(Fault("bomb", size=50_000_000), compression=compression)

    assert " 100000 bytes" in (close_events(link)[0].error or "")
    assert link.client.expect(Resumed)


def test_corrupt_frame_or_data_causes_resume() -> None:
    """Rule 75."""
    for what, error_text in (
        ("corrupt", "broken WebSocket frame"),
        ("corrupt_data", "invalid zlib"),
    ):
        link = run_with_faults(Fault(what), compression="zlib-stream")
        assert error_text in (close_events(link)[0].error or "")
        assert received_numbers(link) == [1, 2, 3, 4]


def test_fragments_are_joined() -> None:
    link = run_with_faults(Fault("fragment", on="identify", size=1), compression="zlib-stream")

    assert close_events(link) == []
    assert link.client.expect(Ready)


def test_sequence_gaps_and_repeats_are_tolerated() -> None:
    link = run_with_faults(
        Fault("skip", on="ready", size=100), Fault("repeat", on="dispatch", nth=3)
    )

    sequences = [e.sequence for e in link.client.events if isinstance(e, Dispatch)]
    assert sequences == [1, 102, 103, 103, 104, 105]
    assert close_events(link) == []


def test_dead_resume_host_is_replaced_by_the_main_url() -> None:
    """Rule 26."""
    faults = [
        Fault("resume_url", on="identify", url="ws://dead.localhost"),
        Fault("drop", on="dispatch"),
    ]
    server = Server(ServerConfig(scenario=Scenario(faults)))
    link = Link(Client(Config(token="t", intents=0, gateway_url="ws://localhost")), server)
    link.dead_hosts.add("dead.localhost")
    server.dispatch("N", 1, now=link.now)
    link.run(30)

    assert [dial.host for dial in link.dials].count("dead.localhost") == 3
    assert link.client.expect(Resumed)
    assert link.dials[-1].purpose is DialPurpose.RESUME


def test_untrusted_resume_url_and_redirect_are_rejected() -> None:
    for config, fault in (
        ({}, Fault("resume_url", on="identify", url="wss://evil.example")),
        ({"version": 3, "intents": None}, Fault("reconnect", url="wss://evil.example")),
    ):
        link = run_with_faults(fault, Fault("drop", on="dispatch", nth=3), **config)
        assert any(isinstance(event, UrlRejected) for event in link.client.events)
        assert {dial.host for dial in link.dials} == {"localhost"}
        assert is_ready(link)


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4013, 4014])
def test_fatal_close_code_ends_the_client(code: int) -> None:
    link = run_with_faults(Fault("close", code=code))

    assert str(code) in link.client.expect(GaveUp).reason


def test_fault_without_a_connection_applies_to_each() -> None:
    link = run_with_faults(Fault("close", code=4000, on="open", connection=None), seconds=20.0)

    assert len(close_events(link)) >= 3
    assert all(closed.code == 4000 for closed in close_events(link))


@pytest.mark.parametrize("what", ["drop", "close"])
def test_dropped_resume_is_retried(what: str) -> None:
    link = run_with_faults(Fault("drop", on="dispatch"), Fault(what, on="resume", connection=2))

    assert received_numbers(link) == [1, 2, 3, 4]
    assert identify_count(link) == 1


def test_delayed_output_stays_in_order_with_other_faults() -> None:
    faults = [Fault("hold", seconds=60.0), Fault("repeat", after=30.0)]

    link = run_with_faults(*faults, seconds=40.0)
    assert received_numbers(link) == []
    link.run(60)

    assert received_numbers(link) == [1, 2, 3, 4]
    assert close_events(link) == []


def test_byte_faults_require_framing() -> None:
    faults = [Fault("garbage"), Fault("corrupt"), Fault("drop", nth=1, after=5.0), Fault("skip")]
    server = Server(ServerConfig(scenario=Scenario(faults)))
    connection = server.accept(now=0.0, framing=False, target="/?v=10")
    connection.receive_message('{"op":2,"d":{"token":"t","intents":0}}', now=0.0)
    connection.messages_to_send()

    server.dispatch("N", 1, now=1.0)
    assert connection.messages_to_send() == ['{"t":"N","s":2,"op":0,"d":1}']
    connection.inject(Fault("drop", size=3), now=2.0)
    server.dispatch("N", 2, now=2.0)

    assert connection.state is State.CLOSED


def test_repeat_and_skip_before_ready_have_no_effect() -> None:
    link = run_with_faults(Fault("repeat", on="open"), Fault("skip", on="open", size=5))

    assert is_ready(link)
    assert link.client.expect(Ready).sequence == 1


def test_faults_after_close_have_no_effect() -> None:
    faults = [Fault("close"), *(Fault(w, size=5) for w in ("bomb", "garbage", "drop", "repeat"))]

    link = run_with_faults(*faults)

    assert len(close_events(link)) == 1
