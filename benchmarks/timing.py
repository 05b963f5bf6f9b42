"""Medians, ratios and spread of rounds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["ratio", "spread", "timed"]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that some work takes, and what it returns; garbage of before is not charged to it."""
    gc.collect()
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def spread(values: list[float]) -> dict[str, float]:
    """The median, and the least and the most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(values: list[float], base: list[float]) -> dict[str, float]:
    """The ratio of the medians; and the least and the most of the ratios of single rounds."""
    each = [value / one for value, one in zip(values, base, strict=True)]
    median = statistics.median(values) / statistics.median(base)
    return {"median": median, "min": min(each), "max": max(each)}
