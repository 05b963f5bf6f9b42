"""Converters and checks of the fields of settings and commands, and of arguments.

A converter (`as_...`) returns the canonical form of a value that can mean only one thing, such as a
list where a tuple is kept, and any other value unchanged; it does not raise. A `Check` then raises
`LocalProtocolError` for each value that is not canonical; the error names the field, the value and
what is allowed. A `Check` is an attrs validator; `check_fields` applies a table of them to a
value, and `Check.named` applies one to an argument of a function.
"""

from __future__ import annotations

import copy
import enum
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from gateway_proto.errors import LocalProtocolError

__all__ = [
    "BOOL",
    "CALLBACK",
    "COUNT",
    "DURATION",
    "ID",
    "INTENTS",
    "JSON",
    "LARGEST",
    "MAX_NOW",
    "MAX_TOKEN_LENGTH",
    "POSITIVE",
    "SECONDS",
    "SHARD",
    "TEXT",
    "TOKEN",
    "WORD",
    "Check",
    "Checks",
    "Converters",
    "Each",
    "ErrorCheck",
    "as_bytes",
    "as_id",
    "as_ids",
    "as_member",
    "as_message",
    "as_now",
    "as_text",
    "as_tuple",
    "as_words",
    "check_fields",
    "instance_of",
    "integer",
    "is_id",
    "is_text",
    "member_of",
    "number",
    "one_of",
    "optional",
    "rejected",
    "shown",
    "token_problem",
    "word_of",
]

E = TypeVar("E", bound=enum.Enum)

LARGEST = 2**48
"""Maximum count or size in bytes: effectively no limit, and safe in additions."""
MAX_NOW = 2.0**40
"""Maximum of `now` in seconds, thirty thousand years; a later one counts as this. Beyond it, `now`
plus an interval may equal `now`, and a heartbeat would be due without end."""
_MAX_SECONDS = 10**9
"""Maximum duration, 31 years."""
MAX_TOKEN_LENGTH = 1024
"""Maximum length of a token in characters. Tokens of Discord have about 70."""
_MAX_SHOWN = 80
"""Maximum length of a value in an error, in characters."""


def shown(value: object) -> str:
    """Return the repr of a caller's value, shortened. Never raises."""
    try:
        text = repr(value)
    except Exception:  # of the caller's class, or of an int with more digits than Python formats
        return f"of type {type(value).__name__}"
    if len(text) > _MAX_SHOWN:
        text = f"{text[:_MAX_SHOWN]}... ({len(text)} characters)"
    return text


def rejected(name: str, value: object, expected: str) -> LocalProtocolError:
    """Return the error for a value that the field or argument `name` does not allow."""
    what = f"{name} is None" if value is None else f"invalid {name} {shown(value)}"
    return LocalProtocolError(f"{what}: expected {expected}")


class Check:
    """Condition on a value, with the text that follows "expected" in its error."""

    __slots__ = ("allows", "expected")

    def __init__(self, allows: Callable[[Any], bool], expected: str) -> None:
        self.allows: Callable[[Any], bool] = allows
        """Whether a value is allowed."""
        self.expected: str = expected
        """Description of the allowed values."""

    def __call__(self, owner: Any, attribute: Any, value: Any) -> None:
        """Validate a field of an attrs class."""
        if not self.allows(value):
            raise self.error(f"{type(owner).__name__}.{attribute.name}", value)

    def named(self, name: str, value: Any) -> None:
        """Raise `LocalProtocolError` unless `value` is allowed for the argument `name`."""
        if not self.allows(value):
            raise self.error(name, value)

    def error(self, name: str, value: Any) -> LocalProtocolError:
        """Return the error for a value that is not allowed."""
        return rejected(name, value, self.expected)


class Each(Check):
    """Check of a tuple: its number of members, and a check of each."""

    __slots__ = ("_member", "_range")

    def __init__(
        self, member: Check, expected: str, *, least: int = 0, most: int = LARGEST
    ) -> None:
        super().__init__(self._is_tuple_of_allowed, expected)
        self._member = member
        self._range = (least, most)

    def _has_allowed_size(self, value: tuple[Any, ...]) -> bool:
        return self._range[0] <= len(value) <= self._range[1]

    def _is_tuple_of_allowed(self, value: Any) -> bool:
        return (
            isinstance(value, tuple)
            and self._has_allowed_size(value)
            and all(map(self._member.allows, value))
        )

    def error(self, name: str, value: Any) -> LocalProtocolError:
        """Return the error for the tuple, its size, or its first member that fails the check."""
        if not isinstance(value, tuple):
            return super().error(name, value)
        if not self._has_allowed_size(value):
            return LocalProtocolError(f"{name} has {len(value)} members: expected {self.expected}")
        member = next(member for member in value if not self._member.allows(member))
        return self._member.error(name, member)


class ErrorCheck(Check):
    """Check by a function that returns the error for a value, or None if the value is allowed."""

    __slots__ = ("_error_of",)

    def __init__(self, error_of: Callable[[str, Any], LocalProtocolError | None]) -> None:
        super().__init__(lambda value: error_of("", value) is None, "an allowed value")
        self._error_of = error_of

    def error(self, name: str, value: Any) -> LocalProtocolError:
        """Return the function's error."""
        return self._error_of(name, value) or super().error(name, value)


Checks: TypeAlias = Mapping[str, Check]
"""Checks of fields by name."""
Converters: TypeAlias = Mapping[str, Callable[[Any], Any]]
"""Converters of fields by name."""


def check_fields(owner: Any, checks: Checks) -> None:
    """Check the fields of a value, in the order of the table."""
    for name, check in checks.items():
        value = getattr(owner, name)
        if not check.allows(value):
            raise check.error(f"{type(owner).__name__}.{name}", value)


# ----- converters -----


def as_tuple(values: Any) -> Any:
    """Return an iterable as a tuple, unless it is text, bytes or a mapping."""
    if isinstance(values, str | bytes | bytearray | memoryview | Mapping):
        return values
    return tuple(values) if isinstance(values, Iterable) else values


def as_id(value: Any) -> Any:
    """Return an int as its decimal digits, and digits without leading zeros."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    # Python does not convert ints of more than 4300 digits to str.
    if (is_number and value.bit_length() <= 64) or is_id(value):
        return str(int(value))
    return value


def as_ids(values: Any) -> Any:
    """Return one id, or an iterable of ids, as a tuple of ids."""
    if isinstance(values, str | int):
        return (as_id(values),)
    values = as_tuple(values)
    return tuple(map(as_id, values)) if isinstance(values, tuple) else values


def as_member(kind: type[E], value: Any) -> E:
    """Return the member of an enumeration with this value, or the value if none has it."""
    members: Mapping[Any, Any] = kind._value2member_map_
    return cast("E", members.get(value, value) if isinstance(value, str) else value)


def as_words(values: Any) -> Any:
    """Return one text, or an iterable of texts, as a tuple."""
    return (values,) if isinstance(values, str) else as_tuple(values)


def as_bytes(data: Any) -> bytes:
    """Return the bytes of a bytes-like object; raises `LocalProtocolError` for anything else."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    # The value is not shown: it may have the token of a client.
    raise LocalProtocolError(f"data is of type {type(data).__name__}: expected bytes")


def as_text(text: str | bytes) -> str | bytes:
    """Return a text, also of a str subclass, which msgspec does not decode, as a str or bytes."""
    return str.__str__(text) if isinstance(text, str) else text


def as_message(message: Any) -> str | bytes:
    """Return a WebSocket message as a str or bytes; raises `LocalProtocolError` for others."""
    if isinstance(message, str):
        return as_text(message)
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    raise LocalProtocolError(
        f"message is of type {type(message).__name__}: expected a str or bytes"
    )


def as_now(now: Any) -> float:
    """Return the caller's time as a float; raises `LocalProtocolError` unless it is a number."""
    if isinstance(now, int | float) and not isinstance(now, bool) and now == now:
        return float(min(max(now, -MAX_NOW), MAX_NOW))
    raise rejected("now", now, "a number of seconds of your clock")


# ----- conditions -----


def is_text(value: object) -> bool:
    """Whether a value is a str without lone surrogates, so that UTF-8 can encode it."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_id(value: object) -> bool:
    """Whether a value is a snowflake as a str: ASCII digits of a 64-bit integer."""
    # https://docs.discord.com/developers/reference#snowflakes
    # A gateway does not answer a request with another text as id, and later ends the session.
    is_digits = isinstance(value, str) and value.isascii() and value.isdecimal()
    return is_digits and len(str(value)) <= 20 and int(str(value)) < 2**64


def _is_callback(value: object) -> bool:
    while isinstance(value, functools.partial):
        value = value.func
    return callable(value) and not any(
        test(function)
        for test in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
        for function in (value, type(value).__call__)
    )


def _is_shard(value: object) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(map(COUNT.allows, value))
    return is_pair and value[0] < value[1] < 2**31  # type: ignore[index]


def integer(low: int, high: int = LARGEST) -> Check:
    """Return a check for an int in a range. Rejects bool."""

    def allows(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Check(allows, f"an int from {low} to {high}")


def number(low: float, high: float, unit: str, *, is_open: bool = False) -> Check:
    """Return a check for an int or float in a range that excludes `low` if `is_open`."""

    def allows(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and low <= value <= high and not (is_open and value == low)

    begin = f"more than {low}" if is_open else f"{low}"
    return Check(allows, f"a number of {unit} from {begin} to {high}")


def token_problem(token: object) -> str | None:
    """Return a description of what is wrong with a token, without any part of the token."""
    if token is None:
        return "is None: expected a str"
    if not isinstance(token, str):
        return f"is of type {type(token).__name__}: expected a str"
    if not token.strip():
        return "is empty: expected a token"
    # Files and environment variables often add whitespace; a gateway rejects such a token.
    if token != token.strip():
        return "begins or ends with whitespace: expected the token alone"
    scheme, blank, _ = token.partition(" ")
    if blank and scheme.lower() in ("bot", "bearer"):
        return f'begins with "{scheme} ": expected the token alone, or "Bot " and the token'
    if token[0] in "\"'" and token[-1] == token[0]:
        return "has quotation marks around it: expected the token alone"
    if len(token) > MAX_TOKEN_LENGTH:
        return f"has {len(token)} characters: expected at most {MAX_TOKEN_LENGTH}"
    if not token.isascii():
        return "has a non-ASCII character: expected printable ASCII"
    if " " in token:
        return "contains a space: expected printable ASCII without spaces"
    return None if token.isprintable() else "contains a control character: expected printable ASCII"


def _token_error(name: str, token: object) -> LocalProtocolError | None:
    problem = token_problem(token)
    return None if problem is None else LocalProtocolError(f"{name} {problem}")


def instance_of(type_: type[Any] | tuple[type[Any], ...], expected: str) -> Check:
    """Return a check for an instance of a class, or of one of several."""
    return Check(lambda value: isinstance(value, type_), expected)


def member_of(kind: type[enum.Enum], expected: str | None = None) -> Check:
    """Return a check for a member of an enumeration; by default its error lists them."""
    return instance_of(kind, expected or ", ".join(map(str, kind)))


def word_of(kind: type[enum.Enum]) -> Check:
    """Return a check for a member of an enumeration whose error lists the values."""
    return instance_of(kind, f"one of {', '.join(str(member.value) for member in kind)}")


def one_of(words: Iterable[str]) -> Check:
    """Return a check for a str out of `words`."""
    allowed = tuple(words)
    return Check(
        lambda value: isinstance(value, str) and value in allowed, f"one of {', '.join(allowed)}"
    )


def optional(check: Check) -> Check:
    """Return a check that also allows None."""
    or_none, allows = copy.copy(check), check.allows
    or_none.allows = lambda value: value is None or allows(value)
    or_none.expected = f"{check.expected}, or None"
    return or_none


BOOL = instance_of(bool, "a bool")
CALLBACK = Check(_is_callback, "a function that is not async")
COUNT = integer(0)
POSITIVE = integer(1)
SECONDS = number(0, _MAX_SECONDS, "seconds")
DURATION = number(0, _MAX_SECONDS, "seconds", is_open=True)
ID = Check(is_id, "a snowflake: an int of 64 bits, or its decimal digits as a str")
INTENTS = integer(0, 2**53)
SHARD = Check(_is_shard, "(id, count), two ints, with id below count")
TOKEN = ErrorCheck(_token_error)
TEXT = Check(is_text, "a str without lone surrogates")
JSON = instance_of((str, bytes), "JSON as a str or bytes")
WORD = Check(
    lambda value: is_text(value) and value != "", "a str that is not empty, without lone surrogates"
)
