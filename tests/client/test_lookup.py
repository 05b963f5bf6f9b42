"""Rejected lookups and upgrades, and the dials that follow."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway_proto import (
    Client,
    Closed,
    DialFailed,
    DialPurpose,
    DialScheduled,
    IdentifyBudgetSpent,
    Initiator,
    LocalProtocolError,
    NextAction,
    Session,
    UrlRejected,
)
from gateway_proto.server import Server
from gateway_proto.testing import Link
from tests.client.support import (
    CONFIG,
    SESSION,
    answer_dial,
    answer_lookup,
    config_with,
    hosts_dialled,
)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, ": is the token right?"),
        (404, " for the path '/api/v10/gateway': is the URL right?"),
    ],
)
def test_lookup_with_a_permanent_failure_ends_the_client(status: int, hint: str) -> None:
    client = Client(CONFIG)

    answer_dial(client, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    assert client.next_dial() is None
    assert client.connection is None
    assert client.gave_up == f"the lookup was answered with HTTP {status}{hint}"
    assert client.last_closed is not None
    assert client.last_closed.code == status


MAIN = {"api_url": None, "gateway_url": "ws://localhost/the/path?x=1"}


def test_upgrade_with_wrong_path_ends_the_client_and_names_it() -> None:
    client = Client(config_with(**MAIN))

    answer_dial(client, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    assert client.next_dial() is None
    assert client.gave_up == (
        "the upgrade was answered with HTTP 404 for the path '/the/path': is the URL right?"
    )


def test_http_404_at_the_resume_url_falls_back_to_the_main_url() -> None:
    client = Client(config_with(**MAIN), session=SESSION)
    for _ in range(3):
        answer_dial(client, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    dial = client.next_dial()
    assert dial is not None
    assert dial.host == "localhost"


@pytest.mark.parametrize("changes", [{}, MAIN])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_rejections_after_an_opened_websocket_are_an_outage(
    changes: dict[str, Any], status: int
) -> None:
    client = Client(config_with(**changes))
    if not changes:
        answer_lookup(client, "localhost")
    client.dial_succeeded(now=0.0, framing=False).receive_eof(now=0.0)

    for number in range(20):
        now = 100.0 * (number + 1)
        answer_dial(client, b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status, now=now)

    assert client.next_dial() is not None
    assert client.gave_up is None


def test_token_rejected_by_a_later_lookup_ends_the_client() -> None:
    client = Client(config_with(use_gateway_bot=True))
    answer_lookup(client, "localhost")
    client.dial_succeeded(now=0.0, framing=False).receive_eof(now=0.0)
    assert hosts_dialled(client, 3) == ["localhost"] * 3

    answer_dial(client, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    assert client.gave_up == "the lookup was answered with HTTP 401: is the token right?"


@pytest.mark.parametrize("changes", [{}, MAIN])
def test_repeated_http_403_causes_a_long_delay(changes: dict[str, Any]) -> None:
    client = Client(config_with(random=lambda: 0.0, **changes))
    waits = []
    for number in range(3):
        now = 100.0 * number
        answer_dial(client, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", now=now)
        dial = client.next_dial()
        assert dial is not None
        waits.append(dial.at - now)

    assert waits == [0.0, 60.0, 60.0]


def test_open_websocket_ends_the_long_delays_of_http_403() -> None:
    client = Client(config_with(random=lambda: 0.0, **MAIN))
    refusal = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    for number in range(2):
        answer_dial(client, refusal, now=100.0 * number)
    client.dial_succeeded(now=200.0, framing=False).receive_eof(now=200.0)

    answer_dial(client, refusal, now=300.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 300.0


def test_untrusted_host_in_a_later_lookup_is_an_outage() -> None:
    client = Client(CONFIG)
    answer_lookup(client, "localhost")
    client.dial_succeeded(now=0.0, framing=False).receive_eof(now=0.0)
    hosts_dialled(client, 3)

    body = b'{"url":"wss://evil.example"}'
    answer_dial(client, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    dial = client.next_dial()
    assert dial is not None
    assert dial.purpose is DialPurpose.LOOKUP


def test_redirected_upgrade_reports_the_location() -> None:
    client = Client(config_with(**MAIN))

    answer_dial(
        client,
        b"HTTP/1.1 308 Moved\r\nLocation: https://new.example/\r\nContent-Length: 0\r\n\r\n",
    )

    planned = client.events()[-1]
    assert isinstance(planned, DialScheduled)
    assert "Location 'https://new.example/'" in planned.reason


@pytest.mark.parametrize(
    ("head", "wait"),
    [
        (b"Retry-After: 5\r\nRetry-After: 170000", 170000.0),
        (b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:59:37 GMT",
         600.0),
        (b"X-RateLimit-Reset-After: 99.5", 99.5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("changes", [{}, MAIN])
def test_dial_waits_for_the_requested_delay(
    changes: dict[str, Any], head: bytes, wait: float
) -> None:
    client = Client(config_with(**changes))

    answer_dial(client, b"HTTP/1.1 429 No\r\n%s\r\nContent-Length: 0\r\n\r\n" % head)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == wait


def test_rejection_without_a_complete_body_is_a_rejection() -> None:
    client = Client(config_with(**MAIN))
    connection = client.dial_succeeded(now=0.0)
    connection.data_to_send()
    head = b"HTTP/1.1 429 No\r\nContent-Length: 30\r\nRetry-After: 80\r\n\r\n"
    connection.receive_data(head, now=0.0)

    connection.handle_timer(now=20.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 100.0


def test_lookup_without_framing_raises() -> None:
    client = Client(CONFIG)
    dial = client.next_dial()

    with pytest.raises(LocalProtocolError, match="invalid framing False"):
        client.dial_succeeded(now=0.0, framing=False)

    assert client.next_dial() is dial


def test_failed_lookup_is_repeated_after_the_requested_delay() -> None:
    client = Client(CONFIG)

    answer_dial(client, b"HTTP/1.1 429 No\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n", now=5.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 35.0
    assert dial.purpose is DialPurpose.LOOKUP


@pytest.mark.parametrize(
    ("session", "then"), [(None, NextAction.IDENTIFY), (SESSION, NextAction.RESUME)]
)
def test_lookup_close_names_the_next_action_of_the_client(
    session: Session | None, then: NextAction
) -> None:
    session = session and msgspec.structs.replace(session, resume_url=None)
    client = Client(CONFIG, session=session)

    answer_lookup(client, "localhost")

    assert client.last_closed is not None
    assert client.last_closed.next_action is then


@pytest.mark.parametrize(("lost_at", "dials_at"), [(9.0, 15.0), (14.0, 15.0), (16.0, 16.0)])
def test_identify_budget_of_the_lookup_is_reset_at_its_time(
    lost_at: float, dials_at: float
) -> None:
    client = Client(config_with(identify_reserve=5, use_gateway_bot=True))
    limit = b'{"total":1000,"remaining":6,"reset_after":10000,"max_concurrency":1}'
    body = b'{"url":"ws://localhost","shards":1,"session_start_limit":%s}' % limit
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer_dial(client, head + body, now=5.0)
    connection: Any = client.dial_succeeded(now=6.0, framing=False)
    connection.receive_message('{"op":10,"d":{"heartbeat_interval":41250}}', now=6.0)

    connection.receive_close(1000, now=lost_at)

    dial = client.next_dial()
    assert dial is not None
    assert dials_at <= dial.at <= max(dials_at, 16.0) + 1.0
    spent = [event for event in client.events() if isinstance(event, IdentifyBudgetSpent)]
    assert [event.seconds for event in spent] == ([15.0 - lost_at] if lost_at < 15.0 else [])
    assert client.gave_up is None


def test_failed_lookup_without_requested_delay_uses_jitter() -> None:
    client = Client(config_with(random=lambda: 0.25))

    answer_dial(client, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", now=5.0)

    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 5.25


@pytest.mark.parametrize(
    ("changes", "what"),
    [({}, "lookup"), ({"api_url": None, "gateway_url": "ws://localhost"}, "upgrade")],
)
def test_rejected_lookups_and_upgrades_count_as_dials(changes: dict[str, Any], what: str) -> None:
    client = Client(config_with(dial_attempts=3, **changes))
    for number in range(3):
        assert client.gave_up is None
        answer_dial(client, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", now=number * 100.0)

    assert client.gave_up == f"the {what} was answered with HTTP 500"


@pytest.mark.parametrize("session", [None, msgspec.structs.replace(SESSION, resume_url=None)])
def test_unreachable_gateway_is_looked_up_again(session: Session | None) -> None:
    client = Client(CONFIG, session=session)
    answer_lookup(client, "old.localhost")

    assert hosts_dialled(client, 4) == [*["old.localhost"] * 3, "localhost"]
    assert hosts_dialled(client, 1) == ["localhost"], "a failed lookup keeps the URL"
    answer_lookup(client, "new.localhost")
    assert hosts_dialled(client, 4) == [*["new.localhost"] * 3, "localhost"]


def test_gateway_that_rejects_upgrades_is_looked_up_again() -> None:
    client = Client(
        config_with(gateway_attempts=2), session=msgspec.structs.replace(SESSION, resume_url=None)
    )
    answer_lookup(client, "old.localhost")

    for _ in range(2):
        dial = client.next_dial()
        assert dial is not None and dial.host == "old.localhost"
        answer_dial(client, b"HTTP/1.1 530 Gone\r\nContent-Length: 0\r\n\r\n")

    dial = client.next_dial()
    assert dial is not None and dial.purpose is DialPurpose.LOOKUP
    assert client.session is not None


def test_hello_restarts_the_count_of_failed_gateway_dials() -> None:
    link = Link(Client(config_with(version=5, intents=None)), Server())
    for number in range(1, 4):
        link.dead_hosts.add("localhost")
        link.cut()
        while sum(isinstance(event, DialFailed) for event in link.client.events) < number:
            link.run(0.1)
        link.dead_hosts.clear()
        link.run(120)

    assert [dial.purpose for dial in link.dials].count(DialPurpose.LOOKUP) == 1


@pytest.mark.parametrize("opens", [False, True])
def test_failed_redirect_does_not_count_against_the_gateway(opens: bool) -> None:
    client = Client(config_with(version=4, intents=None, unix_offset=0.0))
    answer_lookup(client, "old.localhost")
    connection: Any = client.dial_succeeded(now=0.0, framing=False)
    redirect = '{"op":7,"d":{"url":"ws://next.localhost"}}'
    connection.receive_message(redirect, now=0.0)

    if opens:
        dial = client.next_dial()
        assert dial is not None and dial.host == "next.localhost"
        answer_dial(client, b"HTTP/1.1 530 Gone\r\nContent-Length: 0\r\n\r\n")
    else:
        assert hosts_dialled(client, 1) == ["next.localhost"]

    assert hosts_dialled(client, 4) == [*["old.localhost"] * 3, "localhost"]


def test_opened_websocket_restarts_the_count_of_failed_dials() -> None:
    client = Client(CONFIG)
    answer_lookup(client, "old.localhost")
    assert hosts_dialled(client, 2) == ["old.localhost"] * 2

    client.dial_succeeded(now=0.0, framing=False).receive_eof(now=0.0)

    assert hosts_dialled(client, 4) == [*["old.localhost"] * 3, "localhost"]


def test_version_3_looks_up_again_after_each_failed_dial() -> None:
    client = Client(config_with(version=3, intents=None, unix_offset=0.0))
    answer_lookup(client, "old.localhost")

    assert hosts_dialled(client, 2) == ["old.localhost", "localhost"]


def test_outage_that_rejects_upgrades_keeps_client_and_session() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"), session=SESSION)
    for number in range(100):
        answer_dial(client, b"HTTP/1.1 520 No\r\nContent-Length: 0\r\n\r\n", now=number * 100.0)

    dial = client.next_dial()
    assert dial is not None
    assert (dial.purpose, dial.host) == (DialPurpose.RESUME, "localhost")


def test_lookup_with_an_untrusted_host_ends_the_client() -> None:
    client = Client(CONFIG)

    body = b'{"url":"wss://evil.example"}'
    answer_dial(client, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    assert client.next_dial() is None
    refused = [event for event in client.events() if isinstance(event, UrlRejected)]
    why = (
        "untrusted host 'evil.example': expected the configured endpoint or one of "
        "Config.trusted_hosts"
    )
    assert client.gave_up == (
        f"the lookup named a gateway that is not trusted: 'wss://evil.example' ({why})"
    )
    assert refused == [UrlRejected("wss://evil.example", why)]


@pytest.mark.parametrize("char", [" ", "\t", "\0", "\\", "\x7f"])
def test_character_that_a_gateway_url_must_not_have_is_named(char: str) -> None:
    client = Client(CONFIG)

    body = json.dumps({"url": f"ws://local{char}host"}).encode()
    answer_dial(client, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    assert client.gave_up is not None
    assert f"character {char!r} is not allowed" in client.gave_up


def test_rejected_upgrade_reports_its_body_and_obeys_retry_after() -> None:
    client = Client(config_with(api_url=None, gateway_url="ws://localhost"), session=SESSION)

    answer_dial(client, b"HTTP/1.1 520 No\r\nRetry-After: 17\r\nContent-Length: 5\r\n\r\noh no")

    closed = client.last_closed
    assert closed is not None
    assert (closed.code, closed.reason, closed.initiator) == (520, "oh no", Initiator.PEER)
    assert closed.next_action is NextAction.RESUME
    dial = client.next_dial()
    assert dial is not None
    assert dial.at == 17.0


# ----- chunks of a response -----

HEAD_LIMIT = 16384


def _answer_of(head_size: int, first: bytes) -> bytes:
    body = b'{"url":"ws://localhost"}'
    head = first + b"Content-Length: %d\r\nA: " % len(body)
    return head + b"x" * (head_size - len(head) - 4) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "size", [HEAD_LIMIT - 1, HEAD_LIMIT, HEAD_LIMIT + 1, HEAD_LIMIT + 2, 70_000]
)
@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500 No\r\n"])
@pytest.mark.parametrize("gateway_url", [None, "ws://localhost"])
def test_long_response_head_has_one_result_for_every_chunk_size(
    gateway_url: str | None, first: bytes, size: int
) -> None:
    answer_ = _answer_of(size, first)
    results = []
    for step in (len(answer_), 1000, 4096, HEAD_LIMIT, HEAD_LIMIT + 5):
        client = Client(config_with(gateway_url=gateway_url, api_url=None))
        connection = client.dial_succeeded(now=0.0)
        for at in range(0, len(answer_), step):
            connection.receive_data(answer_[at : at + step], now=0.0)
        connection.receive_eof(now=0.0)
        results.append(connection.events())

    assert all(result == results[0] for result in results)
    closed = results[0][-1]
    assert isinstance(closed, Closed)
    assert (closed.code is None) == (size > HEAD_LIMIT + 1)


def test_long_informational_response_may_come_in_any_chunks() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nA: " + b"x" * 70_000 + b"\r\n\r\n"
    answer_ = interim + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    closes = []
    for step in (len(answer_), 1000, 65_537):
        client = Client(config_with(gateway_url="ws://localhost", api_url=None))
        connection = client.dial_succeeded(now=0.0)
        for at in range(0, len(answer_), step):
            connection.receive_data(answer_[at : at + step], now=0.0)
        closes.append(connection.events()[-1])

    assert closes == [closes[0]] * 3
    assert isinstance(closes[0], Closed)
    assert "informational responses" in (closes[0].error or "")
