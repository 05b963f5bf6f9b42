"""name → target: what is fuzzed; each takes bytes, and raises where something is not as it must."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from tests.fuzzing.connection import connection
from tests.fuzzing.endpoint import endpoint
from tests.fuzzing.files import scenario, trace
from tests.fuzzing.frames import frames
from tests.fuzzing.inflate import inflate
from tests.fuzzing.payloads import json, term

__all__ = ["CORPUS", "TARGETS", "corpus"]

CORPUS = pathlib.Path(__file__).with_name("corpus")
TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "inflate": inflate,
    "json": json,
    "etf": term,
    "connection": connection,
    "endpoint": endpoint,
    "scenario": scenario,
    "trace": trace,
}


def corpus(name: str) -> list[pathlib.Path]:
    """The kept inputs of a target, in order."""
    return sorted((CORPUS / name).iterdir())
