"""Numbers and requested waits in header fields and JSON of an HTTP response.

Parsing is lenient: compatible servers and proxies write fractions, nulls, dates, text, several
values and absurd sizes. No input raises, and of several waits the longest counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["MAX_RETRY_AFTER", "json_value", "number", "parse_retry_after", "whole"]

MAX_RETRY_AFTER = 30 * 86400.0
"""Seconds. Longer waits are reduced to this."""
_MAX_TEXT_LENGTH = 4096
# Patterns are compiled on first use, and kept by `re`: most connections read no error response.
_FLAGS = re.ASCII | re.IGNORECASE
_NUMBER = r"[\s\"']*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?"
_ZONE = r"(?:\s*(?P<zone>Z|GMT|UTC|[+-]\d{2}:?\d{2})\b)?"
_DATES = tuple(
    form + _ZONE
    for form in (
        # RFC 9110, section 5.6.7: IMF-fixdate, with the obsolete forms of RFC 850 and asctime.
        r"(?:[a-z]{3,9},\s*)?(?P<day>\d{1,2})[ -](?P<month>[a-z]{3})[ -](?P<year>\d{2,4})\s+"
        + _TIME,
        rf"[a-z]{{3}}\s+(?P<month>[a-z]{{3}})\s+(?P<day>\d{{1,2}})\s+{_TIME}\s+(?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}})-(?P<month>\d{{2}})-(?P<day>\d{{2}})[T ]{_TIME}",
    )
)


def number(value: Any) -> float | None:
    """Return a number, or a text that begins with one, perhaps quoted; None otherwise."""
    if isinstance(value, str):
        found = re.match(_NUMBER, value[:_MAX_TEXT_LENGTH], _FLAGS)
        return float(found[1]) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:  # an int of more than 308 digits
        return math.inf if value > 0 else -math.inf
    return None if math.isnan(value) else value


def whole(value: Any, *, most: int, up: bool = False) -> int | None:
    """Return a number as an int from 0 to `most`, a fraction rounded; None for other values."""
    read = number(value)
    if read is None:
        return None
    read = min(max(read, 0.0), float(most))
    return math.ceil(read) if up else math.floor(read)


def json_value(data: bytes) -> Any:
    """Return the value of a JSON text, with floats; raises ValueError or RecursionError.

    The standard library's decoder accepts NaN and lone surrogates, which the strict one rejects.
    """
    import json

    text = data.decode("utf-8-sig", "replace")
    return json.loads(text, parse_int=float, strict=False)


def parse_retry_after(
    headers: Mapping[str, str], body: bytes = b"", *, unix: float | None = None
) -> float | None:
    """Return the longest wait that an HTTP response asks for; None if it asks for no wait.

    `headers` are by lower-case name. A date is compared with the Date of the response, or else with
    `unix`, the present unix time.
    """
    waits = [min(wait, MAX_RETRY_AFTER) for wait in _waits(headers, body, unix) if wait >= 0]
    return max(waits, default=None)


def _waits(headers: Mapping[str, str], body: bytes, unix: float | None) -> Iterator[float]:
    dates = list(_dates(headers.get("date", ""))[0])
    now = dates[0] if dates else unix
    until, rest = _dates(headers.get("retry-after", ""))
    yield from _numbers(rest)
    if now is not None:
        yield from (at - now for at in until)
    # https://docs.discord.com/developers/topics/rate-limits#header-format: a bucket that is not
    # empty asks for no wait.
    remaining = max(_numbers(headers.get("x-ratelimit-remaining", "")), default=0.0)
    if remaining <= 0:
        yield from _numbers(headers.get("x-ratelimit-reset-after", ""))
        if now is not None:
            yield from (at - now for at in _numbers(headers.get("x-ratelimit-reset", "")))
    try:
        value = json_value(body)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict):
        values = value.get("retry_after")
        for one in values if isinstance(values, list) else [values]:
            read = number(one)
            if read is not None:
                yield read


def _numbers(text: str) -> Iterator[float]:
    for part in re.split("[,;]", text[:_MAX_TEXT_LENGTH]):
        read = number(part)
        if read is not None:
            yield read


def _dates(text: str) -> tuple[list[float], str]:
    """Return the dates in a text, as unix time, and the text without them."""
    text, found = text[:_MAX_TEXT_LENGTH], []
    for pattern in _DATES:
        form = re.compile(pattern, _FLAGS)
        found += [_unix(match.groupdict()) for match in form.finditer(text)]
        text = form.sub(",", text)
    return [at for at in found if at is not None], text


def _unix(date: Mapping[str, str | None]) -> float | None:
    month = date["month"] or ""
    if month.lower() in _MONTHS:
        number_of_month = _MONTHS.index(month.lower()) + 1
    elif month.isdecimal() and 1 <= int(month) <= 12:
        number_of_month = int(month)
    else:
        return None
    year, day, hour, minute, second = (
        int(date[part] or 0) for part in ("year", "day", "hour", "minute", "second")
    )
    if year < 100:
        year += 2000 if year < 70 else 1900
    # Days of the proleptic Gregorian calendar, from March on.
    y, m = (year, number_of_month - 3) if number_of_month > 2 else (year - 1, number_of_month + 9)
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719468
    return ((days * 24 + hour) * 60 + minute) * 60.0 + second - _offset(date["zone"] or "")


def _offset(zone: str) -> float:
    if zone[:1] not in ("+", "-"):
        return 0.0
    digits = zone[1:].replace(":", "")
    seconds = int(digits[:2]) * 3600.0 + int(digits[2:]) * 60.0
    return -seconds if zone[0] == "-" else seconds
