"""Member records, as bytes in the members table."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto import DataError, LocalProtocolError
from gateway_proto.fleet import MAX_RECORD_SIZE, GatewaySettings, MemberRecord, ShardStatus, Stage

SHARDS = st.integers(0, 2**16 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
STATUSES = st.builds(
    ShardStatus,
    TEXT,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.none() | st.floats(0, 1e9),
    st.none() | st.floats(0, 1e9),
    st.none() | st.floats(0, 1e9),
    TEXT,
)
RECORDS = st.builds(
    MemberRecord,
    st.integers(0, 2**63 - 1),
    st.dictionaries(SHARDS, st.integers(1, 2**53 - 1), max_size=5),
    st.lists(SHARDS, max_size=5).map(tuple),
    st.booleans(),
    TEXT,
    st.dictionaries(SHARDS, STATUSES, max_size=3),
    st.dictionaries(SHARDS, st.sampled_from(Stage), max_size=3),
    st.none() | st.builds(GatewaySettings, st.integers(1, 255), st.none() | st.integers(0, 2**53)),
    st.dictionaries(TEXT, st.integers(0, 2**63 - 1), max_size=3),
)


@given(RECORDS)
def test_record_equals_its_decoded_bytes(record: MemberRecord) -> None:
    assert MemberRecord.from_bytes(record.to_bytes()) == record


def test_unknown_fields_of_later_versions_are_ignored() -> None:
    assert MemberRecord.from_bytes(b'{"n": 1, "later": {}}') == MemberRecord(1)


def test_statuses_are_left_out_of_a_record_that_is_too_large() -> None:
    status = ShardStatus("é" * 64, reason="é" * 64)
    record = MemberRecord(1, {5: 6}, shards=dict.fromkeys(range(2**16), status))

    assert MemberRecord.from_bytes(record.to_bytes()) == MemberRecord(1, {5: 6})


@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_data_error_or_are_a_record(data: bytes) -> None:
    try:
        record = MemberRecord.from_bytes(data)
    except DataError:
        return
    assert record.n >= 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b'{"n": -1}',
        b'{"n": 1.5}',
        b'{"n": 9223372036854775808}',
        b'{"n": 1, "owns": {"-1": 1}}',
        b'{"n": 1, "owns": {"65536": 1}}',
        b'{"n": 1, "owns": {"a": 1}}',
        b'{"n": 1, "owns": {"1": 0}}',
        b'{"n": 1, "owns": {"1": 9007199254740992}}',
        b'{"n": 1, "wants": [65536]}',
        b'{"n": 1, "draining": 1}',
        b'{"n": 1, "dead": {"b": -1}}',
        b'{"n": 1, "dead": {"' + b"b" * 129 + b'": 1}}',
        msgspec.json.encode({"n": 1, "dead": {f"m{number}": 1 for number in range(65)}}),
        b'{"n": 1, "stages": {"1": 4}}',
        b'{"n": 1, "version": "' + b"v" * 65 + b'"}',
        b'{"n": 1, "version": "\xff"}',
        b'{"n": 1, "shards": {"1": {"latency": -1}}}',
        b'{"n": 1, "shards": {"1": {"latency": 1e999}}}',
        b'{"n": 1, "x": ' + b"[" * 100_000,
    ],
)
def test_invalid_record_raises_data_error(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^data is not the record of a member: "):
        MemberRecord.from_bytes(data)


def test_record_larger_than_the_maximum_raises_data_error() -> None:
    with pytest.raises(DataError) as caught:
        MemberRecord.from_bytes(b'{"n": 1}' + b" " * MAX_RECORD_SIZE)

    assert str(caught.value) == (
        "the record of a member has 16777224 bytes: expected at most 16777216"
    )


def test_other_values_than_bytes_are_not_decoded() -> None:
    with pytest.raises(LocalProtocolError, match=r"invalid data .*: expected bytes"):
        MemberRecord.from_bytes("{}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "s" * 65},
        {"state": "\ud800"},
        {"sequence": -1},
        {"sequence": 2**63},
        {"pending": "1"},
        {"latency": -0.5},
        {"reason": None},
        {"reason": object()},
    ],
)
def test_invalid_status_is_rejected(fields: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match=r"^invalid ShardStatus: "):
        ShardStatus(**fields).check()


def test_valid_status_is_accepted() -> None:
    ShardStatus("ready", 5, 100, 0.04, 60.0, 30, "start").check()
