"""Data blocks as the page draws them: tables that page and sort, and charts.

Source of the shapes: docs.slack.dev/reference/block-kit/blocks/data-table-block and data-visualization-block.
"""

from collections.abc import Mapping
from typing import Any

from bot.demo.page_views.rich_text import rich_text
from bot.demo.page_views.text import Names

Raw = Mapping[str, Any]
View = dict[str, Any]


def data_table(block: Raw, names: Names) -> View:
    """A `data_table` block: its rows as cells, each with what it is sorted by."""
    head, *body = [[_cell(cell, names) for cell in row] for row in block.get("rows", [[]])]
    return {
        "type": "data_table",
        "caption": str(block.get("caption", "")),
        "page_size": block.get("page_size", 5),
        "row_header": block.get("row_header_column_index", 0),
        "head": head,
        "rows": body,
    }


def _cell(cell: Raw, names: Names) -> View:
    text = str(cell.get("text", ""))
    match cell.get("type"):
        case "rich_text":
            return {"text": rich_text(cell, names), "key": None}
        case "raw_number":
            return {"text": [text], "key": cell.get("value")}
        case _:
            return {"text": [text], "key": text.casefold()}


def chart(block: Raw) -> View:
    """A `data_visualization` block of any kind: labels, and the values of each series in their order."""
    drawn: Raw = block.get("chart", {})
    axes: Raw = drawn.get("axis_config", {})
    if drawn.get("type") == "pie":
        segments = drawn.get("segments", [])
        labels = [str(each["label"]) for each in segments]
        series = [{"name": "", "values": [each["value"] for each in segments]}]
    else:
        labels = [str(each) for each in axes.get("categories", [])]
        series = [
            {"name": str(each["name"]), "values": _ordered(each["data"], labels)}
            for each in drawn.get("series", [])
        ]
    return {
        "type": "chart",
        "title": str(block.get("title", "")),
        "kind": str(drawn.get("type", "")),
        "labels": labels,
        "series": series,
        "x_label": str(axes.get("x_label", "")),
        "y_label": str(axes.get("y_label", "")),
    }


def _ordered(points: list[Raw], labels: list[str]) -> list[Any]:
    values = {point["label"]: point["value"] for point in points}
    return [values.get(label) for label in labels]
