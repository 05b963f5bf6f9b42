"""SVG for the README: bars of the loopback's ratios to the baseline.

The ground is transparent and the colours are of a middle lightness, so that it is read on light and
on dark pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

__all__ = ["draw"]

_INK = "#808890"
_OWN = "#2f9e8f"
_OTHERS = "#9aa4ae"
_OWN_NAMES = {
    "asyncio": "gateway_proto, asyncio",
    "asyncio, data": "the same, and event.data",
    "asyncio, half": "the same, of each second event",
    "asyncio, typed": "the same, and event.decode(T)",
    "trio": "gateway_proto, trio",
    "trio, data": "the same, and event.data",
}
_LEFT_OUT = ("baseline", "baseline_full")
"""Baselines, which have no bar."""
_STYLE = {
    "svg.fonttype": "none",  # text stays text: a small file
    "svg.hashsalt": "gateway_proto",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def draw(report: dict[str, Any], file: Path) -> None:
    """Write the chart."""
    result = report["measurements"]["loopback"]
    found = result["compressions"]
    names = [name for name in found["none"] if name not in _LEFT_OUT]
    with matplotlib.rc_context(_STYLE):
        figure, axes = plt.subplots(
            1, len(found), figsize=(9.0, 0.28 * len(names) + 1.0), sharey=True, sharex=True
        )
        for axis, (compression, cells) in zip(axes, found.items(), strict=True):
            for place, name in enumerate(reversed(names)):
                if name in cells:
                    _bar(axis, place, cells[name]["of_baseline"], own=name in _OWN_NAMES)
            axis.axvline(1.0, color=_INK, linewidth=0.8, linestyle=":")
            axis.set_title(compression.replace("none", "no compression"), fontsize=9)
            axis.set_yticks(
                range(len(names)), [_OWN_NAMES.get(name, name) for name in reversed(names)]
            )
            axis.tick_params(length=0)
            for side in ("top", "right", "left"):
                axis.spines[side].set_visible(False)
        axes[len(axes) // 2].set_xlabel(
            f"time from READY to the last of {result['dispatches']:,} dispatches, "
            "1 is a bare loop that reads them (less is better)"
        )
        figure.tight_layout()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)


def _bar(axis: Any, place: int, ratio: dict[str, float], *, own: bool) -> None:
    axis.barh(place, ratio["median"], height=0.62, color=_OWN if own else _OTHERS)
    axis.annotate(
        f"{ratio['median']:.1f}",
        (ratio["median"], place),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )
