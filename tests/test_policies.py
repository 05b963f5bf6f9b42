"""What the caller decides: the policies of Config, and what is reported of time."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gateway_proto import (
    DIALECTS,
    Activity,
    AfterClose,
    Client,
    ClientConnection,
    Closed,
    CommandsWait,
    Config,
    DialPlanned,
    EarlyHeartbeats,
    GaveUp,
    HeartbeatLate,
    HeartbeatSent,
    Identify,
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    LocalProtocolError,
    MalformedPayload,
    Properties,
    Purpose,
    Raw,
    Ready,
    Resumed,
    Server,
    ServerConfig,
    Session,
    SessionInvalidated,
    State,
    Suspended,
    Then,
    UpdatePresence,
    UpdateVoiceState,
    ZombiePolicy,
    fingerprint,
)
from gateway_proto.testing import Link
from tests.connections import close_event, ready, receive, sent_payloads, unframed

CONFIG = Config(token="t0ken", intents=0, gateway_url="ws://localhost", random=lambda: 0.5)
SESSION = Session(id="s", sequence=7, dialect=10, fingerprint=fingerprint("t0ken"))
VOICE = UpdateVoiceState("1", None)


def _config(**changes: Any) -> Config:
    return attrs.evolve(CONFIG, **changes)


def _bare(session: Session | None = None, **changes: Any) -> ClientConnection:
    return unframed(_config(**changes), session)


def _hello(connection: ClientConnection, interval: int = 10_000) -> ClientConnection:
    receive(connection, 10, {"heartbeat_interval": interval})
    return connection


def _ready(**changes: Any) -> ClientConnection:
    return ready(_config(**changes), interval=10_000)


def _ops(connection: ClientConnection) -> list[int]:
    return [payload["op"] for payload in sent_payloads(connection)]


# ----- time -----


def test_late_heartbeat_is_reported() -> None:
    """Rule 11: something blocks the loop; the connection goes on."""
    connection = _ready()

    connection.handle_timer(now=5.9)
    assert not any(isinstance(event, HeartbeatLate) for event in connection.events())
    receive(connection, 11, now=6.0)
    connection.handle_timer(now=19.5)

    late = next(event for event in connection.events() if isinstance(event, HeartbeatLate))
    assert late.seconds == pytest.approx(3.6)
    assert connection.state is State.READY


def test_late_heartbeats_are_not_sent_in_a_burst() -> None:
    """Rule 13."""
    connection = _ready()

    connection.handle_timer(now=95.0)

    assert _ops(connection) == [1]
    assert connection.next_timer() == 105.0


def test_system_suspend_causes_a_new_connection() -> None:
    """Rule 12: the monotonic clock does not count the sleep, and everything looks healthy."""
    connection = _ready()
    connection.check_clock(1_000_000.0, now=1.0)
    connection.check_clock(1_000_003.0, now=4.0)
    assert connection.events() == []

    connection.check_clock(1_003_605.0, now=6.0)

    suspended, closed = connection.events()
    assert suspended == Suspended(3600.0)
    assert isinstance(closed, Closed)
    assert closed.then is Then.RESUME
    assert "suspended for 3600 s" in (closed.error or "")


@pytest.mark.parametrize("step", [4.9, -5000.0])
def test_small_or_backward_clock_step_is_ignored(step: float) -> None:
    """An NTP step must not end a connection that lives."""
    connection = _ready()
    connection.check_clock(1000.0, now=1.0)

    connection.check_clock(1002.0 + step, now=3.0)
    connection.check_clock(1004.0 + step, now=5.0)

    assert connection.events() == []


def test_version_3_heartbeat_uses_last_observed_unix_time() -> None:
    config = _config(dialect=3, intents=None, unix_offset=0.0)
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": 1000}, s=1, t="READY")

    connection.check_clock(1000.0, now=0.0)
    connection.check_clock(1003.5, now=0.5)
    connection.handle_timer(now=1.0)

    assert HeartbeatSent("1004000") in connection.events()


def test_closed_connection_and_server_ignore_the_clock() -> None:
    connection = _ready()
    connection.check_clock(0.0, now=0.0)
    connection.receive_eof(now=1.0)
    connection.events()

    connection.check_clock(9e9, now=2.0)
    server = Server().accept(now=0.0)
    server.check_clock(0.0, now=0.0)
    server.check_clock(9e9, now=1.0)

    assert connection.events() == server.events() == []


def test_delayed_commands_are_reported_once() -> None:
    connection = _ready(waiting_reported_after=3.0)
    for _ in range(125):
        connection.send(VOICE, now=1.0)
    assert len(connection.waiting) > 5

    for at in (4.0, 5.0, 9.0):
        receive(connection, 11, now=at)
        connection.handle_timer(now=at)

    reports = [event for event in connection.events() if isinstance(event, CommandsWait)]
    assert reports == [CommandsWait(len(connection.waiting), 3.0)]
    while connection.waiting:
        at = connection.next_timer()
        assert at is not None
        connection.handle_timer(now=at)
        receive(connection, 11, now=at)
    for _ in range(125):
        connection.send(VOICE, now=at)
    connection.handle_timer(now=at + 3.0)
    assert any(isinstance(event, CommandsWait) for event in connection.events())


# ----- heartbeats -----


@pytest.mark.parametrize(
    ("policy", "beats_at"),
    [
        (EarlyHeartbeats.ALWAYS, "its time"),
        (EarlyHeartbeats.AFTER_ANSWER, "the first message"),
        (EarlyHeartbeats.AFTER_READY, "RESUMED"),
    ],
)
def test_early_heartbeats_policy_sets_first_heartbeat(
    policy: EarlyHeartbeats, beats_at: str
) -> None:
    """Rule 10."""
    connection = _hello(_bare(SESSION, early_heartbeats=policy))
    assert _ops(connection) == [6]
    beats = {}

    connection.handle_timer(now=5.0)
    beats["its time"] = _ops(connection) == [1]
    receive(connection, 0, {}, s=8, t="X", now=7.0)
    beats["the first message"] = _ops(connection) == [1]
    receive(connection, 0, {}, s=9, t="RESUMED", now=8.0)
    beats["RESUMED"] = _ops(connection) == [1]

    assert [when for when, beat in beats.items() if beat] == [beats_at]
    assert not any(isinstance(event, HeartbeatLate) for event in connection.events())


def test_heartbeats_are_not_deferred_after_identify_by_default() -> None:
    connection = _hello(_bare())
    assert _ops(connection) == [2]

    connection.handle_timer(now=5.0)

    assert _ops(connection) == [1]


def test_deferred_heartbeat_is_dropped_on_close() -> None:
    """Rule 9."""
    connection = _hello(_bare(SESSION))
    _ops(connection)
    connection.handle_timer(now=5.0)

    receive(connection, 7, now=6.0)

    assert _ops(connection) == []


def test_deferred_heartbeat_can_detect_a_zombie() -> None:
    policy = {
        "early_heartbeats": EarlyHeartbeats.AFTER_READY,
        "zombie_policy": ZombiePolicy.ACK,
        "ask_to_identify": True,
    }
    connection = _hello(_bare(**policy))
    connection.handle_timer(now=5.0)
    connection.grant_identify(now=6.0)
    connection.handle_timer(now=15.0)
    assert connection.state is State.IDENTIFYING

    receive(connection, 0, {"session_id": "s"}, s=1, t="READY", now=16.0)

    assert "zombie" in (close_event(connection).error or "")


@pytest.mark.parametrize(
    ("policy", "survives"),
    [
        (ZombiePolicy.ACK, 1),
        (ZombiePolicy.TRAFFIC_THEN_ACK, 2),
        (ZombiePolicy.TRAFFIC, 9),
    ],
)
def test_zombie_policy_decides_on_missing_heartbeat_acks(
    policy: ZombiePolicy, survives: int
) -> None:
    """Rule 6."""
    connection = _ready(zombie_policy=policy)
    beats = 0
    for number in range(9):
        connection.handle_timer(now=5.0 + 10 * number)
        beats += _ops(connection).count(1)
        receive(connection, 0, {}, s=number, t="X", now=6.0 + 10 * number)

    assert beats == survives


# ----- op 9 -----


def test_identify_on_same_connection_follows_op_9() -> None:
    """Rules 30, 31 and 35: after a wait, and with nothing that was meant for the old session."""
    connection = _ready(identify_on_same_connection=True, random=lambda: 0.75)
    for _ in range(130):
        connection.send(VOICE, now=0.0)
    connection.messages_to_send()

    receive(connection, 9, False, now=1.0)
    assert connection.state is State.IDENTIFYING
    assert connection.session is None
    assert connection.waiting == ()
    with pytest.raises(LocalProtocolError, match="needs READY"):
        connection.send(VOICE, now=1.5)
    connection.handle_timer(now=4.9)
    assert 2 not in _ops(connection)
    connection.handle_timer(now=5.0)
    assert _ops(connection)[-1] == 2
    receive(connection, 0, {"session_id": "new"}, s=1, t="READY", now=6.0)

    assert connection.session is not None
    assert connection.session.id == "new"
    connection.receive_eof(now=7.0)
    assert set(close_event(connection).unsent) == {VOICE}


def test_identify_attempts_on_the_same_connection_are_bounded() -> None:
    connection = _hello(_bare(identify_on_same_connection=True, identify_attempts=3))
    while connection.state is not State.CLOSED:
        receive(connection, 9, False, now=0.0)
        connection.handle_timer(now=connection.next_timer() or 0.0)

    assert len(connection.identified_at) == 3


def test_resumable_op_9_always_causes_a_new_connection() -> None:
    connection = _ready(identify_on_same_connection=True)

    receive(connection, 9, True)

    assert SessionInvalidated(resumable=True) in connection.events()
    assert connection.state is State.CLOSED


# ----- turns to identify -----


def test_connection_requests_its_identify_slot_after_hello() -> None:
    """Rules 52, 55 and 83."""
    connection = _bare(ask_to_identify=True, shard=(5, 9), max_concurrency=4)
    _hello(connection)
    _hello(connection)
    asked = [e for e in connection.events() if isinstance(e, IdentifySlotNeeded)]
    assert asked == [IdentifySlotNeeded(5, 1)]
    assert _ops(connection) == []

    connection.grant_identify(now=3.0)
    connection.grant_identify(now=4.0)

    assert _ops(connection) == [2]
    assert connection.state is State.IDENTIFYING


def test_identify_slot_after_close_is_ignored() -> None:
    connection = _hello(_bare(ask_to_identify=True))
    connection.receive_eof(now=1.0)

    connection.grant_identify(now=2.0)

    assert _ops(connection) == []


def test_granted_identify_slot_calls_on_wake() -> None:
    connection = _hello(_bare(ask_to_identify=True))
    woken = []
    connection.on_wake = lambda: woken.append(True)

    connection.grant_identify(now=1.0)

    assert woken == [True]


def test_resume_and_versions_without_hello_need_no_identify_slot() -> None:
    """Rule 52."""
    resuming = _hello(_bare(SESSION, ask_to_identify=True))
    assert _ops(resuming) == [6]

    config = _config(dialect=4, intents=None, ask_to_identify=True)
    old = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    assert _ops(old) == [2]


# ----- what a peer does -----


@pytest.mark.parametrize(
    ("skip", "compression", "ends"),
    [
        (None, "none", False),
        (None, "zlib-stream", True),
        (True, "zlib-stream", False),
        (False, "none", True),
    ],
)
def test_skip_malformed_policy_sets_the_reaction(
    skip: bool | None, compression: str, ends: bool
) -> None:
    """Rule 79."""
    connection = _ready(skip_malformed=skip, compression=compression)

    connection.receive_message("{]", now=0.0)

    events = connection.events()
    assert isinstance(events[0], MalformedPayload)
    assert (connection.state is State.CLOSED) is ends


def test_compression_payload_continues_in_the_next_message() -> None:
    """Rule 69, on a whole connection."""
    connection = _ready(compression="zlib-stream")
    import zlib

    sender = zlib.compressobj()
    text = b'{"op":0,"s":2,"t":"X","d":{}}'
    for part in (text[:12], text[12:]):
        message = sender.compress(part) + sender.flush(zlib.Z_SYNC_FLUSH)
        connection.receive_message(message, now=0.0)

    (dispatch,) = connection.events()
    assert getattr(dispatch, "name", None) == "X"


@pytest.mark.parametrize(
    ("code", "ready", "resuming"),
    [
        (1000, Then.RESUME, Then.IDENTIFY),
        (1001, Then.RESUME, Then.RESUME),
        (4000, Then.RESUME, Then.RESUME),
        (4007, Then.IDENTIFY, Then.IDENTIFY),
        (4008, Then.RESUME, Then.RESUME),
        (4009, Then.RESUME, Then.IDENTIFY),
        (4014, Then.STOP, Then.STOP),
    ],
)
def test_close_code_policy_depends_on_the_phase(code: int, ready: Then, resuming: Then) -> None:
    """Rules 36, 38, 41 and 45: the one try that 1000 and 4009 get is not given twice."""
    for connection, then in ((_ready(), ready), (_hello(_bare(SESSION)), resuming)):
        connection.receive_close(code, now=0.0)
        assert close_event(connection).then is then


def test_close_code_policy_is_configurable() -> None:
    """Rule 41: a policy, not a constant."""
    connection = _ready(closes={4009: AfterClose(Then.IDENTIFY, "as the documentation has it")})

    connection.receive_close(4009, now=0.0)

    assert close_event(connection).then is Then.IDENTIFY
    assert DIALECTS[10].closes[4009].then is Then.RESUME


def test_resume_after_close_code_4008_is_delayed() -> None:
    """Rule 44."""
    link = Link(Client(CONFIG), Server())
    link.client.expect(Ready)
    connection: Any = link.server.connection

    connection.close(4008, now=link.now)
    link.run()

    planned = link.client.expect(DialPlanned)
    assert (planned.purpose, planned.delay) == (Purpose.RESUME, 5.0)


def _blame(link: Link, code: int = 4002) -> None:
    connection: Any = link.server.connection
    connection.close(code, now=link.now)
    link.run(6)


def test_command_that_causes_close_twice_ends_the_client() -> None:
    """Rule 43: a presence is sent anew after each Resume, and would be for ever."""
    link = Link(Client(CONFIG), Server())
    link.client.expect(Ready)
    link.client.send(UpdatePresence((), 5))

    _blame(link)
    closed = link.client.expect(Closed)
    assert closed.last_sent[-1] == UpdatePresence((), 5)
    link.client.expect(Resumed)
    _blame(link)

    gave_up = link.client.expect(GaveUp)
    assert gave_up.reason == (
        "the server closed with 4002 '' (undecodable payload), twice after the same "
        "command: UpdatePresence"
    )


def test_last_command_before_close_is_the_suspect() -> None:
    link = Link(Client(CONFIG), Server())
    for first in ("2", "3"):
        link.client.send(UpdateVoiceState(first, None))
        link.client.send(VOICE)
        _blame(link)

    assert link.client.expect(GaveUp).reason.endswith("after the same command: UpdateVoiceState")


def test_suspect_command_is_forgotten_after_a_stable_time() -> None:
    link = Link(Client(CONFIG), Server())
    link.client.send(VOICE)
    _blame(link)
    link.client.send(UpdateVoiceState("2", None))
    _blame(link)
    link.run(60)
    link.client.send(UpdateVoiceState("2", None))
    _blame(link)

    assert not [e for e in link.client.events if isinstance(e, GaveUp)]


def test_last_sent_commands_of_a_close_have_no_token() -> None:
    """Rule 85."""
    connection = _hello(_bare())
    connection.receive_close(4002, now=0.0)

    closed = close_event(connection)

    assert isinstance(closed.last_sent[-1], Identify)
    assert "t0ken" not in repr(closed)


def test_close_without_a_suspect_has_no_last_sent_commands() -> None:
    connection = _ready()
    connection.receive_close(4000, now=0.0)

    assert close_event(connection).last_sent == ()


# ----- the life -----


def test_session_older_than_resume_within_is_not_resumed() -> None:
    """Rule 23: as an option."""
    link = Link(Client(_config(resume_within=30.0)), Server())
    link.cut()
    link.run(2)
    link.client.expect(Resumed)
    link.dead_hosts.add("localhost")
    link.cut()
    link.run(40)
    link.dead_hosts.clear()
    link.run(60)

    plans = [e for e in link.client.events if isinstance(e, DialPlanned)]
    assert plans[-1].purpose is Purpose.IDENTIFY
    assert [plan.reason for plan in plans if "more than" in plan.reason] == [
        "could not connect to localhost port 80: refused; the session was lost more than 30 s ago"
    ]


def test_stored_session_is_resumed_despite_resume_within() -> None:
    client = Client(_config(resume_within=1.0), session=SESSION)

    dial = client.next_dial()

    assert dial is not None
    assert dial.purpose is Purpose.RESUME


def test_identify_is_not_repeated_within_five_seconds() -> None:
    """Rules 32 and 52."""
    link = Link(Client(_config(random=lambda: 0.0)), Server())
    link.client.expect(Ready)
    connection: Any = link.server.connection

    connection.close(4007, now=link.now)
    link.run()

    planned = link.client.expect(DialPlanned)
    assert (planned.purpose, planned.delay) == (Purpose.IDENTIFY, 5.25)


@pytest.mark.parametrize(("total", "identifies"), [(1, 1), (20, 18), (1000, 900)])
def test_identify_reserve_is_kept(total: int, identifies: int) -> None:
    """Rule 49."""
    client = _after_lookup(total, remaining=total - identifies + 1)
    client.dial_succeeded(now=1.0, framing=False).receive_close(1000, now=2.0)
    assert not [e for e in client.events() if isinstance(e, IdentifyBudgetSpent)]

    client = _after_lookup(total, remaining=total - identifies)

    (spent,) = [e for e in client.events() if isinstance(e, IdentifyBudgetSpent)]
    dial = client.next_dial()
    assert dial is not None
    assert (spent.seconds, dial.at) == (3600.0, 3601.0)
    assert "the next Identify is possible in 3600 s" in spent.reason
    assert client.gave_up is None


def _after_lookup(total: int, *, remaining: int) -> Any:
    client = Client(_config(gateway_url=None, api_url="http://localhost/api/v10", lookup_bot=True))
    limit = b'{"total":%d,"remaining":%d,"reset_after":3600000}' % (total, remaining)
    body = b'{"url":"ws://localhost","session_start_limit":%s}' % limit
    lookup = client.dial_succeeded(now=0.0)
    lookup.receive_data(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, now=1.0
    )
    return client


def test_identify_reduces_the_budget_of_the_lookup() -> None:
    config = attrs.evolve(
        _config(gateway_url=None, api_url="http://localhost/api/v10", lookup_bot=True),
        identify_reserve=998,
    )
    link = Link(Client(config), Server())
    for _ in range(2):
        link.server.send(SessionInvalidated())
        link.run(10)

    assert "998 of 1000 sessions remain" in link.client.expect(IdentifyBudgetSpent).reason
    assert sum(isinstance(event, Identify) for event in link.server.events) == 2


def test_spent_budget_ends_identify_on_the_same_connection() -> None:
    config = _config(identify_on_same_connection=True, identify_budget=2, identify_attempts=100)
    client = Client(config)
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=1.0)
    connection.receive_message('{"op":9,"d":false}', now=2.0)
    connection.handle_timer(now=10.0)
    assert connection.identified_at == [1.0, 10.0]

    connection.receive_message('{"op":9,"d":false}', now=11.0)
    connection.receive_close(None, now=12.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 86401.0
    assert any(isinstance(event, IdentifyBudgetSpent) for event in client.events())


@pytest.mark.parametrize("status", [401, 403])
def test_repeated_upgrade_rejection_is_backed_off(status: int) -> None:
    """Rule 56: repeated 401 and 403 are no outage."""
    client = Client(_config(random=lambda: 0.0))
    delays = []
    for _ in range(3):
        connection = client.dial_succeeded(now=0.0)
        connection.receive_data(
            f"HTTP/1.1 {status} No\r\nContent-Length: 5\r\ncf-ray: abc\r\n\r\nsorry".encode(),
            now=0.0,
        )
        closed = connection.events()[-1]
        assert isinstance(closed, Closed)
        assert closed.reason == "sorry"
        assert closed.error == f"the upgrade was answered with HTTP {status} (cf-ray abc)"
        dial = client.next_dial()
        assert dial is not None
        delays.append(dial.at)

    assert delays == [0.0, 60.0, 60.0]


def test_configured_payload_limit_is_enforced() -> None:
    """Rule 61."""
    connection = _ready(payload_limit=300)

    with pytest.raises(LocalProtocolError, match="more than the 300 that a gateway takes"):
        connection.send(Raw(60, "x" * 300), now=0.0)
    _ready(payload_limit=10_000).send(Raw(60, "x" * 5000), now=0.0)


def test_oversized_identify_is_rejected_before_the_first_dial() -> None:
    """Rule 61: and never while something is received."""
    with pytest.raises(LocalProtocolError, match=r"Identify has .* more than the 4096"):
        _config(properties=Properties("x" * 4096))
    with pytest.raises(LocalProtocolError, match=r"Identify has .* more than the 4096"):
        _ready(properties=Properties("x" * 3800)).send(
            UpdatePresence([Activity("x" * 100)]), now=0.0
        )


@pytest.mark.parametrize("length", [256, 257, 5000])
def test_session_id_too_long_for_resume_is_rejected(length: int) -> None:
    connection = _hello(_bare())

    receive(connection, 0, {"session_id": "x" * length}, s=1, t="READY")

    if length <= 256:
        assert connection.state is State.READY
    else:
        assert "a session id of" in (close_event(connection).error or "")


def test_missing_version_means_the_lowest_supported() -> None:
    server = Server(ServerConfig(versions=(9, 10)))

    assert server.accept(now=0.0, framing=False, target="/").dialect.version == 9


@pytest.mark.parametrize("version", DIALECTS)
def test_presence_sent_during_identify_is_kept(version: int) -> None:
    """A presence is a state: the last one counts, whenever it is given."""
    config = _config(dialect=version, unix_offset=0.0, presence=UpdatePresence())
    connection = ClientConnection(config, "ws://localhost", now=0.0, framing=False)
    if config.dialect.greets:
        _hello(connection)
    assert _ops(connection) == [2]

    connection.send(UpdatePresence((), 5), now=1.0)
    receive(connection, 0, {"session_id": "s", "heartbeat_interval": 9e9}, s=1, t="READY", now=2.0)

    assert _ops(connection) == [3]


def test_second_ready_drops_the_queued_commands() -> None:
    """Rule 35."""
    connection = _ready()
    for _ in range(130):
        connection.send(VOICE, now=0.0)

    receive(connection, 0, {"session_id": "t"}, s=1, t="READY", now=1.0)
    assert connection.waiting == ()
    connection.receive_eof(now=2.0)

    assert set(close_event(connection).unsent) == {VOICE}
