"""A document is cut where it disturbs reading least, and into parts that Slack accepts."""

import re
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.demo.slack.block_kit.messages import Refusal, judge
from bot.domain.text import strip_control_chars
from bot.rendering.markdown.document import (
    Block,
    Blocks,
    CodeBlock,
    Heading,
    Link,
    List,
    Paragraph,
    Quote,
    Table,
    Text,
    links,
    to_text,
    words,
)
from bot.rendering.markdown.parse import parse
from bot.rendering.markdown.split import split
from bot.rendering.markdown.to_blocks import to_blocks
from bot.rendering.markdown.to_mrkdwn import to_mrkdwn
from tests.support.hostile_text import HOSTILE_UNITS
from tests.support.tables import for_each

LIMIT = 2_800
FRAGMENTS = (
    *(
        "# ",
        "- ",
        "1. ",
        "> ",
        "```",
        "```sql\n",
        "~~~\n",
        "`",
        "**",
        "_",
        "~~",
        "[",
        "](",
        ")",
        "<",
        ">",
        "<br>",
    ),
    *(
        "|",
        "| a | b |\n|---|---|\n| 1 |  |\n",
        "---\n",
        "    ",
        "\t",
        "\n",
        "\n\n",
        "&",
        "&amp;",
        "\\",
        "!",
        "\\(",
    ),
    *(
        "[docs](https://omni.co/docs)",
        "https://omni.co/@here",
        "word",
        "two words",
        "naïve",
        "日本",
        "👩\u200d💻",
    ),
    *(
        "\x00",
        "\u202e",
        "\u200d",
        "\ufe0f",
        "1\ufe0f\u20e3",
        "\r\n",
        "\u2028",
        "می\u200cخواهم",
        "&shy;",
        "[1][2]",
    ),
    *(
        "[1]: https://a.b\n",
        "[^a]",
        "<https://a.b|c>",
        "<!channel>",
        "@here",
        "&lt;!here&gt;",
        "<b>",
        "</p>",
        "www.a.b",
    ),
)
documents = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=8))).map("".join)


def parts(markdown: str, limit: int = LIMIT) -> list[Blocks]:
    return list(split(parse(markdown), limit))


def texts(markdown: str, limit: int = LIMIT) -> list[str]:
    return [to_text(part) for part in parts(markdown, limit)]


def all_of(markdown: str, kind: type[Block], limit: int) -> list[Block]:
    return [block for part in parts(markdown, limit) for block in part if isinstance(block, kind)]


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, st.integers(1, 60))
def test_any_document_makes_parts_that_slack_accepts(text: str, times: int) -> None:
    for part in parts(text * times):
        assert part and len(to_mrkdwn(part)) <= LIMIT
        for most_tables in (1, 0):
            assert judge("text", list(to_blocks(part, most_tables))) is None


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(documents)
def test_no_letter_is_lost_or_moved(text: str) -> None:
    def letters(said: str) -> str:
        return re.sub(r"[\W\d_]", "", said)

    whole = parse(text * 9)
    found = "".join(to_text(part) for part in split(whole, LIMIT))
    if not any(isinstance(block, Table) for block in whole):  # their headings are repeated
        assert letters(found) == letters(to_text(whole))


def test_a_part_ends_between_blocks() -> None:
    found = texts("\n\n".join(f"Paragraph {n} " + "tells something " * 8 for n in range(9)), 600)
    assert all(part.startswith("Paragraph") for part in found) and len(found) == 3


def test_heading_stays_with_its_section() -> None:
    found = parts(f"{'word ' * 60}\n\n## Next\n\n{'word ' * 60}", 350)
    assert isinstance(found[1][0], Heading)


def test_cut_code_keeps_its_language_and_lines() -> None:
    code = "\n".join(f"  SELECT {n} FROM orders" for n in range(100))
    found = all_of(f"Before\n\n```sql\n{code}\n```\n\nAfter", CodeBlock, 500)
    assert "\n".join(block.code for block in found if isinstance(block, CodeBlock)) == code
    assert {block.language for block in found if isinstance(block, CodeBlock)} == {"sql"} and len(found) > 3


def test_code_in_cut_list_stays_code() -> None:
    code = "\n".join(f"  SELECT {n}" for n in range(60))
    indented = code.replace("  SELECT", "    SELECT")
    found = parts(f"- query:\n\n  ```sql\n{indented}\n  ```\n- done", 400)
    assert "\n".join(part[0].code for part in found[1:] if isinstance(part[0], CodeBlock)) in code
    assert to_text(found[-1]).endswith("• done")


def test_cut_table_repeats_its_heading() -> None:
    rows = [f"| region {n} | {n} |" for n in range(60)]
    found = all_of("\n".join(["| Region | Sales |", "| --- | ---: |", *rows]), Table, 400)
    tables = [block for block in found if isinstance(block, Table)]
    assert all(words(table.rows[0][0]) == "Region" and table.right == {1} for table in tables)
    assert [words(row[1]) for table in tables for row in table.rows[1:]] == [str(n) for n in range(60)]


def test_tall_table_has_at_most_a_hundred_rows() -> None:
    found = all_of("| a |\n|---|\n" + "| b |\n" * 150, Table, LIMIT)
    assert [len(table.rows) for table in found if isinstance(table, Table)] == [100, 52]


def test_table_with_long_cells_becomes_text() -> None:
    row = "| " + "word " * 260 + "| 2 |\n"
    found = parts("| a | b |\n|---|---|\n" + row * 3, 800)
    assert not [block for part in found for block in part if isinstance(block, Table)]
    assert sum(to_text(part).count("word") for part in found) == 780


@for_each("numbers", [range(1, 31), [1] * 30, [7] * 30])
def test_cut_list_keeps_its_numbers(numbers: list[int]) -> None:
    found = texts("\n".join(f"{n}. item {'word ' * 8}" for n in numbers), 300)
    shown = [int(line.split(".")[0]) for part in found for line in part.splitlines()]
    assert shown == list(range(numbers[0], numbers[0] + 30)) and len(found) > 2


def test_cut_item_continues_without_indent() -> None:
    inner = "\n".join(f"   1. inner {n} {'word ' * 6}" for n in range(9))
    found = parts(f"1. first\n1. second\n{inner}\n1. third", 250)
    assert to_text(found[0]).startswith("1. first\n2. second\n1. inner 0")
    inside = [int(n) for part in found for n in re.findall(r"(\d)\. inner", to_text(part))]
    assert inside == list(range(1, 10))
    assert isinstance(found[1][0], List) and re.match(r"[2-9]\. inner", to_text(found[1]))
    assert to_text(found[-1]).endswith("3. third")


def test_cut_quote_stays_a_quote() -> None:
    assert all(isinstance(block, Quote) for part in parts("> " + "said " * 200, 300) for block in part)


def test_links_are_not_cut() -> None:
    for padding in range(0, 60, 7):
        text = "x" * padding + " " + "some words [the whole report](https://omni.co/report) " * 60
        found = [link for part in parts(text, 500) for block in part for link in links(block.content)]  # type: ignore[union-attr]
        assert found == [Link("https://omni.co/report", (Text("the whole report"),))] * 60


def test_overlong_link_is_shown_as_words() -> None:
    assert texts(f"Words [the report](https://a.b/{'x' * 2_100}) end") == ["Words the report end"]


def test_bold_text_stays_bold_when_cut() -> None:
    assert all(re.fullmatch(r"\*[^*]+\*", to_mrkdwn(part)) for part in parts(f"**{'bold ' * 300}end**", 300))


def test_only_overlong_words_are_cut() -> None:
    found = texts("short " + "x" * 1_000 + " short", 400)
    assert "".join(found).count("x") == 1_000 and all(len(part) <= 400 for part in found)


@for_each("character", ["👩\u200d💻", "🇩🇪", "👍🏽", "e\u0301\u0302", "❤\ufe0f\u200d🔥"])
def test_grapheme_clusters_are_never_cut(character: str) -> None:
    for lead in ("", "a", "ab"):
        found = texts(lead + character * 400, 200)
        assert all(not part.removeprefix(lead).replace(character, "") for part in found) and len(found) > 1


def test_chinese_is_cut_between_characters() -> None:
    found = texts("销售额增长。" * 300, 200)
    assert "".join(found) == "销售额增长。" * 300
    assert all(len(part) > 100 for part in found[:-1]) and not any(part.startswith("。") for part in found)


@for_each("said", ["- no item", "1. no number", "# no heading", "> no quote", "--- ", "+ no", "=== "])
def test_start_of_part_is_no_markup(said: str) -> None:
    assert all(isinstance(block, Paragraph) for part in parts(f"words {said}" * 90, 200) for block in part)


def test_parts_stay_within_block_limit() -> None:
    found = parts("# Title\n\ntext\n\n---\n\n- item\n\n" * 60, 7_000)
    assert len(found) > 2
    assert all(judge("text", list(to_blocks(part, 9))) is None for part in found)


def test_overlong_heading_is_bold_text() -> None:
    (block,) = to_blocks(parse("# " + "word " * 60), 0)
    assert block["elements"][0]["elements"][0]["style"] == {"bold": True}


def test_several_tables_are_refused_only_as_such() -> None:
    (part,) = parts("| a |\n|---|\n| b |\n\n| c |\n|---|\n| d |")
    assert judge("text", list(to_blocks(part, 2))) == Refusal(
        "invalid_attachments", ("only_one_table_allowed",)
    )
    assert [block["type"] for block in to_blocks(part, 1)] == ["table", "rich_text"]


@for_each("unit", HOSTILE_UNITS)
def test_splitting_work_is_linear(unit: str) -> None:
    """Its time, also inside regular expressions, is measured by `tests.benchmarks rendering`."""
    short, long = (unit * (size // len(unit)) for size in (300, 1_200))
    calls(short)  # caches are filled
    assert calls(long) < 9 * calls(short), "a square would be sixteen times"


def calls(text: str) -> int:
    """Count the function calls that it takes to split the text: the same number on every machine."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        assert all(len(to_mrkdwn(part)) <= LIMIT for part in parts(text))
    finally:
        sys.setprofile(None)
    return count


def test_blank_text_has_no_parts() -> None:
    assert parts(" \n\u200b\n ") == parts("") == []


def test_control_characters_are_removed() -> None:
    assert texts("pay\u202epal \u2066x\u2069 a\u200bb c\x07d \ufeffe") == ["paypal x ab cd e"]


def test_line_ends_are_normalized() -> None:
    assert strip_control_chars("a\r\nb\rc\u2028d") == "a\nb\nc\nd"


@for_each(
    "text", ["👩\u200d💻", "❤\ufe0f\u200d🔥", "می\u200cخواهم", "1\ufe0f\u20e3", "✅\ufe0f done", "שלום"]
)
def test_necessary_joiners_stay(text: str) -> None:
    assert strip_control_chars(text) == text
