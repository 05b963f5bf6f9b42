"""Events → log records: their levels and texts, without secrets."""

from __future__ import annotations

import logging

import pytest

from gateway_proto import (
    ClockJumped,
    Closed,
    CommandsDelayed,
    DialFailed,
    DialPurpose,
    DialScheduled,
    Dispatch,
    Encoding,
    EncodingIgnored,
    GatewayFound,
    GaveUp,
    HeartbeatLate,
    HeartbeatSent,
    IdentifyBudgetSpent,
    IdentifySlotNeeded,
    Initiator,
    MalformedPayload,
    NextAction,
    Opened,
    Ready,
    ReconnectRequested,
    RequestFailed,
    RequestGuildMembers,
    Resumed,
    SessionIgnored,
    SessionInvalidated,
    UnknownPayload,
    UrlRejected,
)
from gateway_proto.driver.event_queue import log_error, log_events
from gateway_proto.driver.log_text import clean
from gateway_proto.server import HttpRequested

TOKEN = "a-token-of-a-bot"
READY = Ready("READY", 1, session_id="session", version=10)
CASES = [
    (
        DialScheduled(
            purpose=DialPurpose.RESUME,
            url="wss://host/?v=10",
            delay=1.25,
            reason="the client starts",
        ),
        "INFO",
        "dial scheduled in 1.2 s: resume at wss://host/ (the client starts)",
    ),
    (
        DialFailed("wss://host/?v=10", "Connection refused"),
        "WARNING",
        "could not connect to wss://host/: Connection refused",
    ),
    (
        GatewayFound("wss://host/?x=1", shards=2),
        "INFO",
        "the lookup returned wss://host/, recommended shards: 2",
    ),
    (GatewayFound("wss://host/"), "INFO", "the lookup returned wss://host/"),
    (Opened("/?v=10"), "INFO", "connected: the WebSocket is open"),
    (READY, "INFO", "READY: a new session"),
    (Resumed("RESUMED", 2), "INFO", "RESUMED: the session continues"),
    (GaveUp("no way"), "ERROR", "gave up: no way"),
    (
        ClockJumped(12.0),
        "WARNING",
        "Unix time jumped by 12.0 s: system suspend, or the clock was set",
    ),
    (HeartbeatLate(3.0), "WARNING", "a heartbeat was 3.0 s late: the event loop was blocked"),
    (CommandsDelayed(3, 6.0), "WARNING", "3 commands wait for the rate limit, the first for 6.0 s"),
    (
        UrlRejected("wss://evil/?a", "not trusted"),
        "WARNING",
        "rejected the URL wss://evil/: not trusted",
    ),
    (MalformedPayload("no JSON"), "WARNING", "malformed payload: no JSON"),
    (
        EncodingIgnored(Encoding.ETF, Encoding.JSON),
        "WARNING",
        "the server sends json instead of the requested etf",
    ),
    (ReconnectRequested(), "INFO", "the server asks for a reconnect"),
    (
        ReconnectRequested("wss://other/?a=1"),
        "INFO",
        "the server asks for a reconnect to wss://other/",
    ),
    (SessionIgnored("of another"), "WARNING", "the stored session is not used: of another"),
    (SessionInvalidated(True), "INFO", "the server invalidated the session, resumable"),
    (
        SessionInvalidated(False),
        "INFO",
        "the server invalidated the session, not resumable",
    ),
    (IdentifySlotNeeded(0, 5), "INFO", "waiting for an identify slot of key 5"),
    (
        IdentifyBudgetSpent(90.0, "1000 of 1000 are used"),
        "WARNING",
        "no Identify is possible for 90 s: 1000 of 1000 are used",
    ),
    (IdentifyBudgetSpent(None, "of 0"), "WARNING", "no Identify is possible: of 0"),
    (
        RequestFailed(1, RequestGuildMembers("1", user_ids=["2"]), "no answer"),
        "INFO",
        "RequestGuildMembers failed: no answer",
    ),
    (Dispatch.of("X", [1, 2], 7), "DEBUG", "op 0 X, sequence 7, 5 bytes"),
    (UnknownPayload(99, b"[1]"), "DEBUG", "unknown op 99, 3 bytes"),
    (HttpRequested("GET", "/api/gateway?x=1", 200), "DEBUG", "GET /api/gateway: 200"),
    (HeartbeatSent(None), "DEBUG", "HeartbeatSent"),
    (
        Closed(code=4000, initiator=Initiator.SELF, next_action=NextAction.RESUME, error="zombie"),
        "INFO",
        "connection closed with 4000 by self, next: resume (zombie)",
    ),
    (
        Closed(code=None, initiator=Initiator.PEER, next_action=NextAction.STOP),
        "INFO",
        "connection closed without a close code by peer",
    ),
    (
        Closed(code=200, initiator=Initiator.SELF, next_action=NextAction.IDENTIFY),
        "INFO",
        "HTTP exchange complete, next: identify",
    ),
    (
        Closed(
            code=None,
            initiator=Initiator.SELF,
            next_action=NextAction.IDENTIFY,
            error="waited too long for the HTTP response",
        ),
        "WARNING",
        "connection closed without a close code by self, next: identify "
        "(waited too long for the HTTP response)",
    ),
    (
        Closed(code=4000, initiator=Initiator.PEER, next_action=NextAction.IDENTIFY),
        "WARNING",
        "connection closed with 4000 by peer, next: identify",
    ),
    (
        Closed(code=200, initiator=Initiator.PEER, next_action=NextAction.IDENTIFY, error="no 101"),
        "WARNING",
        "HTTP exchange ended with status 200, next: identify (no 101)",
    ),
    (
        Closed(code=200, initiator=Initiator.SELF, next_action=NextAction.RESUME),
        "INFO",
        "HTTP exchange complete, next: resume",
    ),
    (
        Closed(code=503, initiator=Initiator.PEER, next_action=NextAction.IDENTIFY, error="busy"),
        "WARNING",
        "HTTP exchange ended with status 503 (busy)",
    ),
]


@pytest.mark.parametrize(
    ("event", "level", "text"),
    CASES,
    ids=[f"{type(case[0]).__name__}-{n}" for n, case in enumerate(CASES)],
)
def test_event_is_logged_with_level_and_text(
    event: object, level: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gateway_proto")

    log_events([event], "shard 3: ", TOKEN)  # type: ignore[list-item]

    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("gateway_proto", level, f"shard 3: {text}")
    ]


def test_dispatches_are_not_logged_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway_proto")

    log_events([Dispatch.of("X", 1, 1)])
    log_events([Dispatch.of("X", 1, 2), Opened()])

    assert [record.getMessage() for record in caplog.records] == [
        "connected: the WebSocket is open"
    ]


def test_handler_that_raises_does_not_replace_the_error(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ZeroDivisionError

    broken, logger = Broken(), logging.getLogger("gateway_proto")
    logger.addFilter(broken)
    try:
        log_error(ValueError())
    finally:
        logger.removeFilter(broken)

    assert not caplog.messages


def test_error_is_logged_by_its_type_only(caplog: pytest.LogCaptureFixture) -> None:
    log_error(ValueError(TOKEN), "shard 1: ")

    assert caplog.messages == ["shard 1: ValueError was raised in a callback or in the driver"]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"closed with {TOKEN!r}", "closed with '<token>'"),
        ("at /a%2Dtoken%2dof-a-bot/%7E", "at /<token>/%7E"),
        (r"at \u0061-token-of-\u0061-bot", "at <token>"),
        ("at wss://host:1/path?v=10&token=x, then", "at wss://host:1/path then"),
        ("at http://host#fragment", "at http://host"),
        ("a\nb\x1b[0m\x85\u2028\ud800", r"a\nb\x1b[0m\x85\u2028\ud800"),
        ("x" * 501, "x" * 500 + "..."),
    ],
)
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text, TOKEN) == cleaned


def test_short_token_does_not_replace_parts_of_words() -> None:
    assert clean("the client", "t") == "the client"
