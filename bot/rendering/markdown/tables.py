"""Markdown tables: parsed, and written as Markdown or as aligned text."""

import re
import unicodedata
from dataclasses import dataclass

MOST_ROWS = 100
"""Most rows that Slack draws, including the heading. Source: docs.slack.dev/reference/block-kit/blocks/table-block."""
MOST_COLUMNS = 20
"""Most columns that Slack draws. Source: the same page."""

_EMPTY = "\u200b"
"""Content of an empty cell, which Slack refuses. Unlike a space it is not trimmed."""
_CELL_END = re.compile(r"(?<!\\)\|")
_MARKUP = re.compile(r"\*\*|`")
_WIDEST_PADDED = 40
_MOST_GROWTH = 4

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a table as written. Rows may differ in length."""

    heading: Row
    alignment: Row
    rows: tuple[Row, ...]

    @property
    def columns(self) -> int:
        """Length of the longest row. Cells that Markdown would drop widen the table instead."""
        return max(len(row) for row in (self.heading, *self.rows))

    @property
    def can_be_drawn(self) -> bool:
        """Whether Slack draws a table of this size."""
        return len(self.rows) + 1 <= MOST_ROWS and self.columns <= MOST_COLUMNS

    def markdown_heading(self) -> str:
        """Write the heading and the line of dashes under it."""
        dashes = (*self.alignment, *["---"] * (self.columns - len(self.alignment)))
        return _markdown_row(self.heading, self.columns) + _markdown_row(dashes, self.columns)

    def markdown_rows(self) -> list[str]:
        """Write the other rows, each as a line."""
        columns = self.columns
        return [_markdown_row(row, columns) for row in self.rows]

    def aligned(self) -> str:
        """Write the table for a fixed-width font, padded unless that makes it much longer."""
        rows = [tuple(_shown(cell) for cell in row) for row in (self.heading, *self.rows)]
        columns = self.columns
        if columns > MOST_COLUMNS:
            return _unpadded(rows)
        rows = [_filled(row, columns) for row in rows]
        widths = [min(_WIDEST_PADDED, max(map(_width, column))) for column in zip(*rows, strict=True)]
        written = sum(len(cell) + 1 for row in rows for cell in row)
        if len(rows) * sum(widths) > _MOST_GROWTH * written + 1_000:
            return _unpadded(rows)
        lines = [" | ".join(map(_padded, row, widths)).rstrip() + "\n" for row in rows]
        rule = "-+-".join("-" * width for width in widths) + "\n"
        return "".join([lines[0], rule, *lines[1:]])


def read_table(lines: list[str]) -> Table:
    """Parse the lines of a table: the heading, the line of dashes, the rows."""
    heading, dashes, *rows = [_cells(line) for line in lines]
    return Table(heading, dashes, tuple(rows))


def table_of(rows: list[list[str]]) -> Table:
    """Build a table from its cells, the heading first."""
    heading, *others = [tuple(row) for row in rows]
    return Table(heading, (), tuple(others))


def _cells(line: str) -> Row:
    cells = [cell.strip() for cell in _CELL_END.split(line.strip())]
    first = 1 if len(cells) > 1 and not cells[0] else 0
    last = -1 if len(cells) > 1 and not cells[-1] else None
    return tuple(cells[first:last])


def _filled(row: Row, columns: int) -> Row:
    return (*row, *[""] * (columns - len(row)))


def _markdown_row(row: Row, columns: int) -> str:
    return "| " + " | ".join(cell or _EMPTY for cell in _filled(row, columns)) + " |\n"


def _unpadded(rows: list[Row]) -> str:
    return "".join(" | ".join(row).rstrip() + "\n" for row in rows)


def _shown(cell: str) -> str:
    return _MARKUP.sub("", cell.replace("\\|", "|"))


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
