"""Values of a store: too large ones are rejected before they are decoded."""

from __future__ import annotations

import pytest

from gateway_proto.errors import DataError
from gateway_proto.fleet import Generations, GroupPlace, LogHead
from gateway_proto.fleet.feed_cursor import FeedCursor
from gateway_proto.fleet.records import MAX_VALUE_SIZE, decoded_value


@pytest.mark.parametrize("kind", [Generations, GroupPlace, LogHead])
def test_value_over_the_limit_is_not_decoded(kind: type[LogHead]) -> None:
    data = b'{"x":"%s"}' % (b" " * (MAX_VALUE_SIZE - 7))

    with pytest.raises(DataError) as error:
        kind.from_bytes(data)

    assert str(error.value).endswith(
        f"it has {MAX_VALUE_SIZE + 1} bytes: expected at most {MAX_VALUE_SIZE}"
    )


def test_value_of_the_limit_is_decoded() -> None:
    data = b'{"x":"%s"}' % (b" " * (MAX_VALUE_SIZE - 8))

    assert LogHead.from_bytes(data) == LogHead()


def test_cursor_over_the_limit_is_rejected() -> None:
    cursor = FeedCursor(LogHead(1, "claim", "a"))

    with pytest.raises(DataError, match="not the cursor of a group: it has 3000000 bytes"):
        cursor.begin(bytes(3_000_000), 1, start=LogHead())


@pytest.mark.parametrize("data", [b"", b"[", b"[" * 5000, b"\xff", b'"\xff"', b"1e999"])
def test_invalid_value_raises_data_error(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^data is not a value: "):
        decoded_value(data, LogHead, "a value")
