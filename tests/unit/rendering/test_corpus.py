"""Every answer of the corpus, in every variant, is accepted by Slack, complete and without mentions."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from bot.demo.page_views.text import mrkdwn
from bot.demo.slack.web_api import dispatch
from bot.demo.slack.web_api.call import Call
from bot.demo.slack.workspace import StoredMessage, Workspace
from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.jobs import Job, JobId, JobState, JobStatus
from bot.domain.messages import Message
from bot.domain.text import strip_control_chars
from bot.rendering import answer
from bot.rendering.answer import MOST_REPLIES, Continuation
from bot.rendering.card import render_card
from tests.support import outside
from tests.support.answers import ANSWERS, GENERATED, STORED
from tests.support.reading import (
    LIVE,
    Row,
    flat,
    read_blocks,
    read_markdown,
    read_mrkdwn,
    told,
    words,
)
from tests.support.tables import for_each

pytestmark = pytest.mark.timeout(300)  # each test goes through the whole corpus

TENANT = "https://acme.omniapp.co"
NOW = datetime(2026, 5, 4, 14, 4, tzinfo=UTC)
ADA = UserId("U0ADABYRON")
CHANNEL = "C0DATATEAM"
A_CARD = Card(
    id=CardId("watch"),
    job=JobId("550e8400-e29b-41d4-a716-446655440000"),
    channel=ChannelRef(TeamId("T0OMNIDEMO"), ChannelId(CHANNEL)),
    requester=ADA,
    followers=(ADA,),
    requested_at=NOW - timedelta(minutes=2),
)
BLOCKS, ONE_TABLE, NO_TABLE, SECTIONS, TEXT, LAST = 0, 1, 2, -3, -2, -1
FORMS = (ONE_TABLE, NO_TABLE, SECTIONS, TEXT, LAST)
"""From the first variant on that the simulated Slack takes: it allows one table."""
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
BARE = answer.AnswerLayout(spoken="Answered.", above=(), below=(), caution="", signature=())
REPAIRED = {
    "emphasis": "a star between digits is no mark",
    "footnotes": "their numbers are raised",
    "html": "tags are left out",
    "images": "an image without words is called one",
    "links-reference": "an address that nothing uses is shown",
    "links-astray": "addresses that lead astray are left out",
    "links-lending-a-name": "the true host follows a borrowed name",
    "slack-markup": "Slack's links are links",
    "table-with-markup-in-cells": "addresses that lead astray are left out",
    "task-list": "a box stands for its letter",
    "underscores-and-stars": "a star between letters is no mark",
}
"""Answers whose words are not all shown as written. Their golden files say how."""


def job(name: str) -> Job:
    return Job(
        A_CARD.job,
        JobState.COMPLETE,
        "COMPLETE",
        "What sold best?",
        chat_url=f"{TENANT}/chat/1",
        topic="order_items",
        answer=ANSWERS[name],
    )


@cache
def forms_of_card(name: str) -> tuple[Message, ...]:
    return render_card(A_CARD, JobStatus(job(name), NOW), NOW, TENANT)


@cache
def what_follows(name: str) -> Continuation:
    return answer.continuation(job(name), TENANT)


class Slack:
    """The simulated Slack's Web API, to which one variant of each message is sent."""

    def __init__(self) -> None:
        self.workspace = Workspace(NOW.timestamp)
        self.card = self._call("chat.postMessage", Message("Omni is working on it"))

    def show(self, message: Message, thread: str | None = None) -> None:
        """Deliver as the bot does. Raises if Slack refuses it."""
        if thread is None:
            self._call("chat.update", message, ts=self.card)
        else:
            self._call("chat.postMessage", message, thread_ts=thread)

    def _call(self, method: str, message: Message, **more: str) -> str:
        args: dict[str, Any] = {
            "channel": CHANNEL,
            "text": message.text,
            "blocks": list(message.blocks),
            **more,
        }
        call = Call(self.workspace, args, frozenset({"chat:write"}), None, NOW.timestamp(), str)
        return str(dispatch.answer(method, "xoxb", {"xoxb": "bot"}, call)["ts"])

    @property
    def messages(self) -> list[StoredMessage]:
        """The card and the replies, in order."""
        return list(self.workspace.channels[CHANNEL].messages.values())


def delivered(name: str, form: int) -> Slack:
    slack = Slack()
    slack.show(variant(forms_of_card(name), form))
    for forms in what_follows(name).replies:
        slack.show(variant(forms, form), thread=slack.card)
    return slack


def variant(forms: Sequence[Message], form: int) -> Message:
    """The variant of that richness: the three kinds of blocks differ only where there are tables."""
    n_blocks = max(1, len(forms) - 3)
    return (
        forms[max(form, -len(forms))] if form < 0 else forms[min(n_blocks - 1, max(0, form + n_blocks - 3))]
    )


def every_form(name: str) -> Iterator[Message]:
    yield from forms_of_card(name)
    for forms in what_follows(name).replies:
        yield from forms


def test_corpus_is_large_and_names_unique() -> None:
    assert len(ANSWERS) == len(list(STORED.glob("*.md"))) + len(GENERATED) >= 100


@for_each("form", FORMS)
@for_each("name", ANSWERS)
def test_every_variant_is_accepted_and_pings_nobody(name: str, form: int) -> None:
    slack = delivered(name, form)
    assert len(slack.messages) == 1 + len(what_follows(name).replies) <= 1 + MOST_REPLIES
    for message in slack.messages:
        assert not mentioned(message) - {ADA}


def mentioned(message: StoredMessage) -> set[str]:
    """The users whom a message mentions, including the requester."""
    found = set(re.findall(r'"(user|usergroup|broadcast|channel)_?(?:id)?": ', json.dumps(message.blocks)))
    for kind, text in [("mrkdwn", message.text), *texts(message.blocks)]:
        if kind == "mrkdwn":  # plain and rich text are literal
            found |= set(mentions(mrkdwn(text, str)))
            text = CODE.sub(" ", text.replace(f"<@{ADA}>", ""))
            found |= {match.group() for match in LIVE.finditer(html.unescape(text))}
    return found


def mentions(nodes: Sequence[Any]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, dict):
            if node["tag"] == "mention":
                yield node["id"]
            yield from mentions(node.get("children", ()))


def texts(node: Any, kind: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        kind = node.get("type", kind)
        if isinstance(node.get("text"), str):
            yield kind, node["text"]
        for value in node.values():
            yield from texts(value, kind)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from texts(value, kind)


@for_each("form", [BLOCKS, ONE_TABLE, NO_TABLE, SECTIONS, TEXT])
@for_each("name", [name for name in ANSWERS if name not in REPAIRED])
def test_no_word_is_lost_or_doubled(name: str, form: int) -> None:
    source = flat(read_markdown(strip_control_chars(ANSWERS[name])))
    follows = what_follows(name)
    if follows.file is not None:
        assert words(follows.file.content.decode()) == words(strip_control_chars(ANSWERS[name]))
        assert len(follows.replies) <= MOST_REPLIES
        return
    if not strip_control_chars(ANSWERS[name]).strip():
        return
    first = answer.answer_card(job(name), BARE, TENANT)
    pieces = [read(variant(forms, form), form) for forms in (first, *follows.replies)]
    said = told(pieces, source)
    assert said == source


def read(message: Message, form: int) -> list[Row]:
    """The part of the answer in a message, without the bot's own text around it."""
    if form == TEXT:
        _, _, body = message.text.partition("\n")
        return read_mrkdwn(body.removesuffix("\nThe answer continues in the thread."))
    if form == SECTIONS:
        (shown,) = (block for block in message.blocks if block["type"] == "section")
        return read_mrkdwn(shown["text"]["text"])
    return read_blocks(message.blocks)


@for_each("name", ANSWERS)
def test_last_variant_links_to_omni(name: str) -> None:
    if strip_control_chars(ANSWERS[name]).strip():
        for forms in (forms_of_card(name), *what_follows(name).replies):
            assert "could not be shown in Slack" in forms[LAST].text
            assert f"<{TENANT}/chat/1|Open in Omni>" in forms[LAST].text
            assert "fail" not in forms[LAST].text


@for_each("name", ANSWERS)
def test_independent_libraries_accept_every_message(name: str) -> None:
    for message in every_form(name):
        outside.judge(message)
