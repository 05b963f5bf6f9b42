"""Detector of oversized frame headers: found before their payload arrives."""

from __future__ import annotations

import struct

import pytest

from gateway_proto.wire.fast_frames import HeaderGuard, apply_mask
from tests.wire.support import server_frame

LIMIT = 70_000


def _masked(first: int, length: int, *, head: int = 8) -> bytes:
    """Return a client's header with its mask."""
    if head == 8:
        return struct.pack("!BBQ", first, 255, length) + b"mask"
    return struct.pack("!BB", first, 128 | length) + b"mask"


def _unmasked(first: int, length: int) -> bytes:
    """Return a server's header with a length of 64 bits."""
    return struct.pack("!BBQ", first, 127, length)


@pytest.mark.parametrize("length", [LIMIT + 1, 2**62])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_oversized_header_is_found_at_the_start_of_its_frame(length: int, size: int) -> None:
    before = _masked(0x81, 3, head=1) + b"abc" + _masked(0x89, 2, head=1) + b"pp"
    data = before + _masked(0x82, length) + b"x"
    guard = HeaderGuard(LIMIT, masked=True)

    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = [guard.check(piece) for piece in pieces]

    offset = next(at for at in found if at is not None)
    assert offset == (len(before) if size == 100 else 0)


@pytest.mark.parametrize(
    ("sizes", "is_found"),
    [((60_000, 10_000), False), ((60_000, 10_001), True), ((1, 70_000), True)],
)
def test_fragment_lengths_are_added_up_for_the_limit(
    sizes: tuple[int, ...], is_found: bool
) -> None:
    guard = HeaderGuard(LIMIT, masked=False)
    whole = _unmasked(0x82, LIMIT) + b"x" * LIMIT
    first = _unmasked(0x01, sizes[0]) + b"x" * sizes[0]
    fragments = first + _unmasked(0x80, sizes[1]) + b"x" * sizes[1]

    found = guard.check(whole + fragments + whole)

    assert (found is not None) is is_found


@pytest.mark.parametrize("header", [server_frame(2, b"x"), _masked(0x82, 2**63)])
def test_header_guard_stops_at_a_header_that_wsproto_rejects(header: bytes) -> None:
    guard = HeaderGuard(LIMIT, masked=True)

    assert guard.check(header + _masked(0x82, 2**62)) is None
    assert guard.check(_masked(0x82, 2**62)) is None


def test_continuation_without_start_is_left_to_wsproto() -> None:
    """It counts as the beginning of a message, so that the limit is exact."""
    continuation = _unmasked(0x80, LIMIT) + b"x" * LIMIT

    assert HeaderGuard(LIMIT, masked=False).check(continuation) is None
    assert HeaderGuard(LIMIT, masked=False).check(server_frame(2, b"a") + continuation) is None


def test_oversized_close_frame_is_left_to_wsproto() -> None:
    """A control frame of more than 125 bytes is invalid in itself (RFC 6455, 5.5)."""
    assert HeaderGuard(LIMIT, masked=False).check(_unmasked(0x88, LIMIT + 1)) is None


@pytest.mark.parametrize("size", [2, 3, 125])
def test_only_the_payload_of_a_close_frame_is_kept(size: int) -> None:
    payload = b"\x03\xe8" + b"x" * (size - 2)
    guard = HeaderGuard(LIMIT, masked=False)
    guard.check(server_frame(9, b"ping") + server_frame(2, b"message"))
    assert guard.close_payload() == b""

    guard.check(server_frame(8, payload))

    assert guard.close_payload() == payload


def test_close_payload_of_a_client_is_kept_without_its_mask() -> None:
    guard = HeaderGuard(LIMIT, masked=True)
    assert guard.close_payload() == b""

    guard.check(_masked(0x88, 5, head=1) + apply_mask(b"\x03\xe8bye", b"mask"))

    assert guard.close_payload() == b"\x03\xe8bye"


def test_guard_knows_whether_the_next_byte_begins_a_message() -> None:
    guard = HeaderGuard(LIMIT, masked=False)
    begin, end = server_frame(1, b"a", fin=False), server_frame(0, b"b")
    states = [guard.is_between_messages]

    for data in (b"\x82", b"\x01", b"x", begin, server_frame(9, b""), end, end[:2], end[2:]):
        guard.check(data)
        states.append(guard.is_between_messages)

    assert states == [True, False, False, True, False, False, True, False, True]


def test_stopped_guard_checks_nothing_more() -> None:
    guard = HeaderGuard(LIMIT, masked=False)

    guard.stop()

    assert not guard.is_between_messages
    assert guard.check(_unmasked(0x82, LIMIT + 1)) is None
