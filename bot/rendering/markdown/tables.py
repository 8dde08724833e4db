"""Writes a table for a fixed-width font."""

import unicodedata
from collections.abc import Set as AbstractSet

MOST_COLUMNS = 20
"""Most columns that are aligned, and that Slack draws.
Source: docs.slack.dev/reference/block-kit/blocks/table-block."""

_WIDEST_PADDED = 40
_MOST_GROWTH = 4


def aligned(rows: list[list[str]], right: AbstractSet[int]) -> str:
    """Write rows of one length, the heading first, with a line under it. Cells are padded, unless that makes the text
    much longer. `right`: the columns that are aligned to the right."""
    if len(rows[0]) > MOST_COLUMNS:
        return _unpadded(rows)
    sizes = [[_width(cell) for cell in row] for row in rows]
    widths = [min(_WIDEST_PADDED, max(column)) for column in zip(*sizes, strict=True)]
    written = sum(len(cell) + 1 for row in rows for cell in row)
    if len(rows) * sum(widths) > _MOST_GROWTH * written + 1_000:
        return _unpadded(rows)
    lines = [
        " | ".join(
            f"{' ' * (width - size)}{cell}" if at in right else f"{cell}{' ' * (width - size)}"
            for at, (cell, size, width) in enumerate(zip(row, row_sizes, widths, strict=True))
        ).rstrip()
        for row, row_sizes in zip(rows, sizes, strict=True)
    ]
    return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:]])


def _unpadded(rows: list[list[str]]) -> str:
    return "\n".join(" | ".join(row).rstrip() for row in rows)


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
