"""Read Omni's CSV, and write CSV files that are safe to open in a spreadsheet."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from math import isfinite

LONGEST_CELL = 16 * 1024 * 1024
"""Characters. As long as the largest response body; the default of `csv` is 128 KiB."""
csv.field_size_limit(LONGEST_CELL)

BYTE_ORDER_MARK = "\ufeff"
"""Tells Excel that a CSV file is UTF-8."""
_FORMULA = re.compile(
    r"(?:\A|(?<=[;|\t\r\n]))(?=[ \u00a0\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])|\A(?=[ \u00a0]*[\t\r\n])"
)
"""Where a formula may begin in a cell; the last four signs are full-width. Not only at its start: a spreadsheet with
the semicolon as list separator ignores quotes after a comma, and reads `"a","b;=c"` as `a,"b` and `=c"`.
Source: owasp.org/www-community/attacks/CSV_Injection."""
_CURRENCY = "[$€£¥]?"
_PLAIN_NUMBER = re.compile(rf"[+-]?{_CURRENCY}(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?%?", re.ASCII)
_COUNTED = re.compile(
    rf"([+-]?){_CURRENCY}((?:0|[1-9]\d*|[1-9]\d{{0,2}}(?:,\d{{3}})+)(?:\.\d+)?)%?", re.ASCII
)
_MOST_DIGITS = 15
"""A number with more digits is treated as an id. A float could not hold it exactly."""

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The first rows of a table. All are as long as the header."""

    heading: Row
    rows: tuple[Row, ...]
    total: int
    """Number of rows in the whole table, without the header."""

    @property
    def are_all(self) -> bool:
        """Whether this is the whole table."""
        return len(self.rows) == self.total

    def first(self, most: int) -> "Rows":
        """Return only the first `most` rows."""
        return Rows(self.heading, self.rows[:most], self.total)


def read_rows(text: str, most: int) -> Rows:
    """Return the header and the first `most` rows of a CSV text. Fills short rows and skips blank lines."""
    lines = _lines(text)
    heading = tuple(next(lines, []))
    kept: list[Row] = []
    total = 0
    for line in lines:
        total += 1
        if len(kept) < most:
            kept.append(tuple(line))
    columns = max(len(row) for row in (heading, *kept))
    return Rows(_filled(heading, columns), tuple(_filled(row, columns) for row in kept), total)


def number(cell: str) -> float | None:
    """Return the number in a cell, in any of Omni's formats (`678,994.41`, `$12.50`, `4%`), or None.

    `007` and numbers of more than 15 digits are ids, not numbers.
    """
    found = _COUNTED.fullmatch(cell.strip())
    if found is None:
        return None
    sign, digits = found.group(1), found.group(2).replace(",", "")
    if len(digits) > _MOST_DIGITS:
        return None
    value = float(sign + digits)
    return value if isfinite(value) else None


def harmless(cell: str) -> str:
    """Put an apostrophe before anything in a cell that a spreadsheet may treat as a formula.

    Plain numbers such as `-12.5` and `+3` stay unchanged.
    """
    return cell if _PLAIN_NUMBER.fullmatch(cell.strip(" ")) else _FORMULA.sub("'", cell)


def csv_file(text: str) -> bytes:
    """Return a CSV text as a file for spreadsheets, empty if there are no rows.

    Cells are harmless and quoted, line ends as in RFC 4180, the encoding UTF-8 with a byte order mark.
    """
    written = StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(
        [harmless(cell) for cell in line] for line in _lines(text)
    )
    content = written.getvalue()
    return (BYTE_ORDER_MARK + content).encode("utf-8", "replace") if content else b""


def _lines(text: str) -> Iterator[list[str]]:
    reader = csv.reader(StringIO(text.removeprefix(BYTE_ORDER_MARK), newline=""))
    return (line for line in reader if line)


def _filled(row: Row, columns: int) -> Row:
    return (*row, *[""] * (columns - len(row)))
