"""*Show steps*: one message that lists the steps within Slack's limits."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.slack.block_kit.messages import judge
from bot.domain.results import JobResult, QueryDefinition, QuerySort, Step
from bot.rendering.data_messages import MOST_STEPS, steps_message
from tests.support.hostile_text import WORDS
from tests.support.reading import LIVE

AT = datetime(2026, 5, 4, 14, 2, 30, tzinfo=UTC)


def said(*steps: Step) -> str:
    forms = steps_message(JobResult(steps=steps))
    assert forms is not None
    return "\n".join(block["text"]["text"] for block in forms[0].blocks)


def test_steps_are_listed_with_their_times() -> None:
    text = said(
        Step("search_model", "Looking for **revenue**.", AT),
        Step("generate_query", "Run.", AT + timedelta(seconds=5), "Top products"),
        Step("summarize", "The whole answer again", None),
        Step("dream_up_app", "", None),
    )
    assert text.split("\n") == [
        "*What the AI did* · 4 steps",
        f"1. *Searched the model*: Looking for revenue. · <!date^{int(AT.timestamp())}^{{time_secs}}|14:02:30 UTC>",
        f"2. *Ran a query* “Top products”: Run. · <!date^{int(AT.timestamp()) + 5}^{{time_secs}}|14:02:35 UTC>",
        "3. *Wrote the answer*",
        "4. *dream up app*",
    ]


def test_query_is_shown_under_its_step() -> None:
    definition = QueryDefinition(
        fields=("products.name", "order_items.total_revenue"),
        filters=(("order_items.created_at", "last 12 months"), ("users.state", "not CA, NY")),
        sorts=(QuerySort("order_items.total_revenue", is_descending=True), QuerySort("products.name")),
        limit=1_000,
    )
    text = said(Step("generate_query", "", None, "Top", definition), Step("summarize"))
    shown = (
        "> fields `products.name`, `order_items.total_revenue`"
        " · filters `order_items.created_at` is `last 12 months`, `users.state` is `not CA, NY`"
        " · sorted by `order_items.total_revenue` descending, `products.name` · limit 1,000"
    )
    assert text.split("\n")[1:] == ["1. *Ran a query* “Top”", shown, "2. *Wrote the answer*"]


def test_long_query_names_its_first_parts() -> None:
    many = tuple(f"view.field_{number}" for number in range(50))
    text = said(Step("generate_query", "", None, None, QueryDefinition(fields=many)))
    assert "`view.field_5`, and 44 more" in text and "field_6" not in text


@given(st.lists(WORDS | st.text(), max_size=9), st.integers(1, MOST_STEPS))
def test_any_query_is_valid_and_mentions_no_user(words: list[str], n_steps: int) -> None:
    sorts = tuple(QuerySort(word) for word in words)
    definition = QueryDefinition(tuple(words), tuple((word, word) for word in words), sorts, 1)
    step = Step("generate_query", "word " * 200, AT, "name " * 100, definition)
    for form in steps_message(JobResult(steps=(step,) * n_steps)) or ():
        assert judge(form.text, list(form.blocks)) is None
        assert "<" not in re.sub(r"<!date\^[^>]*>", "", form.text)


def test_no_steps_is_none() -> None:
    assert steps_message(JobResult()) is None


@pytest.mark.parametrize("n_steps", [MOST_STEPS, MOST_STEPS + 1, 500])
def test_omitted_steps_are_counted(n_steps: int) -> None:
    text = said(*[Step("inspect_model", "x")] * n_steps)
    assert f"{MOST_STEPS}. *Looked" in text and f"{MOST_STEPS + 1}. *" not in text
    assert ("and 1 more." in text) == (n_steps == MOST_STEPS + 1)
    assert ("and 460 more." in text) == (n_steps == 500)


def test_long_messages_are_shortened() -> None:
    text = said(*[Step("generate_query", "word " * 1_000, AT, "name " * 100)] * MOST_STEPS)
    assert len(text) < 7_500 and "more." in text
    assert all(len(line) < 600 for line in text.split("\n"))


def test_links_in_messages_are_plain_text() -> None:
    text = said(
        Step(
            "<https://evil.example|t>", "See <https://evil.example|your bank>", AT, "<https://evil.example|q>"
        )
    )
    assert "<http" not in text and "evil.example" in text


@given(
    st.lists(
        st.builds(Step, WORDS.filter(bool), WORDS, st.just(AT) | st.none(), WORDS | st.none()), min_size=1
    )
)
def test_any_steps_are_valid_and_ping_no_user(steps: list[Step]) -> None:
    forms = steps_message(JobResult(steps=tuple(steps)))
    assert forms is not None
    for form in forms:
        assert judge(form.text, list(form.blocks)) is None
        for shown in (form.text, str(form.blocks)):
            assert not LIVE.search(re.sub(r"<!date\^[^>]*>", "", shown))
