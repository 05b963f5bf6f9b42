"""Close codes and reasons that may be sent, and those that WebSocket libraries report."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import (
    ClientConnection,
    Closed,
    Config,
    Initiator,
    LocalProtocolError,
    NextAction,
)
from gateway_proto.server import Server
from gateway_proto.versions import protocol_version
from gateway_proto.wire.close_codes import check_close, reply_to, reported_code

CONFIG = Config(token="t", intents=0, gateway_url="ws://localhost")


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_close_with_allowed_code_is_accepted(code: int) -> None:
    check_close(code, "é" * 61 + "!")  # 123 bytes


@pytest.mark.parametrize(
    "code", [None, True, 0, 999, 1002, 1005, 1006, 2999, 5000, 4000.0, "4000", "x" * 10**6]
)
def test_close_with_another_code_is_rejected(code: Any) -> None:
    with pytest.raises(LocalProtocolError, match="invalid close code") as raised:
        check_close(code, "")

    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
def test_close_by_a_server_with_a_defined_code_is_accepted(code: int) -> None:
    check_close(code, "", as_server=True)


@pytest.mark.parametrize("code", [None, True, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_close_by_a_server_with_another_code_is_rejected(code: Any) -> None:
    with pytest.raises(LocalProtocolError, match="use 1000 to 1003, 1007 to 1014 or 3000 to 4999"):
        check_close(code, "", as_server=True)


@pytest.mark.parametrize(
    "reason", [None, b"bye", 1, "cut \ud83d", "x" * 124, "é" * 62, "x" * 10**6]
)
def test_close_reason_that_cannot_be_encoded_is_rejected(reason: Any) -> None:
    with pytest.raises(LocalProtocolError, match="invalid close reason") as raised:
        check_close(4000, reason)

    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("code", "reported"),
    [
        (None, None),
        (1005, None),
        (1006, 1006),
        (1000, 1000),
        (1014, 1014),
        (2999, 2999),
        (4999, 4999),
    ],
)
def test_reported_close_code_is_normalized(code: int | None, reported: int | None) -> None:
    assert reported_code(code) == reported


@pytest.mark.parametrize("code", [True, -1, 0, 999, 1015, 5000, 99999, 1005.0, "1000", "x", b"x"])
def test_reported_close_code_not_allowed_in_a_frame_is_rejected(code: Any) -> None:
    with pytest.raises(LocalProtocolError, match="invalid close code"):
        reported_code(code)


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (None, 1000),
        (1000, 1000),
        (1012, 1012),
        (4004, 4004),
        (1004, 1002),
        (1016, 1002),
        (2999, 1002),
    ],
)
def test_close_reply_has_a_sendable_code(code: int | None, reply: int) -> None:
    assert reply_to(code) == reply


# ----- close frames of a peer -----


def _closed_by(payload: bytes, pieces: int = 1) -> Closed:
    client = ClientConnection(CONFIG, "ws://localhost", now=0.0)
    server = Server().accept(now=0.0)
    server.receive_data(client.data_to_send(), now=0.0)
    client.receive_data(server.data_to_send(), now=0.0)
    frame = bytes([0x88, len(payload)]) + payload
    size = -(-len(frame) // pieces)
    for at in range(0, len(frame), size):
        client.receive_data(frame[at : at + size], now=1.0)
    closed = client.events()[-1]
    assert isinstance(closed, Closed)
    return closed


@pytest.mark.parametrize("pieces", [1, 3, 20])
@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"\x0f\xa4bad \xff token", 4004, "bad \ufffd token"),
        (b"\x03\xf6gateway", 1014, "gateway"),
        (b"\x07\xd0", 2000, ""),
        (b"\x03\xec\xff", 1004, "\ufffd"),
    ],
)
def test_close_code_from_server_counts_despite_invalid_reason(
    payload: bytes, code: int, reason: str, pieces: int
) -> None:
    closed = _closed_by(payload, pieces)

    assert (closed.code, closed.reason, closed.initiator) == (code, reason, Initiator.PEER)
    assert closed.next_action is (NextAction.STOP if code == 4004 else NextAction.IDENTIFY)


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 5000, 65535])
def test_close_with_forbidden_code_names_the_code(code: int) -> None:
    closed = _closed_by(code.to_bytes(2, "big"))

    assert closed.initiator is Initiator.SELF
    assert closed.error is not None and str(code) in closed.error


def test_close_with_one_byte_payload_is_a_protocol_error() -> None:
    closed = _closed_by(b"\x0f")

    assert closed.initiator is Initiator.SELF
    assert closed.code == 1002


def test_close_code_from_client_counts_despite_invalid_reason() -> None:
    client = ClientConnection(CONFIG, "ws://localhost", now=0.0)
    server = Server().accept(now=0.0)
    server.receive_data(client.data_to_send(), now=0.0)
    payload = b"\x0f\xa4\xff"
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))

    server.receive_data(bytes([0x88, 0x80 | len(payload)]) + mask + masked, now=1.0)

    closed = server.events()[-1]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.initiator) == (4004, Initiator.PEER)


@pytest.mark.parametrize("version", [3, 10])
@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (None, "no close code"),
        (1011, "internal server error"),
        (1014, "bad gateway"),
        (2000, "a reserved WebSocket close code"),
        (4999, "an undocumented code"),
    ],
)
def test_close_codes_have_a_meaning(version: int, code: int | None, meaning: str) -> None:
    after = protocol_version(version).close_policy(code)

    assert (after.next_action, after.meaning) == (NextAction.RESUME, meaning)
