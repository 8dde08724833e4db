"""Reading Omni's CSV, and writing files without formulas."""

import csv
import re
from io import StringIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.rendering.csv_export import BYTE_ORDER_MARK, Rows, csv_file, harmless, number, read_rows

CELLS = st.text(st.characters(exclude_categories=[]), max_size=20) | st.sampled_from(
    [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-12.5",
        "+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\uff1d1",
        "",
        "a,b",
        '"',
    ]
)
HOSTILE_CELLS = st.text(alphabet=';|\t\r\n"=+-@ a1', max_size=12)
PLAIN_NUMBER = re.compile(r'\s*[+-][$€£¥]?[\d.,]*\d[.,]*(?:[eE][+-]?\d+)?%?\s*(?:,?"|$)', re.ASCII)
TEXTS = st.text(alphabet=',"\n\r=+-@\t a1\u00e9', max_size=60)


def parsed(content: bytes, separator: str = ",") -> list[list[str]]:
    """Return the cells that a spreadsheet with this list separator reads."""
    text = content.decode("utf-8")
    assert not text or text.startswith(BYTE_ORDER_MARK), "Excel would not take it for UTF-8"
    return list(csv.reader(StringIO(text[1:], newline=""), delimiter=separator))


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may treat the cell as a formula. A plain number is none, also before quoted cells."""
    if cell.lstrip(" \u00a0\t\r\n")[:1] not in {*"=+-@\uff1d\uff0b\uff0d\uff20"}:
        return False
    return not PLAIN_NUMBER.match(cell)


def test_short_rows_are_filled_and_all_counted() -> None:
    rows = read_rows('Product,Revenue\nSunglasses,"678,994.41"\n\nJeans\nBags,3,4\nHats,5\n', most=3)
    assert rows == Rows(
        ("Product", "Revenue", ""),
        (("Sunglasses", "678,994.41", ""), ("Jeans", "", ""), ("Bags", "3", "4")),
        total=4,
    )
    assert not rows.are_all and read_rows("a\n1", 1).are_all


def test_long_cells_are_read() -> None:
    assert read_rows(f"a\n{'x' * 200_000}", 1).rows == (("x" * 200_000,),)


@pytest.mark.parametrize(
    "cell, value",
    [
        ("678,994.41", 678994.41),
        ("0", 0.0),
        ("-12.5", -12.5),
        ("+3", 3.0),
        ("$1,234", 1234.0),
        ("-$5", -5.0),
        ("4%", 4.0),
        (" 7 ", 7.0),
        ("007", None),
        ("1,23", None),
        ("12,345,6", None),
        ("1e400", None),
        ("1234567890123456", None),
        ("2026-01-15", None),
        ("1.2.3", None),
        ("", None),
        ("-", None),
        ("nan", None),
        ("\u0663", None),
    ],
)
def test_numbers_are_recognized(cell: str, value: float | None) -> None:
    assert number(cell) == value


@pytest.mark.parametrize(
    "cell",
    ["=1", "+A1", "-A1", "@x", "\t1", "\rx", "\nx", " =1", "\uff1d1", "-1-1", "+1+cmd", "=", "-", '"=1'],
)
def test_possible_formula_gets_an_apostrophe(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell, made",
    [
        ("1;=HYPERLINK(A1)", "1;'=HYPERLINK(A1)"),
        ("1\t=A1|+A1", "1\t'=A1|'+A1"),
        ('x;"=A1;', "x;'\"=A1;"),
        ("notes\r\n=A1", "notes\r\n'=A1"),
        ("-1;-2", "'-1;'-2"),
        ("a;b\tc|d\ne", "a;b\tc|d\ne"),
        ("a,=b", "a,=b"),
    ],
)
def test_each_part_of_a_cell_is_escaped(cell: str, made: str) -> None:
    assert harmless(cell) == made


@pytest.mark.parametrize(
    "cell", ["-12.5", "+3", "-1,234.50", "-$12", "-5%", "-.5", "+1e5", "a=b", "", "1-1", "é"]
)
def test_harmless_cells_stay_unchanged(cell: str) -> None:
    assert harmless(cell) == cell


@given(CELLS)
def test_no_escaped_cell_begins_like_a_formula(cell: str) -> None:
    made = harmless(cell)
    assert made.replace("'", "") == cell.replace("'", "")
    assert not is_formula(made)


@given(st.lists(st.lists(HOSTILE_CELLS, min_size=1, max_size=3), min_size=1, max_size=3))
@example([["1;=HYPERLINK(A1)"]])
@example([["a", "1;=cmd|'/C calc'!A0;x"]])
@example([["a", "x\n=A1;"], ["a", 'x;"=A1;']])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_separator_makes_a_formula(separator: str, table: list[list[str]]) -> None:
    written = StringIO()
    csv.writer(written).writerows(table)
    assert not [
        cell for row in parsed(csv_file(written.getvalue()), separator) for cell in row if is_formula(cell)
    ]


def test_every_cell_is_quoted() -> None:
    assert csv_file('a,"b ""c"""\n1,').decode() == f'{BYTE_ORDER_MARK}"a","b ""c"""\r\n"1",""\r\n'


@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=4))
@example([["a", "=1+1"], ["-12.5", "x\r\ny"]])
def test_file_holds_every_escaped_cell(table: list[list[str]]) -> None:
    written = StringIO()
    csv.writer(written).writerows(table)
    expected = [[harmless(cell) for cell in row] for row in table]
    shown = [[cell.encode("utf-8", "replace").decode() for cell in row] for row in expected]
    if not table[0][0].startswith(BYTE_ORDER_MARK):
        assert parsed(csv_file(written.getvalue())) == shown


@given(TEXTS)
def test_any_text_is_readable_and_exportable(text: str) -> None:
    rows = read_rows(text, 5)
    assert {len(row) for row in rows.rows} <= {len(rows.heading)}
    content = csv_file(text)
    if content:
        assert all(cell == harmless(cell) for row in parsed(content) for cell in row)


@pytest.mark.parametrize("nothing", ["", "\n\r\n\n", BYTE_ORDER_MARK])
def test_empty_csv_is_an_empty_file(nothing: str) -> None:
    assert csv_file(nothing) == b""
