"""What Show data puts into a thread: Slack takes each form, nothing in it comes alive, and nothing is claimed twice."""

import csv
import json
from io import StringIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.demo.slack.block_kit.messages import judge
from bot.domain.messages import Message
from bot.domain.results import JobResult, QueryData
from bot.domain.text import strip_control_chars
from bot.rendering.csv_export import read_rows
from bot.rendering.data_blocks import chart, fitting, table
from bot.rendering.data_messages import MOST_FILES, MOST_SHOWN, messages, uploads, with_rows
from tests.support.hostile_text import HOSTILE, WORDS
from tests.support.reading import LIVE

PRODUCTS = 'Product,Revenue\nSunglasses,"678,994.41"\nJeans,475072\n'


def csv_of(*rows: list[str]) -> str:
    written = StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()


def query(text: str = PRODUCTS, name: str | None = "Top products", **more: Any) -> QueryData:
    return QueryData(name, "success", text, **more)


def forms(*queries: QueryData, with_charts: bool = True) -> tuple[Message, ...]:
    return messages(list(queries), with_charts=with_charts)[0]


def kinds(message: Message) -> list[str]:
    return [block["type"] for block in message.blocks]


def block(message: Message, kind: str) -> Any:
    (found,) = [block for block in message.blocks if block["type"] == kind]
    return found


def test_small_result_is_a_sortable_table() -> None:
    rows = block(forms(query())[0], "data_table")["rows"]
    assert rows[0] == [{"type": "raw_text", "text": "Product"}, {"type": "raw_text", "text": "Revenue"}]
    assert rows[1][1] == {"type": "raw_number", "value": 678994.41, "text": "678,994.41"}
    assert len(rows) == 3


def test_last_variant_is_text_only() -> None:
    made = forms(query())
    assert [kinds(form) for form in made] == [
        ["section", "data_visualization", "data_table"],
        ["section", "data_table"],
        ["section", "section"],
        [],
    ]
    assert "Sunglasses | 678,994.41" in made[2].blocks[1]["text"]["text"]
    for form in made:
        assert form.text.startswith("Top products: 2 rows.") and "Sunglasses, 678,994.41" in form.text


@pytest.mark.parametrize("n_rows, shown", [(100, 100), (101, 20), (10_000, 20)])
def test_first_of_many_rows_are_shown(n_rows: int, shown: int) -> None:
    text = csv_of(["n", "name"], *([str(n), "x"] for n in range(n_rows)))
    message = forms(query(text))[0]
    assert len(block(message, "data_table")["rows"]) == shown + 1
    told = f"the first {shown} rows of {n_rows:,}" in str(message.blocks)
    assert told == (shown < n_rows)


@pytest.mark.parametrize(
    "more, told",
    [
        ({"is_truncated": True, "total_rows": 48_000}, "truncated by Omni: the first 2 rows of 48,000"),
        ({"is_truncated": True}, "truncated by Omni: the first 2 rows"),
        ({"is_truncated": True, "total_rows": 1}, "truncated by Omni: the first 2 rows"),
        ({"total_rows": 48_000}, "· 2 rows"),
    ],
)
def test_truncated_result_says_so(more: dict[str, Any], told: str) -> None:
    message = forms(query(**more))[0]
    assert message.blocks[0]["text"]["text"].endswith(told)
    (file,) = uploads([query(**more)])
    assert ("truncated" in file.title) == ("is_truncated" in more)


def test_too_many_columns_become_text() -> None:
    made = forms(query(csv_of([f"c{n}" for n in range(21)], ["1"] * 21)))
    assert [kinds(form) for form in made] == [["section", "section"], []]


def test_table_size_is_bounded() -> None:
    text = csv_of(["name"] * 20, *[["x" * 500] * 20] * 50)
    rows = fitting(read_rows(text, 100))
    assert 1 <= len(rows.rows) < 50 and table(rows, "Wide") is not None
    assert len(json.dumps(forms(query(text))[0].blocks)) < 20_000


def test_labels_and_numbers_are_a_bar_chart() -> None:
    drawn = chart(query())
    assert drawn is not None
    assert drawn["chart"] == {
        "type": "bar",
        "series": [
            {
                "name": "Revenue",
                "data": [{"label": "Sunglasses", "value": 678994.41}, {"label": "Jeans", "value": 475072.0}],
            }
        ],
        "axis_config": {"categories": ["Sunglasses", "Jeans"], "x_label": "Product"},
    }


@pytest.mark.parametrize(
    "labels, kind",
    [
        (["2026-01", "2026-02"], "line"),
        (["2026-01-31", "2026-02-01"], "line"),
        (["2025", "2026"], "line"),
        (["2026-Q1", "2026-Q2"], "line"),
        (["2026-02", "2026-01"], "bar"),
        (["May", "June"], "bar"),
    ],
)
def test_ordered_dates_are_a_line_chart(labels: list[str], kind: str) -> None:
    drawn = chart(query(csv_of(["when", "n"], *([label, "1"] for label in labels))))
    assert drawn is not None and drawn["chart"]["type"] == kind


UNSUITABLE = {
    "one row": "a,b\nx,1",
    "no numbers": "a\nx\ny",
    "a word among the numbers": "a,b\nx,1\ny,two",
    "an empty number": "a,b\nx,1\ny,",
    "the same label twice": "a,b\nx,1\nx,2",
    "an empty label": "a,b\n,1\nx,2",
    "a long label": f"a,b\n{'x' * 21},1\ny,2",
    "two columns of a name": "a,b,b\nx,1,2\ny,1,2",
    "21 rows": csv_of(["a", "b"], *([f"l{n}", "1"] for n in range(21))),
    "seven columns of numbers": csv_of(list("abcdefgh"), ["x", *"1234567"], ["y", *"1234567"]),
    "nothing": "",
}


def test_unsuitable_rows_have_no_chart() -> None:
    assert [name for name, text in UNSUITABLE.items() if chart(query(text)) is not None] == []


def test_no_chart_of_truncated_or_charted_result() -> None:
    assert chart(query(is_truncated=True)) is None
    assert kinds(forms(query(), with_charts=False)[0]) == ["section", "data_table"]


def test_many_queries_are_shown_and_attached() -> None:
    queries = [query(name=f"Query about {n}") for n in range(12)]
    made = messages(queries, with_charts=True)
    assert len(made) == MOST_SHOWN + 1
    assert "9 more queries have rows" in made[-1][0].text and f"first {MOST_FILES}" in made[-1][0].text
    assert len(uploads(queries)) == MOST_FILES


def test_one_more_query_is_singular() -> None:
    queries = [query(name=f"{n}") for n in range(4)]
    assert "1 more query has rows" in messages(queries, with_charts=True)[-1][0].text


@pytest.mark.parametrize(
    "names, files",
    [
        (["Top products", "top products", None], ["Top products.csv", "top products (2).csv", "Query 3.csv"]),
        ([None], ["Query.csv"]),
        (["../../etc/passwd", "a/b\\c:d*?"], ["etc_passwd.csv", "a_b_c_d.csv"]),
        (["x" * 300], ["x" * 80 + ".csv"]),
        (["\u202egpj.exe", "=1", "…"], ["gpj.exe.csv", "1.csv", "query.csv"]),
    ],
)
def test_file_names_are_safe_and_unique(names: list[str | None], files: list[str]) -> None:
    assert [file.name for file in uploads([query(name=name) for name in names])] == files


def test_queries_without_rows_are_left_out() -> None:
    texts = [PRODUCTS, "", "Product,Revenue\n", None]
    result = JobResult(queries=tuple(QueryData("q", "success", text) for text in texts))
    assert with_rows(result) == [result.queries[0]]


def texts_of(node: object) -> list[str]:
    if isinstance(node, str):
        return [node]
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return [text for value in values for text in texts_of(value)]


@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=22), min_size=1, max_size=12) | HOSTILE,
    st.none() | WORDS,
    st.booleans(),
)
@example([["a"] * 3, ["<!channel>", "1", "2"], ["@here", "1", "2"]], "<@U0ADA>", False)
def test_any_csv_is_valid_and_pings_no_user(
    table: list[list[str]] | str, name: str | None, is_truncated: bool
) -> None:
    text = table if isinstance(table, str) else csv_of(*table)
    asked = query(text, name, is_truncated=is_truncated)
    for form in forms(asked):
        assert judge(form.text, list(form.blocks)) is None
        for shown in (form.text, *texts_of(list(form.blocks))):
            assert not LIVE.search(shown)
            assert "\u202e" not in shown and strip_control_chars(
                shown.replace("\u200b", "")
            ) == shown.replace("\u200b", "")
    (file,) = uploads([asked])
    assert file.name.endswith(".csv") and "/" not in file.name
