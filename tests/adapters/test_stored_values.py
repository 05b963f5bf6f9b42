"""Values that others have written into the store."""

from __future__ import annotations

import pytest

from gateway_fleet import StoreError
from gateway_fleet._stored_values import decode_stored

LIMIT = 2 * 2**20


def test_stored_value_of_the_maximum_size_is_decoded() -> None:
    value = b'{"a":"' + b"x" * (LIMIT - 8) + b'"}'

    assert len(value) == LIMIT
    assert decode_stored(value, dict[str, str], "the values") == {"a": "x" * (LIMIT - 8)}


@pytest.mark.parametrize(
    ("value", "error_text"),
    [
        (b" " * LIMIT + b"1", "it has 2097153 bytes: expected at most 2097152"),
        (b'{"a":1}', "Expected `str`, got `int` - at `$[...]`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"a":"\xff"}', "codec can't decode"),
    ],
    ids=["size", "type", "list", "UTF-8"],
)
def test_invalid_stored_value_raises_a_store_error(value: bytes, error_text: str) -> None:
    with pytest.raises(StoreError) as caught:
        decode_stored(value, dict[str, str], "the values")

    assert str(caught.value).startswith("the values in the engine are invalid: ")
    assert error_text in str(caught.value)
