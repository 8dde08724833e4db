"""Omni's CSV: its rows, the numbers among them, and the file that is safe to open in a spreadsheet."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from math import isfinite

LONGEST_CELL = 16 * 1024 * 1024
"""Characters. No cell is longer than the body that it came in; the module's own limit is 128 KiB."""
csv.field_size_limit(LONGEST_CELL)

BYTE_ORDER_MARK = "\ufeff"
"""Tells Excel that a CSV file is UTF-8."""
_FORMULA = re.compile(
    r"(?:\A|(?<=[;|\t\r\n]))(?=[ \u00a0\"]*[=+\-@\uff1d\uff0b\uff0d\uff20])|\A(?=[ \u00a0]*[\t\r\n])"
)
"""Where a formula may begin in a cell; the last four signs are the full-width forms. Not only at its start: a
spreadsheet whose list separator is the semicolon, say, heeds no quotes behind a comma, and reads `"a","b;=c"` as
`a,"b` and `=c"`. Source: owasp.org/www-community/attacks/CSV_Injection."""
_CURRENCY = "[$€£¥]?"
_PLAIN_NUMBER = re.compile(rf"[+-]?{_CURRENCY}(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?%?", re.ASCII)
_COUNTED = re.compile(
    rf"([+-]?){_CURRENCY}((?:0|[1-9]\d*|[1-9]\d{{0,2}}(?:,\d{{3}})+)(?:\.\d+)?)%?", re.ASCII
)
_MOST_DIGITS = 15
"""A number with more digits is an id, and a float would not hold it."""

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The beginning of a table. All rows are as long as the heading."""

    heading: Row
    rows: tuple[Row, ...]
    total: int
    """How many rows there are without the heading, also those that are not here."""

    @property
    def are_all(self) -> bool:
        """Whether nothing was left out."""
        return len(self.rows) == self.total

    def first(self, most: int) -> "Rows":
        """The first `most` of them."""
        return Rows(self.heading, self.rows[:most], self.total)


def read_rows(text: str, most: int) -> Rows:
    """The heading and the first `most` rows of a CSV text; short rows are filled up, blank lines left out."""
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
    """The number that a cell is, however Omni formatted it (`678,994.41`, `$12.50`, `4%`); None for anything else.

    `007` and numbers of more than 15 digits are none: they name something.
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
    """Return a cell that no spreadsheet takes for a formula: what might be one gets a leading apostrophe.

    Plain numbers such as `-12.5` and `+3` stay what they are.
    """
    return cell if _PLAIN_NUMBER.fullmatch(cell.strip(" ")) else _FORMULA.sub("'", cell)


def csv_file(text: str) -> bytes:
    """Return a CSV text as a file for spreadsheets: harmless cells, each in quotes, RFC 4180 line ends, UTF-8 with a
    byte order mark.

    Empty where there is nothing in it.
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
