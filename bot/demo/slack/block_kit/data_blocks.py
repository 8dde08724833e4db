"""The shape and size of Slack's blocks for data, judged as its API judges them. Pure.

Sources: docs.slack.dev/reference/block-kit/blocks/data-table-block and data-visualization-block. Two editions of
those pages disagree (101 or 201 rows of a table; 6 or 12 segments and series of a chart): the stricter one counts.
"""

import math
from collections import Counter
from collections.abc import Iterator

from bot.demo.slack.block_kit.blocks import Check, array, integer, obj, string, typed
from bot.demo.slack.block_kit.task_blocks import block as other_block

TABLE_ROWS = 101
TABLE_COLUMNS = 20
TABLE_CHARACTERS_MOST = 20_000
"""Characters over all cells of the data tables of one message."""
CHARTS_MOST = 2
"""Charts in one message."""


def number(value: object, at: str) -> Iterator[str]:
    """A number that JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        yield f"must be a number [json-pointer:{at}]"


def _number_above_zero(value: object, at: str) -> Iterator[str]:
    problems = list(number(value, at))
    yield from problems
    if not problems and isinstance(value, int | float) and value <= 0:
        yield f"must be greater than 0 [json-pointer:{at}]"


_RAW = {
    "raw_text": obj({"text": string(TABLE_CHARACTERS_MOST)}),
    "raw_number": obj({"value": number, "text": string(TABLE_CHARACTERS_MOST)}),
}
_TABLE = obj(
    {
        "caption": string(TABLE_CHARACTERS_MOST),
        "rows": array(array(typed({**_RAW, "rich_text": other_block}), TABLE_COLUMNS), TABLE_ROWS),
    },
    {"block_id": string(255), "page_size": integer, "row_header_column_index": integer},
)


def _table(value: object, at: str) -> Iterator[str]:
    problems = list(_TABLE(value, at))
    yield from problems
    if problems or not isinstance(value, dict):
        return
    rows = value["rows"]
    if len(rows) < 2:
        yield f"no fewer than 2 items allowed [json-pointer:{at}/rows]"
    if len({len(row) for row in rows}) > 1:
        yield f"all rows must have the same number of cells [json-pointer:{at}/rows]"
    for index, cell in enumerate(rows[0]):
        if cell["type"] == "rich_text":
            yield f"unsupported type: rich_text [json-pointer:{at}/rows/0/{index}/type]"
    if not 1 <= value.get("page_size", 5) <= 100:
        yield f"must be between 1 and 100 [json-pointer:{at}/page_size]"
    if not 0 <= value.get("row_header_column_index", 0) < len(rows[0]):
        yield f"must be the index of a column [json-pointer:{at}/row_header_column_index]"


_POINT = obj({"label": string(20), "value": number})
_SERIES = obj({"name": string(20), "data": array(_POINT, 20)})
_AXIS = obj({"categories": array(string(20), 20)}, {"x_label": string(50), "y_label": string(50)})
_DRAWN = obj({"series": array(_SERIES, 6), "axis_config": _AXIS})


def _series(value: object, at: str) -> Iterator[str]:
    problems = list(_DRAWN(value, at))
    yield from problems
    if problems or not isinstance(value, dict):
        return
    categories = value["axis_config"]["categories"]
    yield from _repeated(categories, f"{at}/axis_config/categories")
    yield from _repeated([each["name"] for each in value["series"]], f"{at}/series")
    for index, each in enumerate(value["series"]):
        if Counter(point["label"] for point in each["data"]) != Counter(categories):
            yield f"labels must be those of the categories [json-pointer:{at}/series/{index}/data]"


def _repeated(names: list[str], at: str) -> Iterator[str]:
    for name, times in Counter(names).items():
        if times > 1:
            yield f"`{name}` already exists [json-pointer:{at}]"


_SEGMENT = obj({"label": string(20), "value": _number_above_zero})
_CHART = typed(
    {
        "pie": obj({"segments": array(_SEGMENT, 6)}),
        **dict.fromkeys(("bar", "area", "line"), _series),
    }
)

_BLOCKS: dict[str, Check] = {
    "data_table": _table,
    "data_visualization": obj({"title": string(50), "chart": _CHART}, {"block_id": string(255)}),
}


def block(value: object, at: str) -> Iterator[str]:
    """One block of a message, of data or any other."""
    kind = value.get("type") if isinstance(value, dict) else None
    yield from _BLOCKS.get(str(kind), other_block)(value, at)


def table_characters(value: object) -> int:
    """The characters that count for a data table that is well formed."""
    if not isinstance(value, dict) or value.get("type") != "data_table":
        return 0
    return sum(len(str(cell.get("text", ""))) for row in value["rows"] for cell in row)
