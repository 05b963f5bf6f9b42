"""A client's life: where it goes after a loss, how long it waits, and when it gives up."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest

from gateway_proto import (
    By,
    Client,
    ClientConnection,
    Closed,
    Config,
    DialFailed,
    DialPlanned,
    Dispatch,
    GatewayFound,
    GaveUp,
    Identify,
    LocalProtocolError,
    Purpose,
    Ready,
    RequestFailed,
    RequestGuildMembers,
    Resumed,
    Server,
    ServerConfig,
    Session,
    SessionInvalidated,
    State,
    Then,
    UpdatePresence,
    UrlRefused,
    fingerprint,
    session_after,
)
from gateway_proto.testing import Link

CONFIG = Config(token="t0ken", intents=0, api_url="http://localhost/api/v10")
SESSION = Session(
    id="s1",
    sequence=7,
    resume_url="ws://resume.localhost",
    dialect=10,
    fingerprint=fingerprint("t0ken"),
)


def _config(**changes: object) -> Config:
    return attrs.evolve(CONFIG, **changes)


def _purposes(link: Link) -> list[tuple[Purpose, str]]:
    return [(dial.purpose, dial.host) for dial in link.dials]


# ----- the way up -----


def test_a_life_looks_up_identifies_and_reuses_the_answer_of_the_lookup() -> None:
    link = Link(Client(CONFIG), Server())
    link.client.expect(Ready)
    link.server.send(SessionInvalidated())
    link.run(10)

    assert [dial.purpose for dial in link.dials] == [
        Purpose.LOOKUP,
        Purpose.IDENTIFY,
        Purpose.IDENTIFY,
    ]


def test_a_new_client_has_a_plan_and_nothing_behind_it() -> None:
    client = Client(CONFIG)

    assert client.events() == [
        DialPlanned(
            purpose=Purpose.LOOKUP,
            url="http://localhost/api/v10/gateway",
            delay=0.0,
            reason="the client starts",
        )
    ]
    assert (client.connection, client.last_closed, client.found, client.session) == (None,) * 4
    assert (client.gave_up, client.latency, client.waiting) == (None, None, ())


def test_a_client_that_may_open_no_session_plans_nothing() -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost", identify_budget=0))

    assert client.next_dial() is None
    assert [type(event) for event in client.events()] == [GaveUp]


def test_a_client_that_only_looks_up_ends_with_the_answer() -> None:
    client = Client(CONFIG, only_look_up=True)

    _found(client, "localhost")

    assert client.next_dial() is None
    assert (client.gave_up, client.found) == (None, GatewayFound("ws://localhost"))


def test_with_a_gateway_url_there_is_no_lookup() -> None:
    link = Link(Client(_config(api_url=None, gateway_url="ws://localhost:1/x")), Server())

    assert [dial.url for dial in link.dials] == ["ws://localhost:1/x?v=10&encoding=json"]


def test_each_decision_is_an_event_with_its_reason() -> None:
    link = Link(Client(CONFIG), Server())
    link.cut()
    link.run(10)

    planned = [event for event in link.client.events if isinstance(event, DialPlanned)]

    assert [(plan.purpose, plan.reason) for plan in planned] == [
        (Purpose.LOOKUP, "the client starts"),
        (Purpose.IDENTIFY, "the lookup named the gateway"),
        (Purpose.RESUME, "the transport ended without a close frame"),
    ]


def test_a_second_dial_without_the_first_being_answered_is_the_callers_mistake() -> None:
    client = Client(CONFIG)
    client.dial_succeeded(now=0.0)

    assert client.next_dial() is None
    says = r"^no dial was asked for: next_dial\(\) is None$"
    with pytest.raises(LocalProtocolError, match=says):
        client.dial_succeeded(now=0.0)
    with pytest.raises(LocalProtocolError, match=says):
        client.dial_failed("x", now=0.0)


# ----- sessions -----


def test_a_new_process_resumes_where_the_last_one_had_handled_events() -> None:
    server = Server()
    link = Link(Client(CONFIG), server)
    for number in range(5):
        server.dispatch("N", number, now=link.now)
    link.run()
    handled: list[int] = []
    session: Session | None = None
    for event in link.client.events:
        session = session_after(session, event)
        if isinstance(event, Dispatch) and event.name == "N":
            handled.append(event.data)
            if len(handled) == 3:
                break
    assert session is not None
    link.cut()

    stored = session.to_json()
    again = Link(Client(CONFIG, session=Session.from_json(stored)), server)

    again.client.expect(Resumed)
    replayed = [e.data for e in again.client.events if isinstance(e, Dispatch) and e.name == "N"]
    assert handled + replayed == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"token": "other"}, "another token"),
        ({"shard": (0, 2)}, r"another shard \(None, not \(0, 2\)\)"),
        ({"dialect": 3, "unix_offset": 0.0, "api_url": None}, r"another version \(10, not 3\)"),
    ],
)
def test_a_session_of_another_token_shard_or_version_is_refused(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        Client(_config(**changes), session=SESSION)


def test_the_clients_session_is_that_of_the_last_event_received() -> None:
    server = Server()
    client = Client(CONFIG)
    link = Link(client, server)
    server.dispatch("N", 1, now=0.0)
    link.run()

    assert client.session is not None
    assert client.session.sequence == 2
    link.cut()
    assert client.session.sequence == 2


def test_a_resume_url_that_is_refused_is_refused_once() -> None:
    client = Client(
        _config(api_url=None, gateway_url="ws://localhost"),
        session=msgspec.structs.replace(SESSION, resume_url="ws://evil.example"),
    )

    assert _hosts_dialled(client, 2) == ["localhost"] * 2

    assert client.session == msgspec.structs.replace(SESSION, resume_url=None)
    assert sum(isinstance(event, UrlRefused) for event in client.events()) == 1


# ----- the ladder -----


def test_a_dead_resume_host_is_left_for_the_main_url_still_with_resume() -> None:
    server = Server(ServerConfig(url="ws://resume.localhost"))
    link = Link(Client(_config(api_url=None, gateway_url="ws://localhost")), server)
    link.client.expect(Ready)
    link.dead_hosts.add("resume.localhost")

    link.cut()
    link.run(30)

    assert _purposes(link)[1:] == [
        *[(Purpose.RESUME, "resume.localhost")] * 3,
        (Purpose.RESUME, "localhost"),
    ]
    link.client.expect(Resumed)


def test_a_dead_network_never_costs_the_session() -> None:
    server = Server(ServerConfig(url="ws://resume.localhost", session_lifetime=10**6))
    link = Link(Client(_config(api_url=None, gateway_url="ws://localhost")), server)
    link.dead_hosts |= {"resume.localhost", "localhost"}
    link.cut()
    link.run(3600)
    assert len(link.dials) > 50

    link.dead_hosts.clear()
    link.run(120)

    link.client.expect(Resumed)
    assert sum(isinstance(event, Identify) for event in link.server.events) == 1


def test_a_resume_that_is_answered_by_silence_falls_from_rung_to_rung_to_identify() -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost"), session=SESSION)
    purposes = []
    for _ in range(7):
        dial = client.next_dial()
        assert dial is not None
        purposes.append((dial.purpose, dial.host))
        # The WebSocket opens; HELLO never comes.
        connection = client.dial_succeeded(now=dial.at, framing=False)
        at = connection.next_timer()
        assert at is not None
        connection.handle_timer(now=at)
        assert connection.state is State.CLOSED

    assert purposes == [
        *[(Purpose.RESUME, "resume.localhost")] * 3,
        *[(Purpose.RESUME, "localhost")] * 3,
        (Purpose.IDENTIFY, "localhost"),
    ]
    last = [event for event in client.events() if isinstance(event, DialPlanned)][-2]
    assert last.reason == (
        "waited too long for HELLO; so it was before, and the session is given up"
    )


def test_identifies_that_never_become_ready_end_the_life_with_a_reason() -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost", identify_attempts=3))
    for _ in range(3):
        dial = client.next_dial()
        assert dial is not None
        connection = client.dial_succeeded(now=dial.at, framing=False)
        assert isinstance(connection, ClientConnection)
        connection.receive_close(4000, "no", now=dial.at)

    assert client.next_dial() is None
    assert client.gave_up is not None
    assert client.gave_up == (
        "3 connections in a row did not become ready, the last because: the server closed with "
        "4000 'no' (unknown error)"
    )
    assert client.events()[-1] == GaveUp(client.gave_up)


def test_the_identify_budget_of_a_day_ends_the_life_before_the_token_is_lost() -> None:
    link = Link(Client(_config(identify_budget=3)), Server())
    while link._life is not None and link._life.next_dial() is None:
        link.server.send(SessionInvalidated())
        link.run(60)
        if isinstance(link.client.events[-1], GaveUp):
            break

    assert sum(isinstance(event, Identify) for event in link.server.events) == 3
    assert link.client.events[-1].reason == (
        "3 identifies in 24 hours, and 1000 cost the token: find out why sessions are lost, or "
        "raise Config.identify_budget"
    )


def test_the_identify_budget_is_free_again_after_a_day() -> None:
    hourly = ServerConfig(heartbeat_interval=3_600_000)  # a day has fewer beats, and passes sooner
    link = Link(Client(_config(identify_budget=2)), Server(hourly))
    for _ in range(4):
        link.server.send(SessionInvalidated())
        link.run(86400)

    assert sum(isinstance(event, Identify) for event in link.server.events) == 5


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
def test_a_fatal_close_ends_the_life_and_says_why(code: int) -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0, framing=False)
    assert isinstance(connection, ClientConnection)

    connection.receive_close(code, "the reason", now=1.0)

    assert client.next_dial() is None
    meaning = CONFIG.after_close(code).meaning
    assert client.gave_up == (
        f"the server closed with {code} 'the reason' ({meaning}), after which no reconnect helps"
    )
    assert client.last_closed is not None
    assert client.last_closed.then is Then.STOP


def _lose(client: Client, now: float, *, ready: bool) -> None:
    """A connection that resumes, or says nothing, and is cut."""
    connection: Any = client.dial_succeeded(now=now, framing=False)
    if ready:
        connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=now)
        connection.receive_message('{"op":0,"t":"RESUMED","s":8,"d":{}}', now=now)
        assert connection.state is State.READY
    connection.receive_eof(now=now)


@pytest.mark.parametrize(
    ("losses", "lost_at"),
    [
        ([(100.0, False)], 100.0),
        ([(100.0, True), (106.0, False)], 100.0),
        ([(100.0, True), (108.0, True)], 108.0),
    ],
)
def test_a_session_ages_from_when_it_was_ready_last(
    losses: list[tuple[float, bool]], lost_at: float
) -> None:
    """Rule 23; one of which nobody knows ages from its first connection."""
    client = Client(
        _config(api_url=None, gateway_url="ws://localhost", resume_within=10.0, random=lambda: 0.0),
        session=SESSION,
    )
    for now, ready in losses:
        _lose(client, now, ready=ready)

    client.dial_failed("refused", now=lost_at + 10.0)
    assert client.session is not None
    client.dial_failed("refused", now=lost_at + 10.5)

    assert client.session is None
    planned = client.events()[-1]
    assert isinstance(planned, DialPlanned)
    assert planned.purpose is Purpose.IDENTIFY
    assert planned.reason.endswith("; the session was lost more than 10 s ago")


# ----- waiting -----


def test_the_backoff_doubles_up_to_its_bound_and_jitters_fully() -> None:
    draws = iter([1.0, 1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 1.0])
    client = Client(
        _config(
            api_url=None,
            gateway_url="ws://localhost",
            backoff_first=1.0,
            backoff_longest=10.0,
            random=lambda: next(draws),
        )
    )
    delays = []
    for _ in range(8):
        client.dial_failed("refused", now=50.0)
        dial = client.next_dial()
        assert dial is not None
        delays.append(dial.at - 50.0)

    assert delays == [1.0, 2.0, 4.0, 4.0, 0.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize(("ready_for", "delay"), [(59.0, 1.0), (60.0, 0.5)])
def test_the_backoff_begins_anew_only_after_a_stable_time(ready_for: float, delay: float) -> None:
    link = Link(Client(CONFIG), Server())
    link.run(70)
    link.cut()
    link.run(0.5)
    link.client.expect(Resumed)

    link.run(ready_for)
    link.cut()

    assert link.client.events[-1].delay == delay


def test_a_bound_on_dials_ends_the_life() -> None:
    client = Client(_config(dial_attempts=2))

    client.dial_failed("refused", now=0.0)
    client.dial_failed("refused", now=1.0)

    assert client.next_dial() is None
    assert client.gave_up == "could not connect to localhost port 80: refused"
    failed = [event for event in client.events() if isinstance(event, DialFailed)]
    assert failed == [DialFailed("http://localhost/api/v10/gateway", "refused")] * 2


def test_a_bound_on_dials_counts_those_in_a_row() -> None:
    link = Link(Client(_config(dial_attempts=2)), Server())
    for _ in range(3):
        link.dead_hosts.add("localhost")
        link.cut()
        link.run(0.6)
        link.dead_hosts.clear()
        link.run(60)

    assert link.client.connection is not None
    assert link.client.connection.state is State.READY


# ----- HTTP says no -----


def _answer(client: Client, response: bytes, now: float = 0.0) -> None:
    connection = client.dial_succeeded(now=now)
    connection.data_to_send()
    connection.receive_data(response, now=now)
    connection.receive_eof(now=now)
    assert connection.state is State.CLOSED


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "is the token right?"), (404, "is the URL right?")]
)
def test_a_lookup_that_cannot_get_better_ends_the_life(status: int, hint: str) -> None:
    client = Client(CONFIG)

    _answer(client, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    assert client.next_dial() is None
    assert client.connection is None
    assert client.gave_up == f"the lookup was answered with HTTP {status}: {hint}"
    assert client.last_closed is not None
    assert client.last_closed.code == status


def test_a_lookup_that_fails_is_tried_again_after_what_it_asks_for() -> None:
    client = Client(CONFIG)

    _answer(client, b"HTTP/1.1 429 No\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n", now=5.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 35.0
    assert dial.purpose is Purpose.LOOKUP


@pytest.mark.parametrize(("session", "then"), [(None, Then.IDENTIFY), (SESSION, Then.RESUME)])
def test_a_lookup_ends_with_what_its_client_is_up_to(session: Session | None, then: Then) -> None:
    session = session and msgspec.structs.replace(session, resume_url=None)
    client = Client(CONFIG, session=session)

    _found(client, "localhost")

    assert client.last_closed is not None
    assert client.last_closed.then is then


@pytest.mark.parametrize(("lost_at", "goes_on"), [(14.0, False), (16.0, True)])
def test_the_day_of_a_lookup_ends_when_it_said(lost_at: float, goes_on: bool) -> None:
    client = Client(_config(identify_reserve=5, lookup_bot=True))
    limit = b'{"total":1000,"remaining":6,"reset_after":10000,"max_concurrency":1}'
    body = b'{"url":"ws://localhost","shards":1,"session_start_limit":%s}' % limit
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    _answer(client, head + body, now=5.0)
    connection: Any = client.dial_succeeded(now=6.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=6.0)

    connection.receive_close(1000, now=lost_at)

    assert (client.next_dial() is not None) == goes_on
    assert (client.gave_up is None) == goes_on


def test_a_lookup_that_fails_and_asks_for_nothing_waits_by_chance() -> None:
    client = Client(_config(random=lambda: 0.25))

    _answer(client, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", now=5.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 5.25


@pytest.mark.parametrize(
    ("changes", "what"),
    [({}, "lookup"), ({"api_url": None, "gateway_url": "ws://localhost"}, "upgrade")],
)
def test_lookups_and_upgrades_that_are_refused_count_as_dials(
    changes: dict[str, Any], what: str
) -> None:
    client = Client(_config(dial_attempts=3, **changes))
    for number in range(3):
        assert client.gave_up is None
        _answer(client, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", now=number * 100.0)

    assert client.gave_up == f"the {what} was answered with HTTP 500"


def _found(client: Client, host: str) -> None:
    body = b'{"url":"ws://%s"}' % host.encode()
    _answer(client, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def _hosts_dialled(client: Client, times: int) -> list[str]:
    hosts = []
    for _ in range(times):
        dial = client.next_dial()
        assert dial is not None
        hosts.append(dial.host)
        client.dial_failed("no such host", now=max(dial.at, 0.0))
    return hosts


@pytest.mark.parametrize("session", [None, msgspec.structs.replace(SESSION, resume_url=None)])
def test_a_gateway_that_cannot_be_reached_is_looked_up_again(session: Session | None) -> None:
    client = Client(CONFIG, session=session)
    _found(client, "old.localhost")

    assert _hosts_dialled(client, 4) == [*["old.localhost"] * 3, "localhost"]
    assert _hosts_dialled(client, 1) == ["localhost"], "a lookup that fails changes nothing"
    _found(client, "new.localhost")
    assert _hosts_dialled(client, 4) == [*["new.localhost"] * 3, "localhost"]


def test_a_gateway_that_refuses_upgrades_is_looked_up_again() -> None:
    client = Client(
        _config(gateway_attempts=2), session=msgspec.structs.replace(SESSION, resume_url=None)
    )
    _found(client, "old.localhost")

    for _ in range(2):
        dial = client.next_dial()
        assert dial is not None and dial.host == "old.localhost"
        _answer(client, b"HTTP/1.1 530 Gone\r\nContent-Length: 0\r\n\r\n")

    dial = client.next_dial()
    assert dial is not None and dial.purpose is Purpose.LOOKUP
    assert client.session is not None


def test_a_gateway_that_was_reached_begins_its_count_anew() -> None:
    link = Link(Client(_config(dialect=5, intents=None)), Server())
    for number in range(1, 4):
        link.dead_hosts.add("localhost")
        link.cut()
        while sum(isinstance(event, DialFailed) for event in link.client.events) < number:
            link.run(0.1)
        link.dead_hosts.clear()
        link.run(120)

    assert [dial.purpose for dial in link.dials].count(Purpose.LOOKUP) == 1


@pytest.mark.parametrize("opens", [False, True])
def test_a_redirect_that_leads_nowhere_says_nothing_of_the_gateway(opens: bool) -> None:
    client = Client(_config(dialect=4, intents=None, unix_offset=0.0))
    _found(client, "old.localhost")
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    redirect = '{"op":7,"d":{"url":"ws://next.localhost"}}'
    connection.receive_message(redirect, now=0.0)

    if opens:
        dial = client.next_dial()
        assert dial is not None and dial.host == "next.localhost"
        _answer(client, b"HTTP/1.1 530 Gone\r\nContent-Length: 0\r\n\r\n")
    else:
        assert _hosts_dialled(client, 1) == ["next.localhost"]

    assert _hosts_dialled(client, 4) == [*["old.localhost"] * 3, "localhost"]


def test_a_websocket_that_opens_begins_the_count_of_the_gateway_anew() -> None:
    client = Client(CONFIG)
    _found(client, "old.localhost")
    assert _hosts_dialled(client, 2) == ["old.localhost"] * 2

    client.dial_succeeded(now=0.0, framing=False).receive_eof(now=0.0)

    assert _hosts_dialled(client, 4) == [*["old.localhost"] * 3, "localhost"]


def test_version_3_looks_up_after_each_dial_that_fails() -> None:
    client = Client(_config(dialect=3, intents=None, unix_offset=0.0))
    _found(client, "old.localhost")

    assert _hosts_dialled(client, 2) == ["old.localhost", "localhost"]


def test_an_outage_that_refuses_every_upgrade_costs_neither_life_nor_session() -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost"), session=SESSION)
    for number in range(100):
        _answer(client, b"HTTP/1.1 520 No\r\nContent-Length: 0\r\n\r\n", now=number * 100.0)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.purpose, dial.host) == (Purpose.RESUME, "localhost")


def test_a_lookup_that_names_a_foreign_host_ends_the_life() -> None:
    client = Client(CONFIG)

    body = b'{"url":"wss://evil.example"}'
    _answer(client, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    assert client.next_dial() is None
    assert client.gave_up == ("the lookup named a gateway that is not trusted: wss://evil.example")
    refused = [event for event in client.events() if isinstance(event, UrlRefused)]
    why = (
        "its host evil.example is neither that of the configured endpoint nor one of trusted_hosts"
    )
    assert refused == [UrlRefused("wss://evil.example", why)]


def test_a_refused_upgrade_keeps_status_and_body_and_waits_as_asked() -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost"), session=SESSION)

    _answer(client, b"HTTP/1.1 520 No\r\nRetry-After: 17\r\nContent-Length: 5\r\n\r\noh no")

    closed = client.last_closed
    assert closed is not None
    assert (closed.code, closed.reason, closed.by) == (520, "oh no", By.PEER)
    assert closed.then is Then.RESUME
    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 17.0


# ----- the end by choice -----


@pytest.mark.parametrize(("keep_session", "code"), [(True, 4000), (False, 1000)])
def test_stop_closes_so_that_the_session_survives_or_not(keep_session: bool, code: int) -> None:
    server = Server()
    client = Client(CONFIG)
    link = Link(client, server)

    client.stop(keep_session=keep_session, now=link.now)
    link.run()

    closed = link.server.events[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by) == (code, By.PEER)
    assert client.next_dial() is None
    assert client.gave_up is None
    assert (client.session is not None) == keep_session
    assert bool(server.sessions) == keep_session


@pytest.mark.parametrize("keep_session", [True, False])
def test_stop_between_connections_plans_nothing_more(keep_session: bool) -> None:
    client = Client(CONFIG, session=SESSION)

    client.stop(keep_session=keep_session, now=0.0)

    assert client.next_dial() is None
    assert (client.session is not None) == keep_session
    assert [type(event) for event in client.events()] == [DialPlanned], "what was told stays told"


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("stopped", "the client was stopped"),
        ("gave up", "could not connect to localhost port 80: refused"),
    ],
)
def test_what_is_awaited_between_connections_fails_with_the_life(end: str, why: str) -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost", dial_attempts=1))
    link = Link(client, Server())
    connection = link.client.connection
    assert isinstance(connection, ClientConnection)
    number = connection.request(RequestGuildMembers("1", "a", 5), now=link.now)
    connection.receive_eof(now=link.now)

    if end == "stopped":
        client.stop(keep_session=True, now=link.now)
    else:
        client.dial_failed("refused", now=link.now)

    (failed,) = [event for event in client.events() if isinstance(event, RequestFailed)]
    assert (failed.number, failed.why) == (number, why)


def test_stop_during_a_lookup_ends_it() -> None:
    client = Client(CONFIG)
    connection = client.dial_succeeded(now=0.0)

    client.stop(keep_session=True, now=0.0)

    assert connection.state is State.CLOSED
    assert client.next_dial() is None


def test_closing_the_lookup_itself_ends_the_life() -> None:
    client = Client(CONFIG)

    client.dial_succeeded(now=0.0).close(now=0.0)

    assert client.next_dial() is None
    assert client.gave_up is None


def test_stop_during_the_upgrade_ends_it_without_a_close_frame() -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0)
    connection.data_to_send()

    client.stop(keep_session=True, now=0.0)

    assert connection.state is State.CLOSED
    assert connection.data_to_send() == b""


def test_a_close_that_the_server_does_not_answer_ends_by_timeout() -> None:
    client = Client(_config(api_url=None, gateway_url="ws://localhost"))
    connection = client.dial_succeeded(now=0.0, framing=False)
    assert isinstance(connection, ClientConnection)
    client.stop(keep_session=True, now=1.0)
    assert connection.state is State.CLOSING

    connection.handle_timer(now=6.0)

    closed = connection.events()[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by, closed.then) == (4000, By.SELF, Then.STOP)


def test_closing_the_connection_itself_ends_the_life_too() -> None:
    client = Client(CONFIG)
    link = Link(client, Server())
    assert link.client.connection is not None

    link.client.connection.close(1000, "bye", now=link.now)
    link.run()

    assert link.server.events[-1].reason == "bye"
    assert client.next_dial() is None
    assert client.gave_up is None
    assert client.session is None


def test_the_presence_of_the_config_goes_out_with_identify() -> None:
    link = Link(Client(_config(presence=UpdatePresence(since=1))), Server())

    assert link.server.expect(Identify).presence == UpdatePresence(since=1)


def test_a_presence_survives_in_the_client_between_connections() -> None:
    link = Link(Client(CONFIG), Server())
    link.client.send(UpdatePresence(since=1))
    link.server.send(SessionInvalidated())
    link.run(10)

    identify = [event for event in link.server.events if isinstance(event, Identify)][-1]

    assert identify.presence == UpdatePresence(since=1)


def test_latency_is_that_of_the_present_connection() -> None:
    client = Client(CONFIG)
    assert client.latency is None
    link = Link(client, Server(), delay=0.05)
    link.run(60)

    assert client.latency == pytest.approx(0.1)
    link.cut()
    assert client.latency is None


# ----- what others learnt -----


def test_one_zombie_makes_exactly_one_new_connection() -> None:
    """Rule 8."""
    client = Client(_config(gateway_url="ws://localhost", api_url=None, random=lambda: 0.5))
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":1000}}', now=0.0)
    client.events()

    for now in (0.5, 1.5, 1.5, 2.5, 9.0):
        connection.handle_timer(now=now)
        connection.receive_eof(now=now) if connection.state is State.CLOSED else None

    plans = [event for event in client.events() if isinstance(event, DialPlanned)]
    assert len(plans) == 1
    assert [event for event in connection.events() if isinstance(event, Closed)][1:] == []


def test_a_late_message_or_close_of_the_old_connection_does_not_touch_the_new_one() -> None:
    """Rule 46."""
    server = Server()
    link = Link(Client(CONFIG), server)
    old: Any = link.client.connection
    link.cut()
    link.run(5)
    link.client.expect(Resumed)
    new: Any = link.client.connection
    assert old is not new
    before = (new.state, new.session, new.next_timer())

    old.receive_data(b"\x81\x0a" + b'{"op":9   ', now=link.now)
    old.receive_eof(now=link.now)
    old.handle_timer(now=link.now + 1000)

    assert (new.state, new.session, new.next_timer()) == before
    assert old.events() == []
    assert link._life is not None
    assert link._life.connection is new


def test_a_session_does_not_outlive_a_fatal_close_but_other_ends() -> None:
    """Rule 22."""
    for code, kept in ((4004, False), (4014, False), (4000, True), (4009, True)):
        link = Link(Client(CONFIG), Server())
        connection: Any = link.server.connection
        connection.close(code, now=link.now)
        link.run()
        assert link._life is not None
        assert (link._life.session is not None) is kept, code


def test_health_is_a_live_state_and_not_that_ready_was_seen_once() -> None:
    """Rules 47 and 48."""
    client = Client(CONFIG)
    link = Link(client, Server())
    assert client.connection is not None
    assert client.connection.state is State.READY

    link.dead_hosts.add("localhost")
    link.cut()

    assert client.connection is None
    assert client.gave_up is None
    assert client.next_dial() is not None
    client.stop(keep_session=True, now=link.now)
    assert client.next_dial() is None


def test_a_flap_while_connecting_neither_spins_nor_drops_the_session() -> None:
    """Rule 57."""
    link = Link(Client(_config(random=lambda: 0.5)), Server())
    link.client.expect(Ready)
    link.dead_hosts.add("localhost")
    link.cut()
    link.run(240)
    dials = len(link.dials)
    link.dead_hosts.clear()
    link.run(59)

    assert link.client.expect(Resumed)
    assert 8 < dials < 20, "half a minute between dials, after a few that were near"


def test_two_lives_may_have_the_same_shard_at_once() -> None:
    """Rule 82: a hand-over; nothing here assumes to be alone."""
    server = Server()
    links = [Link(Client(_config(shard=(0, 1))), server) for _ in range(2)]

    server.dispatch("X", {}, now=0.0)
    for link in links:
        link.run()

    assert all(link.client.expect(Ready).shard == (0, 1) for link in links)
    assert all(any(getattr(e, "name", "") == "X" for e in link.client.events) for link in links)


@pytest.mark.parametrize("compression", ["zlib-stream", "zstd-stream"])
def test_each_connection_has_a_context_of_its_own(compression: str) -> None:
    """Rule 68."""
    server = Server()
    link = Link(Client(_config(compression=compression)), server)
    for number in range(5):
        link.cut()
        server.dispatch("N", number, now=link.now)
        link.run(10)

    numbers = [e.data for e in link.client.events if getattr(e, "name", "") == "N"]
    assert numbers == list(range(5))
