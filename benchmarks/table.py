"""Text tables of rows and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Figure", "table", "targets", "times"]


@dataclass(frozen=True)
class Figure:
    """A target of the project, and what was measured: at most as much, or below."""

    what: str
    target: float
    measured: float | None
    unit: str = "x"
    cpu: float | None = None
    """The same figure by CPU time, which other programs change less; None if it is not measured."""
    lost_above: float = 2.0
    """Multiple of the target above which a fast path is lost."""

    @property
    def reached(self) -> bool:
        """Whether the target is reached; False where nothing was measured."""
        return self.measured is not None and self.measured <= self.target

    @property
    def lost(self) -> bool:
        """Whether it is so far beyond that noise does not explain it."""
        return self.measured is not None and self.measured > self.lost_above * self.target


def times(ratio: dict[str, float]) -> str:
    """A ratio with its spread."""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in columns, the first to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    text = [f"\n{title}\n"]
    for line in lines:
        cells = [
            f"{cell:{'<' if n == 0 else '>'}{width}}"
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def targets(figures: Sequence[Figure]) -> str:
    """Target, measured and reached, for every figure."""
    rows = []
    for figure in figures:
        measured = "not measured" if figure.measured is None else _value(figure, figure.measured)
        reached = "" if figure.measured is None else "yes" if figure.reached else "no"
        cpu = "" if figure.cpu is None else _value(figure, figure.cpu)
        rows.append([figure.what, _value(figure, figure.target), measured, cpu, reached])
    return table("targets", ["", "at most", "measured", "by CPU time", "reached"], rows)


def _value(figure: Figure, value: float) -> str:
    return f"{value:.2f} {figure.unit}"
