"""Fuzz targets by name: each takes bytes, and raises if an expectation fails."""

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
    """Return the corpus files of a target, in order."""
    return sorted((CORPUS / name).iterdir())
