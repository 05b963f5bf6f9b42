"""Delays and numbers in headers and JSON of HTTP responses, valid or not."""

from __future__ import annotations

import email.utils
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proto.wire.http_values import (
    MAX_RETRY_AFTER,
    json_value,
    number,
    parse_retry_after,
    whole,
)

NOW = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (" +12.", 12.0),
        (".5", 0.5),
        ("1e2", 100.0),
        ("30 seconds", 30.0),
        ("1_000", 1.0),
        ("5, 120", 120.0),
        ('"10"', 10.0),
        (" '2.5'", 2.5),
        ('"soon"', None),
        ("120; 5", 120.0),
        ("90000", 90000.0),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("1e999", MAX_RETRY_AFTER),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("0", 0.0),
        ("0x10", 0.0),
        ("\N{ARABIC-INDIC DIGIT THREE}", None),
        ("x" * 10_000 + "5", None),
    ],
)
def test_retry_after_in_seconds_is_parsed_leniently(text: str, seconds: float | None) -> None:
    assert parse_retry_after({"retry-after": text}) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120.0),
        ("06 Nov 1994 08:51 GMT", 83.0),
        ("Sunday, 06-Nov-94 08:51:37 GMT", 120.0),
        ("Thursday, 01-Jan-26 00:00:00 GMT", MAX_RETRY_AFTER),
        ("Sun Nov  6 08:51:37 1994", 120.0),
        ("1994-11-06T08:51:37Z", 120.0),
        ("1994-11-06T09:51:37.250+01:00", 120.0),
        ("1994-11-06 07:51:37 -0100", 120.0),
        ("Sat, 29 Feb 9999 99:99:99 GMT", MAX_RETRY_AFTER),
        ("Sun, 06 Nov 1994 08:51:37 GMT, 5", 120.0),
        ("500, Sun, 06 Nov 1994 08:51:37 GMT", 500.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", None),
        ("Sun, 06 Xxx 1994 08:51:37 GMT", None),
        ("1994-99-06T08:51:37Z", None),
    ],
)
@pytest.mark.parametrize(
    ("headers", "unix"), [({"date": DATE}, None), ({}, NOW), ({"date": DATE}, 0.0)]
)
def test_retry_after_date_is_relative_to_the_response_date(
    text: str, seconds: float | None, headers: dict[str, str], unix: float | None
) -> None:
    assert parse_retry_after({"retry-after": text, **headers}, unix=unix) == seconds


def test_retry_after_date_without_current_date_is_ignored() -> None:
    assert parse_retry_after({"retry-after": DATE}) is None


@given(st.integers(0, 2**35))
def test_http_dates_of_every_form_are_parsed(unix: int) -> None:
    headers = {"retry-after": email.utils.formatdate(unix + 60, usegmt=True)}

    assert parse_retry_after(headers, unix=float(unix)) == 60.0


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"x-ratelimit-reset-after": "7.5"}, b"", 7.5),
        ({"x-ratelimit-reset-after": "7.5", "x-ratelimit-remaining": "0"}, b"", 7.5),
        ({"x-ratelimit-reset-after": "7.5", "x-ratelimit-remaining": "4"}, b"", None),
        ({"x-ratelimit-reset": str(NOW + 9), "date": DATE}, b"", 9.0),
        ({"x-ratelimit-reset": str(NOW + 9)}, b"", None),
        ({}, b'{"retry_after":64.57,"global":false}', 64.57),
        ({}, b'{"retry_after":"12"}', 12.0),
        ({}, b'{"retry_after":[1,null,"x",30]}', 30.0),
        ({}, b'{"retry_after":null}', None),
        ({}, b'{"retry_after":true}', None),
        ({}, b'{"retry_after":{}}', None),
        ({}, b'{"retry_after":NaN}', None),
        ({}, b'{"retry_after":1' + b"0" * 400 + b"}", MAX_RETRY_AFTER),
        ({}, b"[" * 10_000, None),
        ({}, b"\xff\xfe", None),
        ({}, b'\xef\xbb\xbf{"retry_after":5}', 5.0),
        ({}, b"[5]", None),
        ({"retry-after": "5", "x-ratelimit-reset-after": "9"}, b'{"retry_after":7}', 9.0),
        ({"retry-after": "5", "x-ratelimit-reset-after": "x"}, b'{"retry_after":70}', 70.0),
    ],
)
def test_longest_requested_delay_counts(
    headers: dict[str, str], body: bytes, seconds: float | None
) -> None:
    assert parse_retry_after(headers, body) == seconds


@given(
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "date", "x-ratelimit-reset-after", "x-ratelimit-remaining"]
        ),
        st.text() | st.floats().map(str) | st.integers().map(str) | st.just(DATE),
    ),
    st.binary() | st.from_regex(rb'\{"retry_after":.{0,20}\}', fullmatch=True),
    st.none() | st.floats(allow_nan=False),
)
def test_missing_headers_and_body_raise_no_error(
    headers: dict[str, str], body: bytes, unix: float | None
) -> None:
    wait = parse_retry_after(headers, body, unix=unix)

    assert wait is None or 0.0 <= wait <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (5, 5.0),
        (2.5, 2.5),
        ("7", 7.0),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (math.nan, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_number_may_be_given_as_text(value: Any, read: float | None) -> None:
    assert number(value) == read


@pytest.mark.parametrize(
    ("value", "up", "read"),
    [(2.5, False, 2), (2.5, True, 3), (-5, False, 0), (math.inf, True, 100), (None, True, None)],
)
def test_integral_number_is_rounded_and_bounded(value: Any, up: bool, read: int | None) -> None:
    assert whole(value, most=100, up=up) == read


def test_json_is_decoded_as_by_the_standard_library() -> None:
    assert json_value(b'{"a":1e999,"b":"\\ud800"}') == {"a": math.inf, "b": "\ud800"}
    assert json_value(json.dumps({"a": 1}).encode()) == {"a": 1.0}
