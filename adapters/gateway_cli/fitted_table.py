"""Tables that fit a width: columns are shortened or left out, and no cell is wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

__all__ = ["Column", "fitted_table", "shortened_at_the_end", "shortened_in_the_middle"]

_MARK = ".."
_NARROWEST = 4
"""Columns to which a cell is shortened at most."""
_END = 9
"""Columns of a name that stay at its end: members of one host differ there."""


def shortened_at_the_end(text: str, width: int) -> str:
    """Return the beginning of a text that is wider than `width`."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) > max(width - len(_MARK), 0):
        text = text[:-1]
    return text + _MARK[:width]


def shortened_in_the_middle(text: str, width: int) -> str:
    """Return the beginning and the end of a text that is wider than `width`."""
    if cell_len(text) <= width or width <= _END + len(_MARK):
        return shortened_at_the_end(text, width)
    end = text[-_END:]
    return shortened_at_the_end(text, width - cell_len(end)) + end


@attrs.frozen
class Column:
    """Column of a table; `name` is its heading."""

    name: str
    right: bool = False
    """Whether its cells are aligned on the right."""
    shorten: Callable[[str, int], str] | None = None
    """Shortens a text to a width. None: its cells are not shortened."""
    least: int = 0
    """Width to which it is shortened before other columns are left out."""
    dropped: int = 0
    """Rank among the columns that are left out if space is missing; 0: it stays."""


def fitted_table(columns: Sequence[Column], rows: Iterable[Sequence[Text]], width: int) -> Table:
    """Return a table of at most `width` columns of the terminal, if these are about 30."""
    cells = [list(row) for row in rows]
    natural = [
        max(cell_len(column.name), *(row[index].cell_len for row in cells), 0)
        for index, column in enumerate(columns)
    ]
    widths = {
        index: min(natural[index], max(column.least, cell_len(column.name)))
        if column.shorten
        else natural[index]
        for index, column in enumerate(columns)
    }

    def left() -> int:
        return width - sum(widths.values()) - len(widths) + 1

    for index in sorted(widths, key=lambda index: columns[index].dropped):
        if columns[index].dropped and left() < 0:
            del widths[index]
    # The last columns first: they have the longest texts.
    for index in sorted(widths, reverse=True):
        if columns[index].shorten:
            wanted = widths[index] + left()
            widths[index] = max(min(natural[index], wanted), _NARROWEST)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for index, place in widths.items():
        column = columns[index]
        table.add_column(
            shortened_at_the_end(column.name, place),
            justify="right" if column.right else "left",
            width=place,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in cells:
        table.add_row(
            *(_fitted(row[index], columns[index], place) for index, place in widths.items())
        )
    return table


def _fitted(cell: Text, column: Column, width: int) -> Text:
    if column.shorten is None or cell.cell_len <= width:
        return cell
    return Text(column.shorten(cell.plain, width), style=cell.style)
