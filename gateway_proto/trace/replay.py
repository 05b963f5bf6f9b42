"""Replay of a trace: the same calls on new objects, compared with the recorded results."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import msgspec
from wsproto.utilities import generate_accept_token

from gateway_proto._checks import Check, Each, as_tuple
from gateway_proto.errors import GatewayProtoError, LocalProtocolError
from gateway_proto.trace.instrument import REST_PREFIX
from gateway_proto.trace.recorder import FORMAT, VERSION, Recorder
from gateway_proto.trace.serialize import (
    Json,
    bytes_from_json,
    config_from_json,
    line_from_json,
    scenario_from_json,
    server_config_from_json,
    session_from_json,
    value_from_json,
)
from gateway_proto.trace.writer import TraceWriter
from gateway_proto.urls import Url

__all__ = ["Difference", "Step", "TraceError", "read", "replay"]

_LINES = Each(
    Check(lambda line: isinstance(line, str | bytes), "a line as a str or bytes"),
    "the lines of a trace, such as an open file",
)

_INVALID_LINE_ERRORS = (
    *(AttributeError, LookupError, TypeError, ValueError, ArithmeticError),
    *(RecursionError, msgspec.MsgspecError, LocalProtocolError),
)
"""The exceptions that an invalid line can raise in a replay."""
_COMPARED = ("raised", "returned", "made", "drew", "state", "timer", "waiting", "dial")
_HANDED_OVER = ("events", "sent")
_KEY = re.compile("^Sec-WebSocket-Key: ([^\r]*)\r\n", re.MULTILINE | re.IGNORECASE)
_BROKEN = re.compile(r"(invalid (?:zlib|zstd) data): .*")
"""A trace holds only the size of a broken message, so that its details cannot be the same."""


class TraceError(GatewayProtoError):
    """An invalid or incomplete trace. The message states the line."""


@attrs.frozen
class Difference:
    """A difference between the recorded and the replayed result."""

    what: str
    """The field of the line: state, timer, events, sent, dial, drew, ..."""
    recorded: Any
    replayed: Any


@attrs.frozen
class Step:
    """A line of a trace, and the differences of its replay."""

    number: int
    """The number of the line, from 1; 0 after the last line."""
    line: Json
    differences: tuple[Difference, ...] = ()


def read(lines: Iterable[str | bytes]) -> list[Json]:
    """Return the lines of a trace after the first, with all fields. Raises `TraceError`."""
    given = as_tuple(lines)
    _LINES.named("lines", given)
    texts = list(given)
    while texts and not texts[-1].strip():
        texts.pop()
    head, *read = [_decoded(n, text, len(texts)) for n, text in enumerate(texts, 1)] or [{}]
    if head.get("format") != FORMAT:
        raise TraceError(f"line 1: not a trace: expected the format {FORMAT!r}")
    if head.get("version") != VERSION:
        raise TraceError(
            f"line 1: unsupported trace version {head.get('version')!r}: expected {VERSION}; "
            f"gateway_proto {head.get('library')} wrote it"
        )
    return read


def _decoded(number: int, text: str | bytes, count: int) -> Json:
    try:
        return line_from_json(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        is_truncated = number == count and "truncated" in str(error)
        what = "the last line is truncated: remove it to read the rest" if is_truncated else error
        raise TraceError(f"line {number}: {what}") from None


def replay(lines: Iterable[str | bytes]) -> Iterator[Step]:
    """Make the calls of a trace on new objects, line by line.

    Raises `TraceError` if a line is invalid or refers to an unknown object.
    """
    read_lines = read(lines)
    replaying = _Replayer(read_lines)
    for number, line in enumerate(read_lines, 2):
        try:
            yield Step(number, line, replaying.step(number - 2))
        except _INVALID_LINE_ERRORS as error:
            what = f"missing field {error}" if isinstance(error, KeyError) else error
            raise TraceError(f"line {number}: {what}") from None


class _ReplayRecorder(Recorder):
    """Recorder of a replay, which has no secrets."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._log = TraceWriter(write, None)

    @property
    def log(self) -> TraceWriter:
        return self._log


class _Replayer:
    """The new objects of a replay."""

    def __init__(self, lines: list[Json]) -> None:
        self._lines = lines
        self._written: list[str] = []
        self._recorder = _ReplayRecorder(self._written.append)
        self._objects: dict[int, Any] = {}
        self._draws: deque[float] = deque()
        self._inside: list[Json] = []
        self._accepted: dict[int, deque[bytes]] = {}

    def step(self, index: int) -> tuple[Difference, ...]:
        """Make the call of a line."""
        line = self._lines[index]
        if self._inside:  # the previous call made it
            self._inside.pop(0)
            del self._written[:1]
            return self._differences(line, _COMPARED)
        following = itertools.islice(self._lines, index + 1, None)
        self._inside = list(itertools.takewhile(lambda line: "inside" in line, following))
        # The calls inside end before.
        self._draws = deque(n for each in (*self._inside, line) for n in each.get("drew", ()))
        self._written.clear()
        if "new" in line:
            self._make(line)
        elif "config" in line:
            random = self._recorder.log.record_random(self._draw)
            self._objects[line["id"]].config = server_config_from_json(line["config"], random)
            return ()
        elif "call" in line:
            self._call(line)
        elif "took" in line:
            self._take(line)
            return self._differences(line, _HANDED_OVER)
        else:
            return ()  # written by a later version
        return self._differences(line, _COMPARED)

    def _differences(self, line: Json, fields: tuple[str, ...]) -> tuple[Difference, ...]:
        got = line_from_json(self._written[0]) if self._written else {}
        pairs = ((field, line.get(field), got.get(field)) for field in fields)
        return tuple(
            Difference(what, recorded, replayed)
            for what, recorded, replayed in pairs
            if _comparable(recorded) != _comparable(replayed)
        )

    def _draw(self) -> float:
        return self._draws.popleft() if self._draws else 0.5

    def _make(self, line: Json) -> None:
        recorder = self._recorder
        recorder.log.count = line["id"] - 1
        recorder.log.now = line.get("at")
        if line["new"] == "server":
            self._objects[line["id"]] = recorder.server()
            return
        config = config_from_json(line["config"], self._draw)
        session = line.get("session")
        session = None if session is None else session_from_json(session, config)
        match line["new"]:
            case "client":
                gateway = line.get("gateway")
                target: Any = recorder.client(
                    config,
                    session=session,
                    gateway=None if gateway is None else Url.parse(gateway),
                    lookup_only=line.get("lookup_only", False),
                    on_slot_needed=self._slot_needed if line.get("asks_for_slots") else None,
                )
            case "connection":
                presence = line.get("presence")
                target = recorder.connection(
                    config,
                    line["url"],
                    now=line["at"],
                    session=session,
                    presence=None if presence is None else value_from_json(presence),
                    framing=line["framing"],
                )
            case "lookup":
                target = recorder.lookup(config, line["url"], now=line["at"])
            case kind:
                raise ValueError(f"unknown kind of object {kind!r}")
        self._objects[line["id"]] = target

    def _call(self, line: Json) -> None:
        target, name = self._object(line), line["call"]
        if name.startswith(REST_PREFIX):
            target, name = target.rest, name.removeprefix(REST_PREFIX)
        self._check(target, name)
        parameters = inspect.signature(getattr(type(target), name)).parameters
        given = {k: v for k, v in line.get("with", {}).items() if k in parameters}
        if "now" in parameters:
            given["now"] = line["at"]
        match name:
            case "receive_data":
                given["data"] = self._received(line)
            case "receive_message" if given["message"] is None:
                # A message with a secret was left out: the next message contains its text too.
                name = "handle_timer"
                del given["message"]
            case "receive_message":
                given["message"] = bytes_from_json(given["message"])
            case "send" | "_send_unchecked":
                given["message"] = value_from_json(given["message"])
            case "request":
                given["request"] = value_from_json(given["request"])
            case "set_scenario":
                given["scenario"] = scenario_from_json(given["scenario"])
            case "reply" if isinstance(given.get("body"), dict):
                given["body"] = _bytes(given["body"])
            case "dispatch" if given.get("to") is not None:
                ids = given["to"]
                given["to"] = lambda session: session.id in ids
            case _:
                pass
        if "made" in line:
            self._recorder.log.count = line["made"] - 1
        try:
            result = getattr(target, name)(**given)
        except Exception:
            return  # recorded again as `raised`, which is compared with the line
        if "made" in line:
            self._objects[line["made"]] = result

    def _slot_needed(self, _connection: object, _now: float) -> None:
        for line in self._inside:
            self._call(line)

    def _take(self, line: Json) -> None:
        number, name, target = line["id"], line["took"], self._object(line)
        self._check(target, name)
        with contextlib.suppress(LocalProtocolError):
            getattr(target, name)()
        if name == "data_to_send" and number not in self._accepted and self._written:
            self._accept(number, _key(line), _key(line_from_json(self._written[-1])))

    def _object(self, line: Json) -> Any:
        target = self._objects.get(line["id"])
        if target is None:
            raise ValueError(f"unknown object {line['id']}")
        return target

    def _check(self, target: Any, name: str) -> None:
        if name not in vars(target):  # only patched methods are recorded
            raise ValueError(f"a {type(target).__name__} has no call {name!r}")

    # wsproto generates the key of an upgrade request, and the response must match it.

    def _accept(self, number: int, recorded: str | None, replayed: str | None) -> None:
        if recorded is None or replayed is None:
            return
        reads: list[bytes] = []
        for line in self._lines:
            if line.get("id") == number and line.get("call") == "receive_data":
                reads.append(_bytes(line["with"]["data"]))
                if b"\r\n\r\n" in b"".join(reads[-2:]):
                    break
        old, new = (generate_accept_token(key.encode()) for key in (recorded, replayed))
        whole = b"".join(reads).replace(old, new, 1)
        self._accepted[number] = deque()
        for data in reads:
            self._accepted[number].append(whole[: len(data)])
            whole = whole[len(data) :]

    def _received(self, line: Json) -> bytes:
        accepted = self._accepted.get(line["id"])
        return accepted.popleft() if accepted else _bytes(line["with"]["data"])


def _bytes(json: Json) -> bytes:
    data = bytes_from_json(json)
    return data if isinstance(data, bytes) else data.encode()


def _key(line: Json) -> str | None:
    for item in line.get("sent", ()):
        found = _KEY.search(item.get("http", ""))
        if found is not None:
            return found.group(1)
    return None


def _comparable(value: Any) -> Any:
    """Return the value without parts that differ in every run: keys, tokens, broken data."""
    if isinstance(value, dict):
        items = ((key, _comparable(item)) for key, item in value.items() if key != "token")
        return {k: _KEY.sub("", v) if k == "http" else v for k, v in items}
    if isinstance(value, str):
        return _BROKEN.sub(r"\1", value)
    return [_comparable(item) for item in value] if isinstance(value, list) else value
