"""Validation of data blocks at their documented limits."""

import copy
from typing import Any

import pytest

from bot.demo.slack.block_kit.messages import judge

Block = dict[str, Any]


def cell(text: str = "x") -> Block:
    return {"type": "raw_text", "text": text}


def table(rows: int = 2, columns: int = 2, **more: Any) -> Block:
    return {"type": "data_table", "caption": "Top", "rows": [[cell()] * columns] * rows, **more}


def series(labels: list[str], **more: Any) -> Block:
    return {"name": "Revenue", "data": [{"label": label, "value": 1.5} for label in labels], **more}


def chart(kind: str = "bar", labels: tuple[str, ...] = ("a", "b"), **more: Any) -> Block:
    drawn = {"type": kind, "series": [series(list(labels))], "axis_config": {"categories": list(labels)}}
    return {"type": "data_visualization", "title": "Top", "chart": drawn | more}


PIE = {
    "type": "data_visualization",
    "title": "Share",
    "chart": {"type": "pie", "segments": [{"label": "a", "value": 1}]},
}
GOOD = {
    "table": table(),
    "largest table": table(101, 20),
    "one column": table(columns=1, page_size=100, row_header_column_index=0),
    "numbers": table() | {"rows": [[cell()], [{"type": "raw_number", "value": 1.5, "text": "1.50"}]]},
    "bars": chart(),
    "line": chart("line", tuple(f"l{n}" for n in range(20))),
    "six series": chart(series=[series(["a", "b"], name=f"s{n}") for n in range(6)]),
    "pie": PIE,
}
BAD = {
    "no caption": {"type": "data_table", "rows": table()["rows"]},
    "only a heading": table(1),
    "102 rows": table(102),
    "21 columns": table(columns=21),
    "ragged": table(rows=2) | {"rows": [[cell()], [cell(), cell()]]},
    "an empty cell": table() | {"rows": [[cell()], [cell("")]]},
    "a number without a text": table() | {"rows": [[cell()], [{"type": "raw_number", "value": 1}]]},
    "no number": table() | {"rows": [[cell()], [{"type": "raw_number", "value": float("inf"), "text": "x"}]]},
    "rich heading": table() | {"rows": [[{"type": "rich_text", "elements": []}], [cell()]]},
    "page size": table(page_size=101),
    "row header": table(row_header_column_index=2),
    "long title": chart() | {"title": "x" * 51},
    "long label": chart(labels=("x" * 21,)),
    "21 points": chart(labels=tuple(f"l{n}" for n in range(21))),
    "the same label twice": chart(labels=("a", "a")),
    "seven series": chart(series=[series(["a", "b"], name=f"s{n}") for n in range(7)]),
    "two series of a name": chart(series=[series(["a", "b"])] * 2),
    "a category without a value": chart(series=[series(["a"])]),
    "a slice of nothing": {**PIE, "chart": {"type": "pie", "segments": [{"label": "a", "value": 0}]}},
    "seven slices": {
        **PIE,
        "chart": {"type": "pie", "segments": [{"label": f"{n}", "value": 1} for n in range(7)]},
    },
    "an unknown chart": chart("radar"),
    "a strange type": {"type": ["data_table"]},
}


@pytest.mark.parametrize("name", GOOD)
def test_valid_data_blocks_are_accepted(name: str) -> None:
    assert judge("text", [GOOD[name]]) is None


@pytest.mark.parametrize("name", BAD)
def test_invalid_data_blocks_are_refused(name: str) -> None:
    refusal = judge("text", [BAD[name]])
    assert refusal is not None and refusal.error == "invalid_blocks"


def test_message_limits_charts_and_cell_text() -> None:
    assert judge("text", [chart(), copy.deepcopy(chart())]) is None
    assert judge("text", [chart()] * 3) is not None
    assert judge("text", [table() | {"rows": [[cell()], [cell("x" * 20_000)]]}]) is not None
