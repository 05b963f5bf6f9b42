"""Each fault on order, against our own client in fake time: what it does, and how it recovers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proto import (
    By,
    Client,
    Closed,
    Config,
    DialPlanned,
    Dispatch,
    Fault,
    GaveUp,
    HeartbeatRequested,
    Identify,
    Intents,
    LocalProtocolError,
    Purpose,
    Ready,
    ReconnectRequested,
    Resume,
    Resumed,
    Scenario,
    Server,
    ServerConfig,
    ServerConnection,
    SessionInvalidated,
    State,
    Then,
    UrlRefused,
)
from gateway_proto._layers.frames import ClientFrames, Upgraded
from gateway_proto.testing import Link
from tests.messages import one_by_one


def _life(*faults: Fault, dispatches: int = 4, seconds: float = 180.0, **config: Any) -> Link:
    """A life of three minutes, with a dispatch now and then."""
    given = {
        "token": "t",
        "intents": Intents.GUILDS,
        "gateway_url": "ws://localhost",
        "unix_offset": 0.0,
        "random": lambda: 0.5,
        "message_limit": 100_000,
    }
    server = Server(ServerConfig(scenario=Scenario(faults)))
    link = Link(Client(Config(**{**given, **config})), server)
    for number in range(1, dispatches + 1):
        link.run(seconds / dispatches / 2)
        server.dispatch("N", number, now=link.now)
        link.run(seconds / dispatches / 2)
    return link


def _numbers(link: Link) -> list[int]:
    return [e.data for e in link.client.events if isinstance(e, Dispatch) and e.name == "N"]


def _ends(link: Link) -> list[Closed]:
    return [event for event in link.client.events if isinstance(event, Closed)]


def _is_ready(link: Link) -> bool:
    connection: Any = link.client.connection
    return connection.state is State.READY


def _identifies(link: Link) -> int:
    return sum(isinstance(event, Identify) for event in link.server.events)


# ----- every fault is survived -----

EVERY = [
    Fault("refuse", on="upgrade", status=503),
    Fault("refuse", on="upgrade", status=520, reason="origin error"),
    Fault("refuse", on="upgrade", status=429, retry_after=7.0),
    *(
        Fault("drop", on=on, size=size)
        for on in ("open", "identify", "ready", "dispatch")
        for size in (0, 1, 7, 40)
    ),
    Fault("drop", on="resume", connection=2),
    Fault("close", code=1000),
    Fault("close", code=4000, on="open"),
    Fault("close", code=4000, reason="why", on="dispatch", nth=2),
    Fault("close", code=4009, on="heartbeat"),
    Fault("close", code=4007),
    Fault("close", code=4008),
    Fault("close", code=1001, after=5.0),
    Fault("reconnect", on="open"),
    Fault("reconnect", on="dispatch"),
    Fault("invalidate", on="open"),
    Fault("invalidate", on="identify"),
    Fault("invalidate", resumable=True),
    Fault("invalidate", after=20.0),
    Fault("silence", on="open"),
    Fault("silence", on="identify"),
    Fault("silence", on="dispatch"),
    Fault("no_acks"),
    Fault("hold", on="identify", seconds=10.0),
    Fault("hold", on="ready", seconds=10.0),
    Fault("hold", on="open", seconds=90.0),
    Fault("corrupt", on="ready"),
    Fault("corrupt", on="open"),
    Fault("corrupt_data", on="ready"),
    Fault("garbage"),
    Fault("garbage", on="open"),
    Fault("bomb", size=200_000),
    Fault("fragment", on="identify", size=5),
    Fault("merge", on="identify", size=2),
    Fault("merge", on="ready", size=3),
    Fault("merge", on="ready", size=99),
    Fault("trickle", on="open", size=3, seconds=0.05),
    Fault("trickle", on="ready", size=1, seconds=0.1),
    Fault("skip", size=7),
    Fault("repeat", on="dispatch", nth=2),
    Fault("resume_url", on="identify", url="ws://dead.localhost"),
    Fault("resume_url", on="identify", url="wss://evil.example"),
]


@pytest.mark.parametrize("fault", EVERY, ids=lambda f: f"{f.what}-{f.on}-{f.code}-{f.size}-{f.nth}")
@pytest.mark.parametrize("compression", ["none", "zlib-stream", "zstd-stream"])
def test_client_becomes_ready_after_any_single_fault(fault: Fault, compression: str) -> None:
    link = _life(fault, compression=compression)

    assert _is_ready(link), _ends(link)
    assert not [event for event in link.client.events if isinstance(event, GaveUp)]
    assert 4 in _numbers(link)


@pytest.mark.parametrize("fault", EVERY, ids=lambda f: f"{f.what}-{f.on}-{f.code}-{f.size}-{f.nth}")
@pytest.mark.parametrize("version", [3, 6])
def test_client_of_other_versions_becomes_ready_after_a_fault(fault: Fault, version: int) -> None:
    link = _life(fault, dialect=version, intents=None)

    assert _is_ready(link), _ends(link)
    # Version 3 has no ACKs: a server that falls silent after READY is not told from a quiet one.
    unnoticed = version == 3 and (fault.what, fault.on, fault.size) in (
        ("silence", "dispatch", 0),
        ("merge", "ready", 99),
    )
    assert (4 in _numbers(link)) is not unnoticed


def test_scenario_is_deterministic() -> None:
    faults = [Fault("drop", on="dispatch", size=9), Fault("corrupt", on="resumed", connection=2)]

    first, second = _life(*faults), _life(*faults)

    assert first.client.events == second.client.events
    assert len(_ends(first)) == 2


# ----- and each in the documented way -----


def test_rejected_upgrade_is_retried_after_retry_after() -> None:
    link = _life(Fault("refuse", on="upgrade", status=429, retry_after=7.0, reason="slow down"))

    (closed,) = _ends(link)
    assert (closed.code, closed.reason, closed.retry_after) == (429, "slow down", 7.0)
    assert next(e for e in link.client.events if isinstance(e, DialPlanned) and e.delay).delay == 7


@pytest.mark.parametrize("size", [0, 1, 10, 100])
def test_drop_at_any_byte_is_resumed_without_loss(size: int) -> None:
    link = _life(Fault("drop", on="dispatch", nth=3, size=size))

    (closed,) = _ends(link)
    assert (closed.by, closed.code, closed.then) == (By.TRANSPORT, None, Then.RESUME)
    assert _numbers(link) == [1, 2, 3, 4]
    assert _identifies(link) == 1


def test_op_7_before_hello_is_followed() -> None:
    """Rule 28."""
    link = _life(Fault("reconnect", on="open", connection=2), Fault("drop", on="dispatch"))

    assert any(isinstance(event, ReconnectRequested) for event in link.client.events)
    assert _numbers(link) == [1, 2, 3, 4]
    assert _identifies(link) == 1


@pytest.mark.parametrize(("resumable", "identifies"), [(True, 1), (False, 2)])
def test_op_9_resumes_or_identifies_by_its_flag(resumable: bool, identifies: int) -> None:
    link = _life(Fault("invalidate", on="dispatch", resumable=resumable))

    assert SessionInvalidated(resumable) in link.client.events
    assert _identifies(link) == identifies


def test_forgotten_session_is_replaced_by_identify() -> None:
    link = _life(Fault("drop", on="dispatch"), Fault("invalidate", on="resume", connection=2))

    assert any(isinstance(event, Resume) for event in link.server.events)
    assert _identifies(link) == 2


def _accepted(*faults: Fault) -> tuple[Server, ServerConnection, ClientFrames]:
    """A WebSocket that is open; HELLO is not taken yet."""
    server = Server(ServerConfig(scenario=Scenario(faults)))
    connection = server.accept(now=0.0)
    frames = ClientFrames(host="h", target="/?v=10&encoding=json", user_agent="u", limit=9999)
    connection.receive_data(frames.data_to_send(), now=0.0)
    return server, connection, frames


def test_trickle_sends_chunks_at_an_interval() -> None:
    _, connection, _ = _accepted(Fault("trickle", on="open", size=10, seconds=2.0))
    whole = connection.waiting

    sizes = []
    for now in (0.0, 1.9, 2.0, 2.1, 4.0, 4.0):
        connection.handle_timer(now=now)
        sizes.append(len(connection.data_to_send()))

    assert sizes == [10, 0, 10, 0, 10, 0]
    assert connection.waiting == whole - 30
    assert connection.next_timer() == 6.0


def test_trickle_without_interval_does_not_block_time() -> None:
    _, connection, _ = _accepted(Fault("trickle", on="open", size=0, seconds=0.0))

    connection.handle_timer(now=0.0)

    assert len(connection.data_to_send()) == 1
    assert connection.next_timer() == 0.001


def test_trickle_ends_at_the_close_of_the_connection() -> None:
    _, connection, _ = _accepted(Fault("trickle", on="open", size=1, seconds=1.0))
    whole = connection.waiting

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
    assert len(connection.data_to_send()) > 0  # and so it goes on as ever


def test_silence_stops_only_later_output() -> None:
    _, connection, _ = _accepted(Fault("silence", on="open", after=5.0))
    before = connection.waiting

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
    whole = connection.waiting

    sizes = []
    for now in range(100):
        connection.handle_timer(now=float(now))
        if now == 10:
            connection.send(HeartbeatRequested(), now=10.0)
        sizes.append(len(connection.data_to_send()))

    assert sum(sizes) == whole
    assert set(sizes[:-1]) <= {5, whole % 5, 0}


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
    link = _life(Fault(what, on="dispatch"), dispatches=1)

    closed = _ends(link)[0]
    assert "zombie" in (closed.error or "")
    assert link.client.expect(Resumed)


@pytest.mark.parametrize(("on", "what"), [("open", "HELLO"), ("identify", "READY or RESUMED")])
def test_silence_before_ready_ends_by_timeout(on: str, what: str) -> None:
    """Rule 27."""
    link = _life(Fault("silence", on=on))

    assert f"waited too long for {what}" in (_ends(link)[0].error or "") or (
        "zombie" in (_ends(link)[0].error or "")
    )


def test_delayed_ready_is_awaited() -> None:
    link = _life(Fault("hold", on="identify", seconds=30.0))

    assert _ends(link) == []
    assert link.client.expect(Ready)


@pytest.mark.parametrize("compression", ["none", "zlib-stream", "zstd-stream"])
def test_compression_bomb_is_rejected(compression: str) -> None:
    """Rule 74."""
    link = _life(Fault("bomb", size=50_000_000), compression=compression)

    assert "more than 100000 bytes" in (_ends(link)[0].error or "")
    assert link.client.expect(Resumed)


def test_corrupt_frame_or_data_causes_resume() -> None:
    """Rule 75."""
    for what, says in (("corrupt", "broken WebSocket frame"), ("corrupt_data", "broken zlib")):
        link = _life(Fault(what), compression="zlib-stream")
        assert says in (_ends(link)[0].error or "")
        assert _numbers(link) == [1, 2, 3, 4]


def test_fragments_are_joined() -> None:
    link = _life(Fault("fragment", on="identify", size=1), compression="zlib-stream")

    assert _ends(link) == []
    assert link.client.expect(Ready)


def test_sequence_gaps_and_repeats_are_tolerated() -> None:
    link = _life(Fault("skip", on="ready", size=100), Fault("repeat", on="dispatch", nth=3))

    sequences = [e.sequence for e in link.client.events if isinstance(e, Dispatch)]
    assert sequences == [1, 102, 103, 103, 104, 105]
    assert _ends(link) == []


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
    assert link.dials[-1].purpose is Purpose.RESUME


def test_untrusted_resume_url_and_redirect_are_rejected() -> None:
    for config, fault in (
        ({}, Fault("resume_url", on="identify", url="wss://evil.example")),
        ({"dialect": 3, "intents": None}, Fault("reconnect", url="wss://evil.example")),
    ):
        link = _life(fault, Fault("drop", on="dispatch", nth=3), **config)
        assert any(isinstance(event, UrlRefused) for event in link.client.events)
        assert {dial.host for dial in link.dials} == {"localhost"}
        assert _is_ready(link)


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4013, 4014])
def test_fatal_close_code_ends_the_client(code: int) -> None:
    link = _life(Fault("close", code=code))

    assert str(code) in link.client.expect(GaveUp).reason


def test_fault_without_a_connection_applies_to_each() -> None:
    link = _life(Fault("close", code=4000, on="open", connection=None), seconds=20.0)

    assert len(_ends(link)) >= 3
    assert all(closed.code == 4000 for closed in _ends(link))


@pytest.mark.parametrize("what", ["drop", "close"])
def test_dropped_resume_is_retried(what: str) -> None:
    link = _life(Fault("drop", on="dispatch"), Fault(what, on="resume", connection=2))

    assert _numbers(link) == [1, 2, 3, 4]
    assert _identifies(link) == 1


def test_delayed_output_stays_in_order_with_other_faults() -> None:
    faults = [Fault("hold", seconds=60.0), Fault("repeat", after=30.0)]

    link = _life(*faults, seconds=40.0)
    assert _numbers(link) == []
    link.run(60)

    assert _numbers(link) == [1, 2, 3, 4]
    assert _ends(link) == []


def test_byte_faults_require_framing() -> None:
    faults = [Fault("garbage"), Fault("corrupt"), Fault("drop", nth=1, after=5.0), Fault("skip")]
    server = Server(ServerConfig(scenario=Scenario(faults)))
    connection = server.accept(now=0.0, framing=False, target="/?v=10")
    connection.receive_message('{"op":2,"d":{"token":"t","intents":0}}', now=0.0)
    connection.messages_to_send()

    server.dispatch("N", 1, now=1.0)
    assert connection.messages_to_send() == ['{"t":"N","s":2,"op":0,"d":1}']
    connection.cut_after(3, now=2.0)
    server.dispatch("N", 2, now=2.0)

    assert connection.state is State.CLOSED


def test_repeat_and_skip_before_ready_have_no_effect() -> None:
    link = _life(Fault("repeat", on="open"), Fault("skip", on="open", size=5))

    assert _is_ready(link)
    assert link.client.expect(Ready).sequence == 1


def test_faults_after_close_have_no_effect() -> None:
    faults = [Fault("close"), *(Fault(w, size=5) for w in ("bomb", "garbage", "drop", "repeat"))]

    link = _life(*faults)

    assert len(_ends(link)) == 1


# ----- a scenario in a file -----


def test_scenario_is_read_from_json() -> None:
    text = '[{"what": "close", "code": 4009, "on": "dispatch", "nth": 3, "connection": null}]'

    assert Scenario.from_json(text) == Scenario(
        [Fault("close", code=4009, on="dispatch", nth=3, connection=None)]
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "no scenario"),
        ("[5]", "no scenario"),
        ("[{}]", "fault 1 of the scenario has .*: it needs what"),
        ('[{"what": "drop"}, {"what": "drop", "when": 5}]', "fault 2 of the scenario"),
        ('[{"what": "explode"}]', "invalid Fault.what 'explode': expected one of refuse, drop"),
        ('[{"what": "drop", "on": "monday"}]', "invalid Fault.on 'monday'"),
        ('[{"what": "close", "code": "x"}]', "fault 1 of the scenario: "),
    ],
)
def test_invalid_scenario_is_rejected(text: str, says: str) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        Scenario.from_json(text)
    with pytest.raises(LocalProtocolError, match=says):
        Scenario.from_yaml(text)  # which JSON is as well


def test_scenario_in_yaml_may_have_the_unquoted_key_on() -> None:
    text = """
    - what: close
      code: 4009
      on: dispatch
      connection: null
    - {what: drop, size: 3}
    """

    assert Scenario.from_yaml(text) == Scenario(
        [Fault("close", code=4009, on="dispatch", connection=None), Fault("drop", size=3)]
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: b",
        "\0",
        b"\xff\xfe\xff",
        "[" * 3000,
        "- !!python/object:os.system {}",
        "a: &a [*a]",
        "- &a {what: *a}",
        "- {what: 2020-99-99}",
        "- {what: drop, 5: 6}",
        "- {what: drop, [1]: 6}",
        "- {what: drop",
    ],
)
def test_invalid_yaml_scenario_is_rejected(text: str | bytes) -> None:
    with pytest.raises(LocalProtocolError, match="scenario"):
        Scenario.from_yaml(text)


# ----- any scenario -----

_ANY = st.builds(
    Fault,
    st.sampled_from([fault.what for fault in EVERY]),
    on=st.sampled_from([fault.on for fault in EVERY] + ["resume", "resumed"]),
    connection=st.integers(1, 3),
    nth=st.integers(1, 3),
    after=st.sampled_from([0.0, 0.5, 20.0]),
    code=st.sampled_from([1000, 1001, 4000, 4007, 4008, 4009]),
    size=st.sampled_from([0, 1, 5, 50, 200_000]),
    resumable=st.booleans(),
    url=st.sampled_from([None, "ws://dead.localhost", "wss://evil.example"]),
    seconds=st.sampled_from([0.1, 5.0, 100.0]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_ANY, min_size=1, max_size=5),
    st.sampled_from([(3, "payload"), (4, "none"), (6, "zlib-stream"), (10, "zstd-stream")]),
)
def test_client_becomes_ready_after_faults_on_three_connections(
    faults: list[Fault], form: tuple[int, str]
) -> None:
    version, compression = form
    intents = None if version == 3 else 0
    link = _life(
        *faults,
        dispatches=8,
        seconds=900,
        dialect=version,
        compression=compression,
        intents=intents,
    )

    assert _is_ready(link)
    assert not [event for event in link.client.events if isinstance(event, GaveUp)]
    numbers = _numbers(link)
    assert numbers == sorted(numbers)
