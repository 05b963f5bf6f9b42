"""Recovery after a lost connection: delays, steps, and counts of failures."""

from __future__ import annotations

import json
import statistics
from typing import Any

import msgspec
import pytest

from benchmarks import recovery
from gateway_proto import (
    Client,
    DialPurpose,
    DialScheduled,
    Ready,
    Resume,
    Session,
    State,
    UrlRejected,
)
from gateway_proto.server import Fault, Scenario, Server
from gateway_proto.testing import Link
from tests.client.support import (
    CONFIG,
    HELLO,
    SESSION,
    answer_lookup,
    config_with,
    dial_purposes,
    due_at,
    lose,
    make_client,
    open_dial,
    scheduled,
)
from tests.encodings import ENCODINGS


def _dispatch(name: str, sequence: int, **d: Any) -> str:
    return json.dumps({"op": 0, "t": name, "s": sequence, "d": d})


# ----- measurements -----


# After HELLO the waits grow slowly, so the longest outage is enough.
MEASURED = [
    (shape, seconds)
    for shape in recovery.SHAPES
    for seconds in recovery.OUTAGES
    if shape not in recovery.SHAPES_AFTER_HELLO or seconds == max(recovery.OUTAGES)
]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "seconds"), MEASURED)
def test_ready_follows_soon_after_an_outage(shape: str, seconds: float) -> None:
    times = [recovery.away(seed, seconds, recovery.SHAPES[shape]) for seed in range(40)]

    assert statistics.median(times) <= 10.0
    assert statistics.quantiles(times, n=20)[-1] <= 25.0


@pytest.mark.parametrize("url", recovery.RESUME_URLS.values())
def test_ready_follows_soon_after_unanswered_resumes(url: str) -> None:
    times = [recovery.unanswered(seed, url) for seed in range(10)]

    assert statistics.median(times) <= 40.0


def test_recovery_report_compares_measurements_with_targets() -> None:
    summary = {"median": 1.0, "p95": 2.0, "max": 3.0}
    result = {"seeds": 1, "outages": {"5 s": summary}, "unanswered": {"a URL": summary}}

    assert "1.0" in recovery.show(result)
    assert [figure.reached for figure in recovery.figures(result)] == [True] * 3


# ----- dial backoff -----


def test_hello_resets_the_dial_backoff() -> None:
    client = make_client(session=SESSION, random=lambda: 0.5)
    for _ in range(6):
        client.dial_failed("refused", now=due_at(client))

    now = lose(client, HELLO)

    assert due_at(client) - now == 0.5


def test_failed_dials_before_hello_do_not_delay_later_dials() -> None:
    client = make_client(session=SESSION, random=lambda: 0.5)
    for _ in range(6):
        client.dial_failed("refused", now=due_at(client))
    lose(client, HELLO)

    client.dial_failed("refused", now=1000.0)

    assert due_at(client) == 1000.5


@pytest.mark.parametrize(("messages", "delay"), [((HELLO,), 5.25), ((), 32.0)])
def test_websockets_that_close_immediately_are_backed_off(
    messages: tuple[str, ...], delay: float
) -> None:
    client = make_client(random=lambda: 0.5, dial_backoff_max=64.0, backoff_max=64.0)
    for _ in range(4):
        client.dial_failed("refused", now=due_at(client))
    for _ in range(3):
        now = lose(client, *messages)

    assert due_at(client) - now == delay


def test_backoff_of_an_outage_ends_with_ready() -> None:
    """A connection lost before it is stable is dialled again soon."""
    link = Link(Client(config_with(random=lambda: 0.5)), Server())
    link.client.expect(Ready)
    link.dead_hosts.add("localhost")
    link.cut()
    link.run(60)
    link.dead_hosts.clear()
    link.run(72)
    link.client.take()

    link.cut()

    assert link.client.expect(DialScheduled).delay <= 2.0


@pytest.mark.parametrize("version", [3, 4])
def test_opened_websocket_resets_dial_backoff_without_hello(version: int) -> None:
    client = make_client(version=version, intents=None, unix_offset=0.0, random=lambda: 0.5)
    for _ in range(6):
        client.dial_failed("refused", now=due_at(client))

    now = lose(client)

    assert due_at(client) - now <= 5.25


@pytest.mark.parametrize("version", [3, 4])
def test_stored_interval_is_used_if_resumed_has_none(version: int) -> None:
    stored = msgspec.structs.replace(SESSION, version=version, heartbeat_interval=30000)
    client = make_client(session=stored, version=version, intents=None, unix_offset=0.0)

    connection, now = open_dial(client, _dispatch("RESUMED", 8))

    assert connection.state is State.READY
    assert connection.next_timer() == now + 30.0


def test_reconnect_instead_of_hello_is_followed_immediately() -> None:
    client = make_client(session=SESSION, random=lambda: 0.5)
    for _ in range(6):
        client.dial_failed("refused", now=due_at(client))
    due = due_at(client)

    open_dial(client, '{"op":7,"d":null}')

    assert due_at(client) == due


# ----- INVALID_SESSION -----


@pytest.mark.parametrize("losses", [0, 12])
def test_rejected_resume_causes_only_its_own_delay(losses: int) -> None:
    client = make_client(session=SESSION, random=lambda: 0.75)
    for _ in range(losses):
        lose(client, HELLO, _dispatch("RESUMED", 8))
    due = due_at(client)

    open_dial(client, HELLO, '{"op":9,"d":false}')

    assert due_at(client) - due == 4.0


def test_rejected_resumes_do_not_delay_later_dials() -> None:
    client = make_client(session=SESSION, random=lambda: 0.5)
    for _ in range(2):
        open_dial(client, HELLO, '{"op":9,"d":true}')

    now = lose(client, HELLO)

    assert due_at(client) - now == 0.5


def test_repeatedly_invalidated_identifies_are_backed_off() -> None:
    """Rule 34."""
    client = make_client(random=lambda: 0.5)
    waits = []
    for _ in range(40):
        _, due = open_dial(client, HELLO, '{"op":9,"d":false}')
        waits.append(due_at(client) - due)

    assert waits[:9] == [5.25] * 9  # INVALID_SESSION costs only the limits of Identify
    assert waits[10] == pytest.approx(0.5 * 1.3**10)
    assert waits[20:] == [30.0] * 20


def test_only_losses_with_identify_wait_up_to_backoff_max() -> None:
    client = make_client(session=SESSION, resume_attempts=100, random=lambda: 0.5)
    waits = []
    for _ in range(20):
        _, due = open_dial(client, HELLO, '{"op":7,"d":null}')
        waits.append(due_at(client) - due)

    assert waits[:3] == [0.0, 0.65, 0.5 * 1.3**2]
    assert waits[15:] == [7.5] * 5  # half of dial_backoff_max


@pytest.mark.parametrize(("seconds", "delay"), [(59.0, 30.0), (60.0, 5.25)])
def test_stable_ready_ends_the_backoff_of_identifies(seconds: float, delay: float) -> None:
    client = make_client(random=lambda: 0.5)
    for _ in range(20):
        lose(client, HELLO)
    connection, now = open_dial(client, HELLO, _dispatch("READY", 1, session_id="s"))
    connection.receive_eof(now=now + seconds)
    open_dial(client, HELLO, '{"op":9,"d":false}')

    now = lose(client, HELLO)

    assert due_at(client) - now == delay


@pytest.mark.parametrize("version", [3, 4])
def test_only_the_first_redirect_is_followed_immediately(version: int) -> None:
    client = make_client(version=version, intents=None, unix_offset=0.0, random=lambda: 0.0)
    waits = []
    for number in range(5):
        url = f"ws://next{number}.localhost/"
        _, due = open_dial(client, json.dumps({"op": 7, "d": {"url": url}}))
        waits.append(due_at(client) - due)
        dial = client.next_dial()
        assert dial is not None and dial.url.startswith(url)

    assert waits == [0.0, 5.25, 5.25, 5.25, 5.25]


def test_lost_resumes_do_not_delay_a_later_identify() -> None:
    client = make_client(session=_session("ws://localhost/"), random=lambda: 0.5)
    for _ in range(3):
        lose(client, HELLO)
    dial = client.next_dial()
    assert dial is not None and dial.purpose is DialPurpose.IDENTIFY

    now = lose(client, HELLO)

    assert due_at(client) - now == 5.25
    assert scheduled(client)[-1].delay == 5.25


# ----- unanswered Resume -----


@pytest.mark.parametrize("early", [(), ('{"op":11}',), ('{"op":1}', '{"op":99}')])
def test_unanswered_resume_goes_to_the_next_step(early: tuple[str, ...]) -> None:
    client = make_client(session=SESSION)
    steps = []
    for _ in range(3):
        dial = client.next_dial()
        assert dial is not None
        steps.append((dial.purpose, dial.host))
        connection, due = open_dial(client, HELLO)
        for message in early:
            connection.receive_message(message, now=due + 1.0)
        if dial.purpose is DialPurpose.RESUME:
            connection.handle_timer(now=due + 14.9)
            assert connection.state is State.RESUMING
            connection.handle_timer(now=due + 15.0)
            assert connection.state is State.CLOSED

    assert steps == [
        (DialPurpose.RESUME, "resume.localhost"),
        (DialPurpose.RESUME, "localhost"),
        (DialPurpose.IDENTIFY, "localhost"),
    ]
    reason = "waited too long for an answer to Resume; the session is given up"
    assert scheduled(client)[-1].reason == reason


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_first_dispatch_answers_a_resume(encoding: str) -> None:
    server = Server()
    link = Link(Client(config_with(encoding=encoding, resume_timeout=5.0)), server)
    link.client.expect(Ready)
    server.set_scenario(Scenario([Fault("hold", on="resumed", connection=None, seconds=30.0)]))
    link.cut()
    server.dispatch("MISSED", {}, now=link.now)
    link.run(40)

    assert dial_purposes(link)[-1][0] is DialPurpose.RESUME
    assert len([e for e in link.server.events if isinstance(e, Resume)]) == 1


def test_stalled_resume_replay_ends_after_the_session_timeout() -> None:
    connection, _ = open_dial(make_client(session=SESSION), HELLO)
    connection.receive_message(_dispatch("MISSED", 8), now=10.0)
    connection.receive_message(_dispatch("MISSED", 9), now=11.0)

    assert connection._timers._at[_session_timer()] == 70.0
    assert not connection._outcome.resume_unanswered


def _session_timer() -> Any:
    from gateway_proto.timing.timers import Timer

    return Timer.READY


def test_interrupted_resume_does_not_count_as_unanswered() -> None:
    client = make_client(session=SESSION)
    for _ in range(2):
        lose(client, HELLO)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.purpose, dial.host) == (DialPurpose.RESUME, "resume.localhost")


def test_resume_timeout_is_suspended_while_paused() -> None:
    connection, _ = open_dial(make_client(session=SESSION), HELLO)
    connection.pause(now=1.0)
    connection.handle_timer(now=100.0)
    connection.unpause(now=100.0)

    connection.handle_timer(now=113.0)
    assert connection.state is State.RESUMING
    connection.handle_timer(now=114.0)
    assert connection.state is State.CLOSED


# ----- equal URLs are one step -----

SAME = [
    "ws://localhost",
    "ws://localhost/",
    "WS://LOCALHOST:80/?v=9&encoding=json",
    "http://localhost",
]


@pytest.mark.parametrize("url", SAME)
def test_equal_urls_are_one_resume_step(url: str) -> None:
    session = _session(url)
    client = make_client(session=session)
    counts = []
    for _ in range(4):
        dial = client.next_dial()
        assert dial is not None
        counts.append(dial.purpose)
        lose(client, HELLO)

    assert counts == [*[DialPurpose.RESUME] * 3, DialPurpose.IDENTIFY]


def _session(url: str) -> Session:
    return msgspec.structs.replace(SESSION, resume_url=url)


@pytest.mark.parametrize(
    "url", ["ws://localhost:81", "ws://localhost/other", "ws://localhost/?x=1"]
)
def test_different_urls_are_two_resume_steps(url: str) -> None:
    client = make_client(session=_session(url))
    for _ in range(6):
        dial = client.next_dial()
        assert dial is not None and dial.purpose is DialPurpose.RESUME
        lose(client, HELLO)

    dial = client.next_dial()
    assert dial is not None and dial.purpose is DialPurpose.IDENTIFY


def test_lookup_result_equal_to_the_resume_url_adds_no_step() -> None:
    """A stored session is resumed without a lookup."""
    client = Client(CONFIG, session=SESSION)
    connection, due = open_dial(client, HELLO)
    connection.handle_timer(now=due + 15.0)

    answer_lookup(client, "resume.localhost")

    dial = client.next_dial()
    assert dial is not None and dial.purpose is DialPurpose.IDENTIFY
    assert scheduled(client)[-1].reason == "the lookup named the gateway; the session is given up"


def test_failed_dials_at_equal_urls_never_lose_the_session() -> None:
    client = make_client(session=_session("ws://localhost/"))
    for _ in range(50):
        client.dial_failed("refused", now=due_at(client))

    dial = client.next_dial()
    assert dial is not None and dial.purpose is DialPurpose.RESUME


@pytest.mark.parametrize("named", ["ws://localhost/" + "a" * 2048, 5, [], None, ""])
def test_invalid_resume_url_is_not_stored(named: Any) -> None:
    connection, now = open_dial(make_client(), HELLO)

    ready = _dispatch("READY", 1, session_id="s", resume_gateway_url=named)
    connection.receive_message(ready, now=now)

    refused = [event for event in connection.events() if isinstance(event, UrlRejected)]
    assert len(refused) == (1 if isinstance(named, str) and named else 0)
    assert all(len(event.url) < 250 for event in refused)
    assert not connection.session.resume_url


# ----- permanent failures -----


def test_permanently_failed_dial_goes_to_next_url_immediately() -> None:
    client = make_client(session=SESSION)

    client.dial_failed("wrong version number", permanent=True, now=5.0)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.host, dial.at, dial.purpose) == ("localhost", 5.0, DialPurpose.RESUME)


def test_permanent_failure_at_equal_urls_is_backed_off() -> None:
    client = make_client(session=_session("ws://localhost/"), random=lambda: 0.5)

    client.dial_failed("wrong version number", permanent=True, now=5.0)

    assert due_at(client) == 5.5


def test_permanently_failed_redirect_is_abandoned_immediately() -> None:
    client = Client(config_with(version=4, intents=None, unix_offset=0.0))
    answer_lookup(client, "old.localhost")
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message('{"op":7,"d":{"url":"ws://next.localhost"}}', now=0.0)

    client.dial_failed("certificate has expired", permanent=True, now=50.0)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.host, dial.at) == ("old.localhost", 50.0)


@pytest.mark.parametrize("changes", [{}, {"api_url": None, "gateway_url": "ws://localhost"}])
def test_permanent_failure_without_next_url_is_backed_off(changes: dict[str, Any]) -> None:
    client = Client(config_with(random=lambda: 0.5, **changes))
    for _ in range(40):
        due = due_at(client)
        client.dial_failed("certificate has expired", permanent=True, now=due)

    assert due_at(client) == due + 7.5


def test_permanently_failing_gateway_is_looked_up_again() -> None:
    client = Client(CONFIG)
    answer_lookup(client, "old.localhost")

    client.dial_failed("certificate has expired", permanent=True, now=5.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.purpose is DialPurpose.LOOKUP
    assert dial.at > 5.0
