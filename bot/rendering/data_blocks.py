"""Render the rows of a query as Slack's data table and chart blocks.

Limits: docs.slack.dev/reference/block-kit/blocks/data-table-block and data-visualization-block. Versions of those pages
differ about some limits (101 or 201 rows, 6 or 12 series). The smaller ones are used here.
"""

import re

from bot.domain import Block, QueryData, strip_control_chars
from bot.rendering.csv_export import Row, Rows, number, read_rows
from bot.rendering.markdown.mrkdwn import without_mentions

MOST_ROWS = 100
"""Rows of a table, without the header."""
MOST_COLUMNS = 20
LONGEST_TABLE = 7_000
"""Characters in all cells. Slack documents 20,000, but has refused messages of about 11,000."""
MOST_POINTS = 20
MOST_SERIES = 6
LONGEST_LABEL = 20
LONGEST_TITLE = 50
_LONGEST_CELL = 200
_LONGEST_NAME = 100
_ROWS_PER_PAGE = 10
_EMPTY = "\u200b"
"""Shown in an empty cell, because Slack refuses one. Unlike a space, it is not trimmed."""
_DAY_OR_MONTH = re.compile(r"\d{4}-\d{2}(?:-\d{2})?(?:[T ][\d:.]+Z?)?|\d{4}(?:-?Q[1-4])?", re.ASCII)


def table(rows: Rows, caption: str) -> Block | None:
    """Render the rows as a table. None without rows, or beyond Slack's limits."""
    cells = [
        [_header_cell(cell) for cell in rows.heading],
        *([_cell(cell) for cell in row] for row in rows.rows),
    ]
    characters = sum(len(cell["text"]) for row in cells for cell in row)
    if not rows.rows or len(rows.rows) > MOST_ROWS or len(rows.heading) > MOST_COLUMNS:
        return None
    if characters > LONGEST_TABLE:
        return None
    return {
        "type": "data_table",
        "caption": one_line(caption, _LONGEST_NAME) or "Data",
        "rows": cells,
        "page_size": _ROWS_PER_PAGE,
    }


def chart(query: QueryData) -> Block | None:
    """Render a query as a chart: a line for ordered dates, otherwise bars.

    None unless the first column holds unique labels, the others numbers, and all of it is within Slack's limits.
    """
    if query.csv is None or query.is_truncated:
        return None
    rows = read_rows(query.csv, MOST_POINTS + 1)
    labels = [_label(row[0]) for row in rows.rows if row]
    names = [_label(name) for name in rows.heading[1:]]
    if not rows.are_all or not 2 <= len(labels) <= MOST_POINTS or not 1 <= len(names) <= MOST_SERIES:
        return None
    if not _are_unique_labels(labels) or not _are_unique_labels(names):
        return None
    series = []
    for column, name in enumerate(names, start=1):
        values = [number(row[column]) for row in rows.rows]
        if None in values:
            return None
        points = [{"label": label, "value": value} for label, value in zip(labels, values, strict=True)]
        series.append({"name": name, "data": points})
    is_time_series = labels == sorted(labels) and all(map(_DAY_OR_MONTH.fullmatch, labels))
    axis = {"categories": labels} | ({"x_label": heading} if (heading := _label(rows.heading[0])) else {})
    content = {"type": "line" if is_time_series else "bar", "series": series, "axis_config": axis}
    title = one_line(query.name or "", LONGEST_TITLE) or "Data"
    return {"type": "data_visualization", "title": title, "chart": content}


def one_line(text: str, limit: int) -> str:
    """Return a text as one line of plain text: without mentions, at most `limit` characters."""
    line = without_mentions(" ".join(strip_control_chars(text[: limit * 8]).split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def fitting(rows: Rows) -> Rows:
    """Return the first rows, as many as fit into a table."""
    row_lengths = [sum(min(len(cell), _LONGEST_CELL) + 1 for cell in row) for row in rows.rows[:MOST_ROWS]]
    available = LONGEST_TABLE - sum(min(len(name), _LONGEST_NAME) + 1 for name in rows.heading)
    count = 0
    for length in row_lengths:
        available -= length
        if available < 0:
            break
        count += 1
    return rows.first(count)


def _header_cell(cell: str) -> Block:
    return {"type": "raw_text", "text": one_line(cell, _LONGEST_NAME) or _EMPTY}


def _cell(cell: str) -> Block:
    text = one_line(cell, _LONGEST_CELL)
    value = number(cell)
    if value is not None:
        return {"type": "raw_number", "value": value, "text": text}
    return {"type": "raw_text", "text": text or _EMPTY}


def _label(cell: str) -> str:
    # Whole or empty: shortened labels might no longer be unique.
    label = one_line(cell, LONGEST_LABEL + 1)
    return label if len(label) <= LONGEST_LABEL else ""


def _are_unique_labels(labels: list[str] | Row) -> bool:
    return all(labels) and len(set(labels)) == len(labels)
