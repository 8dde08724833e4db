"""Text as mrkdwn: shown as written, and inert."""

from hypothesis import given
from hypothesis import strategies as st

from bot.rendering.markdown.mrkdwn import BREAK, code, duration_range, escape, excerpt, rounded, shortened
from tests.support.tables import for_each


def seen(mrkdwn: str) -> str:
    """The text as Slack shows it."""
    return mrkdwn.replace(BREAK, "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@for_each("text", ["a < b & c > d", "*why* _not_ `that` ~now~", "order_items", "&lt;!channel&gt;", "```"])
def test_escaped_text_looks_unchanged(text: str) -> None:
    assert seen(escape(text)) == text


def test_escaped_text_does_nothing() -> None:
    assert (
        escape("<!channel> @here slack://open") == f"&lt;{BREAK}!channel&gt; @{BREAK}here slack{BREAK}://open"
    )
    assert escape("*a* ```b```").count("```") == 0


@for_each("address", ["ops@channel4.com", "first.last+tag@here.com", "order_items", "https://x.com/a_b"])
def test_nothing_is_inserted_into_addresses(address: str) -> None:
    assert escape(address) == address


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


def test_code_is_one_line_without_insertions() -> None:
    assert code("a`b\n<c>", 50) == "`a'b &lt;c&gt;`"
    assert code("<@U1> @here a_b", 50) == "`&lt;@U1&gt; @here a_b`"
    assert code(" \n ", 50) == ""


def test_excerpt_marks_a_cut() -> None:
    assert excerpt("one\n\ntwo\nthree", 100, 2) == "one\ntwo…"
    assert excerpt("one\ntwo", 100, 2) == "one\ntwo"
    assert len(excerpt("word " * 50_000, 100, 2)) <= 100


@for_each(
    "lower, upper, expected",
    [
        (41.2, 88.0, "40 to 90 s"),
        (0.2, 4.4, "1 to 4 s"),
        (58.0, 61.0, "about 60 s"),
        (45.0, 190.0, "45 s to 3 min"),
        (117.6, 119.9, "about 2 min"),
        (130.0, 320.0, "2 to 5 min"),
        (100.0 * 60, 125.0 * 60, "100 min to 2 h"),
        (2.2 * 3_600, 4.6 * 3_600, "2 to 5 h"),
        (0.0, 0.0, "about 1 s"),
    ],
)
def test_range_of_durations_is_rounded(lower: float, upper: float, expected: str) -> None:
    assert duration_range(rounded(lower), rounded(upper)) == expected


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_rounding_keeps_the_order(one: float, other: float) -> None:
    assert rounded(min(one, other)) <= rounded(max(one, other))
