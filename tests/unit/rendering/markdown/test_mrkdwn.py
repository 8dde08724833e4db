"""Text and Markdown as mrkdwn: shown as written, and inert."""

from hypothesis import given
from hypothesis import strategies as st

from bot.rendering.markdown.mrkdwn import code, escape, excerpt, from_markdown, plain, shortened
from bot.rendering.markdown.sanitize import BREAK
from tests.support.tables import for_each


def seen(mrkdwn: str) -> str:
    """The text as Slack shows it."""
    return mrkdwn.replace(BREAK, "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@for_each("text", ["a < b & c > d", "*why* _not_ `that` ~now~", "order_items", "&lt;!channel&gt;", "```"])
def test_escaped_text_looks_unchanged(text: str) -> None:
    assert seen(escape(text)) == text


def test_escaped_text_does_nothing() -> None:
    assert escape("<!channel> @here") == f"&lt;{BREAK}!channel&gt; @{BREAK}here"
    assert escape("*a* ```b```").count("```") == 0


def test_underscores_inside_words_stay() -> None:
    assert escape("order_items") == "order_items"


@given(st.text("&<>*_ab ") | st.text(), st.integers(2, 200))
def test_shortened_text_fits_with_whole_entities(text: str, limit: int) -> None:
    result = shortened(text, limit)
    assert len(result) <= limit
    assert seen(result).count("&") >= result.count("&amp;")
    assert not any(
        result.endswith(half + "…") for half in ("&", "&a", "&am", "&amp", "&l", "&lt", "&g", "&gt")
    )


def test_shortened_text_ends_after_a_word() -> None:
    assert shortened("one two three", 10) == "one two…"
    assert shortened("one two", 10) == "one two"


def test_code_is_one_line() -> None:
    assert code("a`b\n<c>", 50) == "`a'b &lt;c&gt;`"
    assert code(" \n ", 50) == ""


def test_excerpt_marks_a_cut() -> None:
    assert excerpt("one\n\ntwo\nthree", 100, 2) == "one\ntwo…"
    assert excerpt("one\ntwo", 100, 2) == "one\ntwo"
    assert len(excerpt("word " * 50_000, 100, 2)) <= 100


def test_plain_words_have_no_markup() -> None:
    prose = "## Title\n\n**Bold** and [a link](https://x.y) `code`"
    markdown = f"{prose}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sql\nSELECT 1\n```"
    assert plain(markdown) == "Title\nBold and a link code\na, b\n1, 2\nSELECT 1"


def test_plain_words_do_not_ping() -> None:
    assert plain("&lt;!channel&gt; @here") == f"<{BREAK}!channel> @{BREAK}here"


@for_each(
    "markdown, mrkdwn",
    [
        ("# Title **bold**", "*Title bold*"),
        ("**bold** *it* ~~gone~~ `code`", "*bold* _it_ ~gone~ `code`"),
        ("[docs](https://x.y/?a=1&b=2)", "<https://x.y/?a=1&amp;b=2|docs>"),
        ("[a|b](https://x.y)", "<https://x.y|a¦b>"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("![chart](https://x.y/z.png)", "<https://x.y/z.png|chart>"),
        ("- one\n- two\n  - three", "• one\n• two\n    • three"),
        ("3. one\n4. two", "3. one\n4. two"),
        ("> said\n> so", "> said\n> so"),
        ("```sql\nSELECT 1 < 2\n```", "```\nSELECT 1 &lt; 2\n```"),
        (
            "| Region | Sales |\n|---|---|\n| EMEA | 41 |",
            "```\nRegion | Sales\n-------+------\nEMEA   | 41\n```",
        ),
        ("one\n\n---\n\ntwo", "one\n\n———\n\ntwo"),
        ("5 < 6 & 7", "5 &lt; 6 &amp; 7"),
        ("<!channel>", f"&lt;{BREAK}!channel&gt;"),
        ("本**收入**15 2*3*4", f"本{BREAK}*收入*{BREAK}15 2{BREAK}_3_{BREAK}4"),
        ("[![chart](https://x.y/z.png)](https://x.y)", "<https://x.y|chart>"),
        ("1. ```\n   code\n   ```\n2. two\n3.", "1. \n```\ncode\n```\n\n2. two\n3. "),
    ],
)
def test_markdown_becomes_mrkdwn(markdown: str, mrkdwn: str) -> None:
    assert from_markdown(markdown) == mrkdwn


def test_code_cannot_end_its_fence() -> None:
    assert from_markdown("~~~\n```\n*a*\n~~~").count("```") == 2


def test_markdown_escapes_stay_escaped() -> None:
    assert from_markdown("2 \\* 3 \\* 4") == f"2 *{BREAK} 3 *{BREAK} 4"


def test_too_deep_nesting_is_shown_as_typed() -> None:
    deep = "\n".join("  " * n + f"- level {n}" for n in range(100))
    assert all(f"level {n}" in from_markdown(deep) and f"level {n}" in plain(deep) for n in range(100))
