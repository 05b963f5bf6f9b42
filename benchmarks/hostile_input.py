"""Growth of the cost of input that is made to be expensive, with its size: it should be linear.

Each case is measured with one size and with four times as much. A cost that grows with the square
of the size is four times the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.options import Options
from benchmarks.table import Figure, table, times
from benchmarks.timing import ratio, timed
from gateway_proto.server import Server, ServerConfig
from gateway_proto.trace.redactor import Redactor
from gateway_proto.wire import envelope

__all__ = ["CASES", "NAME", "Case", "figures", "measure", "show"]

NAME = "hostile_input"
_GROWTH = 4
_FLAT = 1.15
"""Ratio that counts as constant: runs of the same work differ by as much."""
_TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
_TOKENS = {
    "JSON": '"token":"%s",',
    "spaced JSON": '"token" : "%s",',
    "header": "Authorization: Bot %s\r\n",
    "ETF": "\x05tokenm\0\0\0\x10%s",
}
_PARTS = ("\\", "%4d", r"\u004d", "77,", "aM", "b\0\0\0M", "M", "/", "%")
"""Units of texts that look like parts of a token in another form."""
_ENVELOPES = (" ", ',"a":1', ", ", "\\", '"', "}")
"""Units of texts after a `d` that is not valid JSON."""


@dataclass(frozen=True)
class Case:
    """One kind of input. `prepare` returns the work on an input of a size."""

    name: str
    prepare: Callable[[int], Callable[[], object]]
    size: int
    """The smaller size."""


def _redact_tokens(form: str, count: int) -> Callable[[], object]:
    """Redact a text with many tokens that nobody has named."""
    text = "".join(form % f"tok-{number:08}.abc" for number in range(count))
    return lambda: Redactor().redact_text(text)


def _redact_long_token(size: int) -> Callable[[], object]:
    token = "abc-" * (size // 4)
    text = f'{{"token":"{token}","again":"{token}"}}'
    return lambda: Redactor().redact_text(text)


def _redact_parts(unit: str, size: int) -> Callable[[], object]:
    redactor = Redactor()
    redactor.add(_TOKEN)
    return partial(redactor.redact_text, unit * (size // len(unit)))


def _find_members(unit: str, size: int) -> Callable[[], object]:
    """Find the envelope of the same text again and again."""
    text = b'{"op":0,"t":"A","s":2,"d":NaN' + unit.encode() * (size // len(unit))

    def work() -> None:
        for _ in range(200):
            envelope.members(text)

    return work


def _log_with_waits(count: int) -> Callable[[], object]:
    """Add entries to the log of a server in which many requests wait for another one."""
    server = Server(ServerConfig(control="/control", received_log_limit=count))
    for _ in range(100):
        waiting = server.accept(now=0.0)
        waiting.receive_data(b"GET /control/wait?event=Resume HTTP/1.1\r\nHost: h\r\n\r\n", now=0.0)

    def work() -> None:
        for _ in range(count):
            server._context.log_received("Opened", 1)

    return work


CASES = (
    *(Case(f"tokens in {n}", partial(_redact_tokens, form), 500) for n, form in _TOKENS.items()),
    Case("one long token", _redact_long_token, 400_000),
    *(Case(f"parts of a token: {u!a}", partial(_redact_parts, u), 100_000) for u in _PARTS),
    *(Case(f"after d: {u!a}", partial(_find_members, u), 1000) for u in _ENVELOPES),
    Case("entries while requests wait", _log_with_waits, 250),
)


def measure(options: Options) -> dict[str, Any]:
    """CPU time for each unit of the larger size, of that of the smaller one."""
    rounds = 3 if options.short else options.rounds
    result: dict[str, Any] = {}
    for case in CASES:
        small: list[float] = []
        large: list[float] = []
        for round_ in range(rounds + 1):
            for found, size in ((small, case.size), (large, _GROWTH * case.size)):
                seconds, _ = timed(case.prepare(size))
                if round_:  # the first one warms up
                    found.append(seconds / size * 1e6)
        result[case.name] = ratio(large, small)
    return {"growth": result}


def show(result: dict[str, Any]) -> str:
    """The table."""
    rows = [[name, times(cell)] for name, cell in result["growth"].items()]
    return table(
        f"cost of each unit of hostile input in {_GROWTH} times as many", ["", "ratio"], rows
    )


def figures(result: dict[str, Any]) -> list[Figure]:
    """Against flat."""
    return [
        Figure(f"hostile input: {name}", _FLAT, cell["median"])
        for name, cell in result["growth"].items()
    ]
