"""Options of a benchmark run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Options of all measurements."""

    dispatches: int = 60_000
    rounds: int = 7
    short: bool = False
    """For a run that only checks that nothing is lost: no peers, no sockets."""
