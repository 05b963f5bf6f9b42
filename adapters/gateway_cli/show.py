"""event, or error → a line for people."""

from __future__ import annotations

import contextlib
import enum
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import attrs
import msgspec
import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from gateway_proto import (
    Closed,
    CommandsWait,
    DialFailed,
    DialPlanned,
    Dispatch,
    GatewayFound,
    GaveUp,
    Heartbeat,
    HeartbeatAcked,
    HeartbeatLate,
    HeartbeatSent,
    Hello,
    HttpRequested,
    Opened,
    Ready,
    Resume,
    Resumed,
    Suspended,
    Then,
    UpdatePresence,
    UrlRefused,
)

__all__ = ["NOT_AS_TRACES", "Screen", "describe", "fail", "why"]

NOT_AS_TRACES = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)
"""What a line of JSON raises where it is shown, and no trace has such a one."""

_WIDEST = 100
_COLOURS = {"client": "cyan", "server": "magenta"}


def fail(message: str, *, status: int = 1) -> NoReturn:
    """Say on one line what is wrong, and end."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"gateway-proto: {message}", markup=False
    )
    raise typer.Exit(status)


def describe(event: Any) -> str:
    """What happened, in a few words; never a token."""
    match event:
        case DialPlanned():
            delay = f" in {event.delay:.1f} s" if event.delay >= 0.05 else ""
            return f"will {event.purpose.value} at {event.url}{delay} ({event.reason})"
        case DialFailed(url, error):
            return f"cannot connect to {url}: {error}"
        case GatewayFound(url):
            return f"the gateway is {url}"
        case Opened(path):
            return f"WebSocket open, {path}"
        case Hello(heartbeat_interval):
            return f"HELLO, a heartbeat every {heartbeat_interval} ms"
        case Ready():
            return f"READY, session {event.session_id[:8]}..., sequence {event.sequence}"
        case Resumed():
            return f"RESUMED, sequence {event.sequence}"
        case Dispatch():
            text = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
            return f"{event.name} #{event.sequence} {_short(text)}"
        case HeartbeatSent(d):
            return f"heartbeat {d!r}"
        case HeartbeatAcked(latency):
            return "heartbeat ACK" + ("" if latency is None else f", {latency * 1000:.1f} ms")
        case Heartbeat(d):
            return f"heartbeat {d!r}"
        case Resume():
            return f"Resume of {event.session_id[:8]}... after sequence {event.seq}"
        case UpdatePresence():
            playing = ", ".join(activity.name for activity in event.activities) or "nothing"
            return f"status {event.status}, playing {playing}, since {event.since}"
        case HttpRequested(method, path, status):
            return f"{method} {path} -> {status}"
        case UrlRefused(url, why):
            return f"will not go to {url}: {why}"
        case HeartbeatLate(seconds):
            return f"a heartbeat was {seconds:.1f} s late: something blocks the loop"
        case Suspended(seconds):
            return f"the clock jumped by {seconds:.0f} s: was the machine asleep?"
        case CommandsWait(count, seconds):
            return f"{count} commands wait for room, the first for {seconds:.0f} s"
        case GaveUp(reason):
            return f"gave up: {reason}"
        case Closed():
            return _closed(event)
        case _:
            return _short(repr(event))


def why(event: dict[str, Any]) -> str:
    """What a trace tells of an event, in a few words."""
    match event["type"]:
        case "DialPlanned":
            delay = f" in {event['delay']:.1f} s" if event["delay"] >= 0.05 else ""
            return f"{event['purpose']}{delay}: {event['reason']}"
        case "Closed":
            code = "no close frame" if event["code"] is None else event["code"]
            reason = event["error"] or event["reason"]
            return f"{code} by {event['by']}, then {event['then']}{reason and f': {reason}'}"
        case "Ready":
            return f"session {event['session_id'][:8]}..., sequence {event['sequence']}"
        case "SessionInvalidated":
            return "resumable" if event["resumable"] else "not resumable"
        case "ReconnectRequested":
            return f"op 7, to {event['url'] or 'another connection'}"
        case _:
            hidden = ("type", "d", "name", "request")
            fields = [f"{k} {v}" for k, v in event.items() if k not in hidden and v is not None]
            return ", ".join(fields)


def _closed(closed: Closed) -> str:
    code = "without a close frame" if closed.code is None else f"with {closed.code}"
    why = closed.error or closed.reason
    then = "" if closed.then is Then.STOP else f", then {closed.then.value}"
    return f"closed {code} by {closed.by.value}{f' ({why})' if why else ''}{then}"


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


class Screen:
    """Lines with a time and a speaker: coloured on a terminal, plain in a pipe, or as JSON."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._as_json = as_json

    @property
    def as_json(self) -> bool:
        """Whether the lines are for machines."""
        return self._as_json

    @property
    def has_foot(self) -> bool:
        """Whether something may stand below the lines: on a terminal."""
        return self._console.is_terminal and not self._as_json

    def line(self, who: str, text: str) -> None:
        """Print a line at once."""
        if self._as_json:
            self._print_json({"who": who, "text": text})
            return
        line = Text.assemble(
            (f"{self._seconds:6.2f}  ", "dim"),
            (f"{who:8}", _COLOURS.get(who, "bold")),
            text,
        )
        self._console.print(line)

    def event(self, who: str, event: Any, text: str) -> None:
        """Print an event: as a line, or with all its fields."""
        if self._as_json:
            name = type(event).__name__
            self._print_json({"who": who, "event": name, "text": text, **_fields(event)})
        else:
            self.line(who, text)

    @contextlib.contextmanager
    def foot(self, draw: Callable[[], RenderableType]) -> Iterator[Callable[[], None]]:
        """Keep something below the lines; what is yielded draws it anew."""
        with Live(draw(), console=self._console, auto_refresh=False, transient=True) as live:
            yield lambda: live.update(draw(), refresh=True)

    def verdict(self, text: str, *, good: bool) -> None:
        """Print the last line."""
        if self._as_json:
            self._print_json({"who": "verdict", "text": text, "good": good})
            return
        self._console.print(Text(text, style="bold green" if good else "bold red"))

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _print_json(self, fields: dict[str, Any]) -> None:
        line = {"seconds": round(self._seconds, 3), **fields}
        sys.stdout.write(json.dumps(line, ensure_ascii=False, default=_plain) + "\n")
        sys.stdout.flush()


def _fields(event: Any) -> dict[str, Any]:
    """Those that are shown: a token is not."""
    if isinstance(event, msgspec.Struct):
        return dict(event.__rich_repr__())
    return {
        field.name: getattr(event, field.name) for field in attrs.fields(type(event)) if field.repr
    }


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    is_value = isinstance(value, msgspec.Struct) or attrs.has(type(value))
    return _fields(value) if is_value else str(value)
