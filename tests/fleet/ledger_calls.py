"""A ledger of one owner, and the events and records that tests give to it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_proto import (
    Dispatch,
    Event,
    Ready,
    Session,
)
from gateway_proto.fleet import Ledger, LogHead, LogRecord

CLAIM = LogHead(4, "claim", "me")


def ready(session_id: str, sequence: int = 1) -> Ready:
    return Ready("READY", sequence, msgspec.Raw(b"{}"), session_id=session_id, version=10)


def dispatch(sequence: int | None, name: str = "N", data: bytes = b"{}") -> Dispatch:
    return Dispatch(name, sequence, msgspec.Raw(data))


def session(session_id: str, sequence: int) -> Session:
    return Session(id=session_id, sequence=sequence, version=10)


def ledger(*events: Event, head: LogHead = CLAIM, **settings: Any) -> Ledger:
    result = Ledger("me", head, **settings)
    for event in events:
        result.add(event)
    return result


def next_record(ledger: Ledger) -> LogRecord:
    append = ledger.next_append()
    assert append is not None
    return append[1]


def appended(ledger: Ledger) -> list[LogRecord]:
    """Return the records of all appends, each acknowledged."""
    records = []
    while (append := ledger.next_append()) is not None:
        records.append(append[1])
        ledger.appended(append[0].position + 1)
    return records
