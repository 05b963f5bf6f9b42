"""Medians, ratios and spread of rounds."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["ratio", "spread", "timed"]


# Other programs do not change CPU time by much. On Windows it is counted in steps of 16 ms.
_clock = time.perf_counter if os.name == "nt" else time.process_time


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of some work, and its result; garbage of before is not charged to it."""
    gc.collect()
    began = _clock()
    result = work()
    return _clock() - began, result


def spread(values: list[float]) -> dict[str, float]:
    """The median, and the least and the most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(values: list[float], base: list[float]) -> dict[str, float]:
    """The ratio of the medians; and the least and the most of the ratios of single rounds."""
    each = [value / one for value, one in zip(values, base, strict=True)]
    median = statistics.median(values) / statistics.median(base)
    return {"median": median, "min": min(each), "max": max(each)}
