"""Validation of messages, with Slack's own errors."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.demo.slack.block_kit.markdown import translate
from bot.demo.slack.block_kit.messages import Refusal, judge, judge_markdown_text, judge_metadata

Block = dict[str, Any]


def section(text: str = "hello", **more: Any) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def button(action_id: str = "go", text: str = "Go", **more: Any) -> Block:
    return {
        "type": "button",
        "action_id": action_id,
        "text": {"type": "plain_text", "text": text},
        **more,
    }


def overflow(options: int = 2, **more: Any) -> Block:
    offered = [{"text": {"type": "plain_text", "text": "Go"}, "value": f"go {at}"} for at in range(options)]
    return {"type": "overflow", "action_id": "menu", "options": offered, **more}


def actions(*buttons: Block) -> Block:
    return {"type": "actions", "elements": list(buttons)}


def markdown(text: str) -> Block:
    return {"type": "markdown", "text": text}


def table(rows: int = 2, columns: int = 2, cell: str = "x") -> Block:
    row = [{"type": "raw_text", "text": cell}] * columns
    return {"type": "table", "rows": [row] * rows}


def refused(*blocks: Any, text: str = "fallback") -> Refusal:
    refusal = judge(text, list(blocks))
    assert refusal is not None
    return refusal


def test_a_message_with_every_known_block_passes() -> None:
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": "A job", "emoji": True}},
        section(
            accessory={"type": "image", "image_url": "https://example.com/a.png", "alt_text": "a"},
            expand=True,
        ),
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "a", "verbatim": True}]},
        {"type": "divider", "block_id": "line"},
        actions(overflow(5)),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "small"}]},
        {"type": "image", "image_url": "https://example.com/a.png", "alt_text": "a"},
        markdown("# Answer\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"),
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [{"type": "text", "text": "hi", "style": {"bold": True}}],
                }
            ],
        },
        actions(button(value="1", style="danger"), button("open", url="https://example.com/chat")),
    ]
    assert judge("fallback", blocks) is None


def test_text_alone_and_blocks_alone_pass() -> None:
    assert judge("hello", None) is None
    assert judge(None, [section()]) is None


@pytest.mark.parametrize("text", [None, "", "  \n"])
@pytest.mark.parametrize("blocks", [None, [], "[]"])
def test_nothing_to_show_is_no_text(text: str | None, blocks: object) -> None:
    assert judge(text, blocks) == Refusal("no_text")


def test_text_is_limited_to_4000_characters() -> None:
    assert judge("x" * 4000, None) is None
    assert judge("x" * 4001, None) == Refusal("msg_too_long")
    assert judge("x" * 4001, [section()]) == Refusal("msg_too_long")


def test_non_string_text_is_refused() -> None:
    refusal = judge(["hello"], None)
    assert refusal is not None and refusal.error == "invalid_arguments"


@pytest.mark.parametrize("blocks", ["[{", "{}", {"type": "section"}, 7])
def test_blocks_must_be_a_list(blocks: object) -> None:
    assert judge("hello", blocks) == Refusal("invalid_blocks_format")


def test_blocks_can_be_json() -> None:
    assert judge("hello", json.dumps([section()])) is None


def test_message_is_limited_to_fifty_blocks() -> None:
    assert judge("hello", [{"type": "divider"}] * 50) is None
    assert refused(*[{"type": "divider"}] * 51) == Refusal(
        "invalid_blocks", ("no more than 50 items allowed [json-pointer:/blocks]",)
    )


def test_overlong_section_error_is_slacks() -> None:
    assert judge("hello", [section("x" * 3000)]) is None
    assert refused(section(), section("x" * 3001)).messages == (
        "failed to match all allowed schemas [json-pointer:/blocks/1/text]",
        "must be less than 3001 characters [json-pointer:/blocks/1/text/text]",
    )


def test_empty_section_error_is_slacks() -> None:
    assert refused(section("")).messages == (
        "failed to match all allowed schemas [json-pointer:/blocks/0/text]",
        "must be more than 0 characters [json-pointer:/blocks/0/text/text]",
    )


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("hello", "must provide an object [json-pointer:/blocks/0]"),
        ({}, "missing required field: type [json-pointer:/blocks/0]"),
        ({"type": "sections"}, "unsupported type: sections [json-pointer:/blocks/0/type]"),
        ({"type": "alert"}, "unsupported type: alert [json-pointer:/blocks/0/type]"),
        ({"type": ["section"]}, "unsupported type: ['section'] [json-pointer:/blocks/0/type]"),
        ({"type": "section"}, "must define either `text` or `fields` [json-pointer:/blocks/0/type]"),
        ({"type": "header"}, "missing required field: text [json-pointer:/blocks/0]"),
        (
            section(text="x") | {"text": "x"},
            "must provide an object [json-pointer:/blocks/0/text]",
        ),
        (section(disabled=True), "invalid additional property: disabled [json-pointer:/blocks/0]"),
        (section(expand="yes"), "must be a boolean [json-pointer:/blocks/0/expand]"),
        (section(block_id="x" * 256), "must be less than 256 characters [json-pointer:/blocks/0/block_id]"),
        (
            {"type": "section", "text": {"type": "mrkdwn", "text": "x", "emoji": True}},
            "invalid additional property: emoji [json-pointer:/blocks/0/text]",
        ),
        (
            {"type": "section", "text": {"type": "markdown", "text": "x"}},
            "unsupported type: markdown [json-pointer:/blocks/0/text/type]",
        ),
        (
            {"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]},
            "must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]",
        ),
        (
            {"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11},
            "no more than 10 items allowed [json-pointer:/blocks/0/fields]",
        ),
        (
            {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}},
            "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
        ),
        (
            {"type": "header", "text": {"type": "mrkdwn", "text": "x"}},
            "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]",
        ),
        (
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11},
            "no more than 10 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            {"type": "context", "elements": []},
            "no fewer than 1 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            {"type": "context", "elements": "x"},
            "must provide an array [json-pointer:/blocks/0/elements]",
        ),
        (
            {"type": "context", "elements": [button()]},
            "unsupported type: button [json-pointer:/blocks/0/elements/0/type]",
        ),
        (
            actions(*(button(f"b{n}") for n in range(26))),
            "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            actions(button(text="x" * 76)),
            "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
        ),
        (
            actions(button(value="x" * 2001)),
            "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
        ),
        (
            actions(button(value=7)),
            "must be a string [json-pointer:/blocks/0/elements/0/value]",
        ),
        (
            actions(button("x" * 256)),
            "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]",
        ),
        (
            actions(button(url="https://e.com/" + "x" * 3000)),
            "must be less than 3001 characters [json-pointer:/blocks/0/elements/0/url]",
        ),
        (
            actions(button(style="warning")),
            "must be a valid enum value [json-pointer:/blocks/0/elements/0/style]",
        ),
        (
            actions(button(disabled=True)),
            "invalid additional property: disabled [json-pointer:/blocks/0/elements/0]",
        ),
        (
            actions(button(confirm={"title": {"type": "plain_text", "text": "x"}})),
            "missing required field: text [json-pointer:/blocks/0/elements/0/confirm]",
        ),
        (
            actions(overflow(1)),
            "no fewer than 2 items allowed [json-pointer:/blocks/0/elements/0/options]",
        ),
        (
            actions(overflow(6)),
            "no more than 5 items allowed [json-pointer:/blocks/0/elements/0/options]",
        ),
        (
            actions(overflow(options=2, text="More")),
            "invalid additional property: text [json-pointer:/blocks/0/elements/0]",
        ),
        (
            {"type": "image", "image_url": "https://example.com/a.png"},
            "missing required field: alt_text [json-pointer:/blocks/0]",
        ),
        (markdown(""), "must be more than 0 characters [json-pointer:/blocks/0/text]"),
        (table(rows=101), "no more than 100 items allowed [json-pointer:/blocks/0/rows]"),
        (table(columns=21), "no more than 20 items allowed [json-pointer:/blocks/0/rows/0]"),
        (table(cell=""), "must be more than 0 characters [json-pointer:/blocks/0/rows/0/0/text]"),
    ],
)
def test_malformed_block_error_names_its_path(block: object, complaint: str) -> None:
    refusal = refused(block)
    assert refusal.error == "invalid_blocks"
    assert complaint in refusal.messages


@pytest.mark.parametrize("address", ["javascript:alert(1)", "ftp://example.com", "/chat/1", "https://", "x"])
def test_button_url_must_be_http(address: str) -> None:
    assert (
        "invalid url [json-pointer:/blocks/0/elements/0/url]"
        in refused(actions(button(url=address))).messages
    )


def test_all_problems_are_reported_together() -> None:
    assert len(refused(section(""), section("x" * 3001), {"type": "nonsense"}).messages) == 5


@pytest.mark.parametrize(
    "blocks",
    [
        [section(block_id="same"), {"type": "divider", "block_id": "same"}],
        [actions(button("same"), button("same"))],
        [actions(button("same")), section(accessory=button("same"))],
    ],
)
def test_block_ids_are_unique(blocks: list[Block]) -> None:
    (complaint,) = refused(*blocks).messages
    assert "`same` already exists" in complaint


def test_markdown_blocks_share_12000_characters() -> None:
    assert judge("hello", [markdown("x" * 6000), markdown("x" * 6000)]) is None
    assert refused(markdown("x" * 6000), markdown("x" * 6001)) == Refusal("msg_blocks_too_long")
    assert refused(markdown("x" * 12_001)) == Refusal("msg_blocks_too_long")


def test_markdown_counts_as_its_translated_blocks() -> None:
    headings = "".join(f"# Heading {n}\n\ntext\n\n" for n in range(25))
    assert judge("hello", [markdown(headings)]) is None
    assert refused(markdown(headings), {"type": "divider"}) == Refusal(
        "invalid_blocks", ("no more than 50 items allowed [json-pointer:/blocks]",)
    )


TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n"


@pytest.mark.parametrize(
    "blocks",
    [
        [table(), table()],
        [table(), markdown(TABLE)],
        [markdown(TABLE), markdown(TABLE)],
        [markdown(f"{TABLE}\nand\n\n{TABLE}")],
    ],
)
def test_a_message_holds_one_table(blocks: list[Block]) -> None:
    assert refused(*blocks) == Refusal("invalid_attachments", ("only_one_table_allowed",))


def test_table_in_code_block_is_text() -> None:
    assert judge("hello", [markdown(f"{TABLE}\n```\n{TABLE}```\n")]) is None


def test_tables_are_limited_to_10000_characters() -> None:
    assert judge("hello", [table(1, 2, "x" * 5000)]) is None
    assert refused(table(1, 3, "x" * 5000)).error == "invalid_blocks"
    assert refused(markdown("| a |\n|---|\n" + "| " + "x" * 10_000 + " |\n")).error == "invalid_blocks"


def test_translated_table_size_is_limited() -> None:
    assert judge("hello", [markdown("|a|\n|-|\n" + "|1|\n" * 99)]) is None
    assert refused(markdown("|a|\n|-|\n" + "|1|\n" * 100)).error == "invalid_blocks"
    assert refused(markdown("|" + "a|" * 21 + "\n|" + "-|" * 21 + "\n")).error == "invalid_blocks"


@pytest.mark.parametrize(
    ("characters", "blocks", "passes"),
    [(9_597, 50, True), (6_020, 33, True), (11_341, 45, False), (10_000, 50, True)],
)
def test_message_weight_matches_reports(characters: int, blocks: int, passes: bool) -> None:
    each, rest = divmod(characters, blocks)
    payload = [section("x" * (each + (n < rest))) for n in range(blocks)]
    assert judge("hello", payload) == (None if passes else Refusal("msg_blocks_too_long"))


def test_undocumented_markdown_is_refused() -> None:
    refusal = judge("hello", [markdown("hi")], markdown_allowed=False)
    assert refusal == Refusal("invalid_blocks", ("unsupported type: markdown [json-pointer:/blocks/0/type]",))
    assert judge("hello", [section()], markdown_allowed=False) is None


def test_markdown_text_is_exclusive_and_limited() -> None:
    assert judge_markdown_text("x" * 12_000, alone=True) is None
    assert judge_markdown_text("x" * 12_001, alone=True) == Refusal("msg_too_long")
    assert judge_markdown_text("hello", alone=False) == Refusal("markdown_text_conflict")
    assert judge_markdown_text(" ", alone=True) == Refusal("no_text")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"event_type": "job"},
        {"event_payload": {}},
        {"event_type": "", "event_payload": {}},
        {"event_type": "job", "event_payload": []},
        {"event_type": "job", "event_payload": {}, "more": 1},
        "{",
        "job",
        [],
    ],
)
def test_metadata_needs_a_type_and_a_payload(metadata: object) -> None:
    assert judge_metadata(metadata) == Refusal("invalid_metadata_format")


def test_metadata_size_is_limited() -> None:
    metadata: dict[str, Any] = {"event_type": "job", "event_payload": {"watch": "1"}}
    assert judge_metadata(metadata) is None
    assert judge_metadata(json.dumps(metadata)) is None
    metadata["event_payload"]["watch"] = "x" * 20_000
    assert judge_metadata(metadata) == Refusal("metadata_too_large")


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", ""),
        ("one\n\ntwo\n- three\n> four", "rich_text"),
        ("# a", "header"),
        ("####### a", "rich_text"),
        ("#a", "rich_text"),
        ("   ## a\ntext", "header rich_text"),
        ("    # indented code", "rich_text"),
        ("a\n---\nb", "header rich_text"),
        ("a\nb\n===", "header"),
        ("a\n\n---\n\nb", "rich_text divider rich_text"),
        ("- a\n---", "rich_text divider"),
        ("***\n* * *\n___", "divider divider divider"),
        ("--", "rich_text"),
        ("```\n# a\n---\n| a |\n|---|\n```\n# b", "rich_text header"),
        ("~~~~\n```\n# a\n~~~~\n# b", "rich_text header"),
        ("```\n# never closed", "rich_text"),
        ("a\n# b\nc", "rich_text header rich_text"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |\n\nafter", "table rich_text"),
        ("before\n| a | b |\n|---|---|\n| 1 | 2 |\n# h", "rich_text table header"),
        ("a | b\n-- | -\n1 | 2", "table"),
        ("a | b\n- | -\n1 | 2", "rich_text"),
        ("| a | b |\n|---|\n", "rich_text"),
        ("| a \\| b |\n|---|\n", "table"),
        ("a | b", "rich_text"),
    ],
)
def test_markdown_is_translated_into_blocks(text: str, kinds: str) -> None:
    assert " ".join(piece.kind for piece in translate(text)) == kinds


@given(st.text(alphabet="#|-=*_`~>: \n\\ab1.", max_size=200))
def test_translation_merges_adjacent_runs(text: str) -> None:
    kinds = [piece.kind for piece in translate(text)]
    assert ("rich_text", "rich_text") not in list(pairwise(kinds))
    assert bool(kinds) == bool(text.strip())


LINES = (
    *("# h", " ## x", "text", "text | with", "- item", "  more", "1. x", "> q", "    code", "\ttab", "", ""),
    *("---", "   ---", "===", "***", "```", "~~~", "| a | b |", "|---|---|", "| 1 | 2 |", "a | b", "- | -"),
)
COMMONMARK = MarkdownIt("commonmark").enable("table")


def runs_joined(kinds: list[str]) -> list[str]:
    """Neighbouring kinds without a name of their own are one run."""
    joined: list[str] = []
    for kind in kinds:
        if kind or not joined or joined[-1]:
            joined.append(kind)
    return joined


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_block_count_is_never_too_low(lines: list[str]) -> None:
    text = "\n".join(lines)
    kinds = [piece.kind for piece in translate(text)]
    top = [token.type for token in COMMONMARK.parse(text) if token.level == 0 and token.nesting >= 0]
    found = [{"heading_open": "header", "hr": "divider", "table_open": "table"}.get(kind, "") for kind in top]
    assert len(kinds) >= len(runs_joined(found))
    assert kinds.count("table") >= found.count("table")


@pytest.mark.parametrize("row", ["| 1 |  |", "| 1 |", "|  |  |", "| | 2 |"])
def test_empty_markdown_cell_is_refused(row: str) -> None:
    assert refused(markdown(f"| a | b |\n|---|---|\n{row}")).error == "invalid_blocks"
    assert judge("x", [markdown("| a | b |\n|---|---|\n| 1 | \u200b |")]) is None


@pytest.mark.parametrize("heading", ["# {}", "## {} ##", "{}\n===", "{}\n---"])
def test_heading_is_limited_like_header_block(heading: str) -> None:
    assert judge("x", [markdown(heading.format("x" * 150))]) is None
    assert refused(markdown(heading.format("x" * 151))).error == "invalid_blocks"


@pytest.mark.parametrize("heading", ["#", "# ", "## ##"])
def test_an_empty_heading_is_refused(heading: str) -> None:
    assert refused(markdown(f"text\n\n{heading}\n\ntext")).error == "invalid_blocks"
