"""Any input from Omni gives messages within Slack's limits that mention only followers."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.demo.slack.block_kit.messages import Refusal, judge
from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.errors import OmniUnreachable
from bot.domain.jobs import Job, JobError, JobId, JobState, JobStatus, Progress
from bot.domain.messages import Message
from bot.rendering import answer
from bot.rendering.card import render_card, render_completion_reply, render_unfollowed
from tests.support.tables import for_each

TENANT = "https://acme.omniapp.co"
NOW = datetime(2026, 5, 4, 14, 4, tzinfo=UTC)
PEOPLE = tuple(UserId(f"U0FOLLOWER{n:03}") for n in range(120))
A_CARD = Card(
    id=CardId("7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11"),
    job=JobId("550e8400-e29b-41d4-a716-446655440000"),
    channel=ChannelRef(TeamId("T0ACME"), ChannelId("C0DATA")),
    requester=UserId("U0ADA"),
    followers=PEOPLE,
    requested_at=NOW - timedelta(minutes=2),
)
OURS = re.compile(
    r"<@U0ADA>|<@U0FOLLOWER\d{3}>"
    r"|<!date\^\d+\^\{date_short_pretty\} \{time\}\|\d{4}-\d\d-\d\d \d\d:\d\d UTC>"
    r"|<(?:https?://|mailto:)[^\s<>|]+\|[^<>|\n]*>"
)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
"""Escaped like other text, and nothing in it is looked for as a name."""
PING = re.compile(r"<[!@#]\S|(?<![\w.+-])@(?:here|channel|everyone)", re.IGNORECASE)
SEVERAL_TABLES = Refusal("invalid_attachments", ("only_one_table_allowed",))
"""Tried first, because Slack's pages contradict each other about it."""
BREAKERS = (
    *("<!channel>", "<@U0EVIL>", "&lt;!here&gt;", "@everyone", "<https://evil.example|https://acme.omni.co>"),
    *(
        "```",
        "`",
        "*",
        "_",
        "~",
        ">",
        "\n>",
        "\n",
        "&",
        "<",
        "|",
        "\u202e",
        "\x00",
        "\ud800",
        "אבג",
        "العربية",
    ),
    *(
        "# Title\n",
        "- item\n",
        "| a | b |\n|---|---|\n| 1 | |\n",
        "[x](javascript:alert(1))",
        "![i](https://x.y/z)",
    ),
    *("**bold** ", "[docs](https://omni.co/a_(b))", "word ", "\\", "---\n", "x" * 300),
)
texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(BREAKERS), max_size=60).map("".join),
    st.tuples(st.sampled_from(BREAKERS), st.integers(1, 5_000)).map(lambda pair: pair[0] * pair[1]),
)
maybe_texts = st.none() | texts
times = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 5, 4)).map(
    lambda at: at.replace(tzinfo=UTC)
)
chats = st.one_of(
    st.none(),
    texts,
    st.sampled_from(["https://acme.omni.co/chat/1", "/chat/1", "https://acme.omniapp.co/" + "a" * 2_900]),
)
jobs = st.builds(
    Job,
    id=st.just(A_CARD.job),
    state=st.sampled_from(JobState),
    raw_state=texts,
    prompt=texts,
    chat_url=chats,
    topic=maybe_texts,
    progress=st.none() | st.builds(Progress, texts, st.none() | st.integers(0, 99)),
    answer=maybe_texts,
    error=st.none() | st.builds(JobError, texts, maybe_texts, maybe_texts),
    created_at=times,
    execution_started_at=times,
    completed_at=times,
    cancelled_at=times,
)


def every_message(job: Job) -> Iterator[Message]:
    sights = (
        JobStatus(job, NOW),
        JobStatus(job, NOW, OmniUnreachable(), NOW - timedelta(minutes=5)),
        JobStatus(job, NOW, is_missing=True),
    )
    for status in sights:
        yield from render_card(A_CARD, status, NOW, TENANT)
        yield render_unfollowed(A_CARD, status, TENANT)
        if (reply := render_completion_reply(A_CARD, status, TENANT)) is not None:
            yield reply
    for forms in answer.continuation(job, TENANT).replies:
        yield from forms


def texts_of(node: Any, kind: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a message's blocks, with the type of what holds it."""
    if isinstance(node, dict):
        kind = node.get("type", kind)
        if isinstance(node.get("text"), str):
            yield kind, node["text"]
        for value in node.values():
            yield from texts_of(value, kind)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from texts_of(value, kind)


def assert_harmless(message: Message) -> None:
    """Plain and rich text are literal: what mentions in them is an element of its own. mrkdwn must be escaped."""
    assert not re.search(r'"type": "(user|usergroup|broadcast|channel|markdown)"', json.dumps(message.blocks))
    for kind, text in [("mrkdwn", message.text), *texts_of(message.blocks)]:
        if kind == "mrkdwn":
            rest = OURS.sub("", CODE.sub(" ", text))
            assert "<" not in rest and ">" not in re.sub("(?m)^(> )+|^>$", "", rest)
            assert not PING.search(rest)
            assert text.count("```") % 2 == 0


def assert_within_limits(message: Message) -> None:
    assert 0 < len(message.text) <= 3_900
    assert len(message.blocks) <= 50
    assert len(message.text) + sum(len(text) for _, text in texts_of(message.blocks)) <= 10_000
    message.text.encode()
    assert len(message.fingerprint) == 24
    assert judge(message.text, list(message.blocks)) in (None, SEVERAL_TABLES)


@pytest.mark.timeout(300)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(jobs)
def test_no_job_pings_breaks_or_overfills(job: Job) -> None:
    for message in every_message(job):
        assert_harmless(message)
        assert_within_limits(message)


@pytest.mark.timeout(300)
@for_each("breaker", BREAKERS)
@for_each("state", JobState)
def test_no_repeated_fragment_pings_breaks_or_overfills(state: JobState, breaker: str) -> None:
    full = breaker * (30_000 // len(breaker))
    job = Job(
        id=A_CARD.job,
        state=state,
        raw_state=full,
        prompt=full + full,
        chat_url=full,
        topic=full,
        progress=Progress(full, 3),
        answer=full,
        error=JobError(full, full, full),
    )
    for message in every_message(job):
        assert_harmless(message)
        assert_within_limits(message)


def test_ping_is_detected() -> None:
    with pytest.raises(AssertionError):
        assert_harmless(Message("<!channel>"))
    with pytest.raises(AssertionError):
        assert_harmless(Message("text", ({"type": "markdown", "text": "words"},)))
    with pytest.raises(AssertionError):
        assert_harmless(
            Message("text", ({"type": "context", "elements": [{"type": "mrkdwn", "text": "@here"}]},))
        )
