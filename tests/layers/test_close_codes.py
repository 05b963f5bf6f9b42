"""Close codes and reasons: what may be sent, and what a WebSocket library reports."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proto import LocalProtocolError
from gateway_proto._layers.close_codes import check_close, reply_to, reported_code


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_close_with_an_allowed_code_is_accepted(code: int) -> None:
    check_close(code, "é" * 61 + "!")  # 123 bytes


@pytest.mark.parametrize(
    "code", [None, True, 0, 999, 1002, 1005, 1006, 2999, 5000, 4000.0, "4000", "x" * 10**6]
)
def test_close_with_another_code_is_rejected(code: Any) -> None:
    with pytest.raises(LocalProtocolError, match="invalid close code") as raised:
        check_close(code, "")

    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "reason", [None, b"bye", 1, "cut \ud83d", "x" * 124, "é" * 62, "x" * 10**6]
)
def test_close_with_an_unwritable_reason_is_rejected(reason: Any) -> None:
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
def test_reported_close_code_is_understood(code: int | None, reported: int | None) -> None:
    assert reported_code(code) == reported


@pytest.mark.parametrize("code", [True, -1, 0, 999, 1015, 5000, 99999, 1005.0, "1000", "x", b"x"])
def test_reported_code_that_no_frame_carries_is_rejected(code: Any) -> None:
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
def test_reply_to_a_close_has_a_code_that_may_be_sent(code: int | None, reply: int) -> None:
    assert reply_to(code) == reply
