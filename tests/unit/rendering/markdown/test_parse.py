"""What language models write is read as it was meant. Each row is one kind of fault that answers once had."""

import json

from hypothesis import given
from hypothesis import strategies as st
from markdown_it.common.normalize_url import normalizeLink

from bot.rendering.markdown.document import CodeBlock, Table, to_text, words
from bot.rendering.markdown.parse import parse
from bot.rendering.markdown.repairs import _NORMAL_ADDRESS
from bot.rendering.markdown.to_blocks import to_blocks
from bot.rendering.markdown.to_mrkdwn import to_mrkdwn
from tests.support.tables import for_each

TENANT = "https://acme.omniapp.co"
W = f"{TENANT}/w"
"""A part of the tenant."""


def inlines(markdown: str) -> list[tuple[str, ...]]:
    """The words of a text's only paragraph, each with its styles and its address."""
    (block,) = to_blocks(parse(markdown, TENANT), 9)
    (section,) = block["elements"]
    if section["type"] == "rich_text_list":
        (section,) = section["elements"]
    return [
        (each["text"], *each.get("style", ()), *filter(None, [each.get("url")]))
        for each in section["elements"]
    ]


def mrkdwn(markdown: str) -> str:
    return to_mrkdwn(parse(markdown, TENANT))


@for_each(
    "markdown, shown",
    [
        # Slack's linker takes `**` into a bare address, so each becomes a link.
        (f"Report: **{W}/5**", [("Report: ",), (f"{W}/5", "bold", f"{W}/5")]),
        (f"*{W}/5*, ~~{W}/6~~.", [(f"{W}/5", "italic", f"{W}/5"), (", ",), (f"{W}/6", "strike", f"{W}/6"), (".",)]),
        (f"({W}/Revenue_(accounting))", [("(",), (f"{W}/Revenue_(accounting)", f"{W}/Revenue_(accounting)"), (")",)]),
        ("https://x.com/~user/a*b*c!", [("https://x.com/~user/a*b*c", "https://x.com/~user/a*b*c"), ("!",)]),
        (f"見る{W}/5。次", [("見る",), (f"{W}/5", f"{W}/5"), ("。次",)]),
        (f"{W}/5?a=1&amp;b=2\\_c", [(f"{W}/5?a=1&b=2_c", f"{W}/5?a=1&b=2_c")]),
        (f"**<{W}/12**>", [(f"{W}/12", "bold", f"{W}/12")]),
        (f"<{W}/1|the workbook>", [("the workbook", f"{W}/1")]),
        (f'<a href="{W}/1?a=1&amp;b=2">the workbook</a>', [("the workbook", f"{W}/1?a=1&b=2")]),
        (f"[Report]({TENANT}/e?status=In Progress)", [("Report", f"{TENANT}/e?status=In%20Progress")]),
        (f"[dash]({TENANT}/d?a=1&amp;b=2)", [("dash", f"{TENANT}/d?a=1&b=2")]),
        ("[the dashboard](/dashboards/abc)", [("the dashboard", f"{TENANT}/dashboards/abc")]),
        ("[x](#section) [y](//evil.example) [z](javascript:alert(1))", [("x y z",)]),
        # A product is no emphasis.
        ("Margin = price*qty*discount, i.e. 5*3*2 = 30", [("Margin = price*qty*discount, i.e. 5*3*2 = 30",)]),
        ("price**2 and qty**2", [("price**2 and qty**2",)]),
        # Bold text ends where it was meant to.
        ("- **注意：**正文", [("注意：", "bold"), ("正文",)]),
        ("**Total:**1,234", [("Total:", "bold"), ("1,234",)]),
        ('**"Aviator"**s', [('"Aviator"', "bold"), ("s",)]),
        ("*重要*。", [("重要", "italic"), ("。",)]),
        # An email address stays whole.
        ("ops@channel4.com", [("ops@channel4.com",)]),
        ("[Mail](mailto:team@hereford.gov.uk)", [("Mail", "mailto:team@hereford.gov.uk")]),
        ("<hr@here.com>", [("hr@here.com", "mailto:hr@here.com")]),
        # Simple HTML and entities are what they stand for.
        ("one<br>two <b>x</b> H<sub>2</sub>O", [("one\ntwo x H2O",)]),
        ("<details><summary>More</summary>text</details>", [("More\ntext",)]),
        ("Q1&#8203;/Q2 soft&shy;hyphen &amp;lt; a&nbsp;&nbsp;b", [("Q1/Q2 softhyphen &lt; a b",)]),
        ("if a <b and c> d, <script>x</script>", [("if a <b and c> d, <script>x</script>",)]),
        # Formulas are code.
        (r"So \(x^2\) and \[not math\]", [("So ",), ("x^2", "code"), (" and [not math]",)]),
        ("[x] or \\[x\\], [note]: done", [("[x] or [x], [note]: done",)]),
    ],
)  # fmt: skip
def test_text_is_read_as_meant(markdown: str, shown: list[tuple[str, ...]]) -> None:
    assert inlines(markdown) == shown


def test_each_citation_leads_to_its_own_source() -> None:
    text = f"Grew 12% [1][2], mostly in EMEA [2].\n\n[1]: {W}/1\n[2]: {W}/2\n[3]: {W}/3"
    assert mrkdwn(text) == (f"Grew 12% <{W}/1|[1]><{W}/2|[2]>, mostly in EMEA <{W}/2|[2]>.\n\n[3]: <{W}/3>")


def test_footnotes_are_numbered_with_their_text() -> None:
    assert mrkdwn("Counted[^1] twice[^2].\n\n[^1]: By order date.\n\n[^2]: https://x.y") == (
        "Counted¹ twice<https://x.y|²>.\n\n¹: By order date."
    )


def test_notes_are_no_definitions() -> None:
    assert mrkdwn("[Note]: done\n\n[a]: b c") == "[Note]: done\n\n[a]: b c"


@for_each(
    "markdown, code",
    [
        ("1. Run:\n\n   ```sql\n   SELECT tags[1]::text\n   ```", "SELECT tags[1]::text"),
        ("> ```\n> d[k]: v <!channel> @here\n> ```", "d[k]: v <!channel> @here"),
        ("    arr[i](x)\n    &lt; a_b_c", "arr[i](x)\n&lt; a_b_c"),
        ("~~~\nhttps://x.y/*z*\n~~~", "https://x.y/*z*"),
    ],
)
def test_nothing_is_inserted_into_code(markdown: str, code: str) -> None:
    shown = json.dumps(to_blocks(parse(markdown), 1))
    assert f'"rich_text_preformatted", "elements": [{{"type": "text", "text": {json.dumps(code)}}}]' in shown
    escaped = code.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"```\n{escaped}\n```" in mrkdwn(markdown)


@for_each("code", ["arr[i](x)", "d[k]: v", "<@U1> @here", "https://x.y/a_b"])
def test_nothing_is_inserted_into_code_in_a_line(code: str) -> None:
    assert inlines(f"`{code}`") == [(code, "code")]
    assert mrkdwn(f"`{code}`") == f"`{code.replace('<', '&lt;').replace('>', '&gt;')}`"


def test_table_cells_are_words() -> None:
    (table,) = parse(
        f"| Region | Link | Note |\n|---|---|---|\n| EMEA | [Zeta R&amp;D]({W}/2) | order\\_items, *est.* |\n"
        "| NA | ~~Old~~ **New** | first<br>second, &lt; $5, &nbsp;&nbsp;n/a |"
    )
    assert isinstance(table, Table)
    assert [[words(cell) for cell in row] for row in table.rows[1:]] == [
        ["EMEA", "Zeta R&D", "order_items, est."],
        ["NA", "(struck: Old) New", "first; second, < $5, n/a"],
    ]


@for_each(
    "cells, is_right",
    [
        (["$1,200", "-3%", "n/a"], True),
        (["", "—", "(1.5)", "1.2M", "€ 3"], True),
        (["12 USD", "R$ 2.105.990,10", "1.234,50 €"], True),
        (["12 orders", "1"], False),
        (["A-00012"], False),
        (["2026-01-05"], False),
        ([""], False),
    ],
)
def test_columns_of_numbers_are_right_aligned(cells: list[str], is_right: bool) -> None:
    rows = "".join(f"| {cell} |\n" for cell in cells)
    (table,) = parse(f"| Sum |\n|---|\n{rows}")
    assert isinstance(table, Table) and bool(table.right) == is_right


@for_each("around", ["1. {}\n2. last", "> {}\n> last", "- - {}\n- last"])
def test_table_inside_list_or_quote_is_a_table(around: str) -> None:
    first, last = around.split("\n")
    indent = {"1": "   ", ">": "> ", "-": "    "}[around[0]]
    inner = "\n".join(
        f"{indent}{line}" for line in ["", "| Region | Sum |", "|---|---:|", "| EMEA | $1 |", ""]
    )
    shown = to_blocks(parse(f"{first.format('**Revenue**')}\n{inner}\n{last}"), 1)
    assert [block["type"] for block in shown] == ["rich_text", "table", "rich_text"]
    assert to_text(parse(f"{first.format('**Revenue**')}\n{inner}\n{last}")).endswith("last")


def test_cells_beyond_the_heading_are_kept() -> None:
    assert to_text(parse("| a | b |\n|---|---|\n| 1 | 2 | three | four |")) == "a, b\n1, 2 | three | four"


def test_item_after_a_table_keeps_its_number() -> None:
    assert "\n\n2. last" in mrkdwn("1. first\n\n   | a |\n   |---|\n   | b |\n2. last")


def test_code_next_to_the_fence_is_kept() -> None:
    assert parse("```SELECT 1\nFROM x\n```") == (CodeBlock("SELECT 1\nFROM x"),)


@for_each(
    "numbers, shown",
    [([1, 2, 4], [1, 2, 4]), ([1, 1, 1], [1, 2, 3]), ([7, 8, 2026], [7, 8, 2026]), ([0, 1], [0, 1])],
)
def test_items_have_the_numbers_they_were_given(numbers: list[int], shown: list[int]) -> None:
    text = "\n".join(f"{number}. x" for number in numbers)
    assert [int(line.split(".")[0]) for line in mrkdwn(text).split("\n") if line] == shown


def test_tasks_have_boxes() -> None:
    assert mrkdwn("- [x] done\n- [ ] open") == "• ☑ done\n• ☐ open"


def test_plain_words_have_no_markup() -> None:
    prose = "## Title\n\n**Bold** ~~struck~~ and [a link](https://x.y) `code`"
    text = f"{prose}\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n```sql\nSELECT 1\n```"
    assert to_text(parse(text)) == (
        "Title\nBold (struck: struck) and a link code\n1. one\n2. two\na, b\n1, 2\nSELECT 1"
    )


@for_each(
    "markdown, shown",
    [
        ("# Title **bold**", "*Title bold*"),
        ("**bold** *it* ~~gone~~ `code`", "*bold* _it_ ~gone~ `code`"),
        ("[docs](https://x.y/?a=1&b=2)", "<https://x.y/?a=1&amp;b=2|docs>"),
        ("[a|b](https://x.y)", "<https://x.y|a¦b>"),
        ("![chart](https://x.y/z.png) ![](https://x.y/z)", "<https://x.y/z.png|chart> <https://x.y/z|image>"),
        ("- one\n- two\n  - three", "• one\n• two\n    • three"),
        ("3. one\n4. two", "3. one\n4. two"),
        ("> said\n> so\n>\n> - a\n> - b", "> said\n> so\n> \n> • a\n> • b"),
        ("one\n\n---\n\ntwo", "one\n\n———\n\ntwo"),
        ("5 < 6 & 7", "5 &lt; 6 &amp; 7"),
        ("本**收入**15", "本\u200b*收入*\u200b15"),
        ("[![chart](https://x.y/z.png)](https://x.y)", "<https://x.y|chart>"),
        ("1. ```\n   code\n   ```\n2. two\n3.", "1.\n```\ncode\n```\n2. two\n3."),
        ("2 \\* 3 \\* 4", "2 *\u200b 3 *\u200b 4"),
    ],
)
def test_markdown_becomes_mrkdwn(markdown: str, shown: str) -> None:
    assert mrkdwn(markdown) == shown


def test_code_cannot_end_its_fence() -> None:
    assert mrkdwn("~~~\n```\n*a*\n~~~").count("```") == 2


def test_too_deep_nesting_is_shown_as_typed() -> None:
    deep = "\n".join("  " * n + f"- level {n}" for n in range(100))
    assert all(f"level {n}" in mrkdwn(deep) for n in range(100))


@for_each("marks", ["*", "**", "~~", "_a __b ", "**a *b ", "[a](https://b) ![c]("])
def test_deep_emphasis_is_flat(marks: str) -> None:
    deep = marks * 3_000 + "word" + marks[::-1] * 3_000
    assert "word" in to_text(parse(deep)) and "word" in mrkdwn(deep) and to_blocks(parse(deep), 0)


@given(st.from_regex(_NORMAL_ADDRESS, fullmatch=True))
def test_normal_address_is_already_normalized(address: str) -> None:
    assert normalizeLink(address) == address
