"""Every answer of the corpus, in every variant, is accepted by Slack, complete and without mentions."""

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
    as_anybody_reads_it,
    flat,
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
WATCH = Card(
    id=CardId("watch"),
    job=JobId("550e8400-e29b-41d4-a716-446655440000"),
    channel=ChannelRef(TeamId("T0OMNIDEMO"), ChannelId(CHANNEL)),
    requester=ADA,
    followers=(ADA,),
    requested_at=NOW - timedelta(minutes=2),
)
MARKDOWN, SECTIONS, TEXT, LAST = range(4)
FORMS = (MARKDOWN, SECTIONS, TEXT, LAST)
BARE = answer.AnswerLayout(spoken="Answered.", question=(), above=(), below=(), caution=(), signature=())
SHOWS_MORE = {
    "links-astray": "addresses that lead astray are shown as text",
    "links-lending-a-name": "so are those under a borrowed name",
    "links-reference": "so is an address that nothing uses",
    "table-with-markup-in-cells": "an address in a table that is shown as text",
    "images": "an image without words is called one",
}


def job(name: str) -> Job:
    return Job(
        WATCH.job,
        JobState.COMPLETE,
        "COMPLETE",
        "What sold best?",
        chat_url=f"{TENANT}/chat/1",
        topic="order_items",
        answer=ANSWERS[name],
    )


@cache
def forms_of_card(name: str) -> tuple[Message, ...]:
    return render_card(WATCH, JobStatus(job(name), NOW), NOW, TENANT)


@cache
def what_follows(name: str) -> Continuation:
    return answer.continuation(job(name), TENANT)


class Slack:
    """The simulated Slack's Web API, which refuses variants that are richer than a given one."""

    def __init__(self, takes_from: int) -> None:
        self.takes_from = takes_from
        self.workspace = Workspace(NOW.timestamp)
        self.card = self._call("chat.postMessage", Message("Omni is working on it"))

    def show(self, forms: Sequence[Message], thread: str | None = None) -> int:
        """Deliver as the bot does: one variant after another until one is accepted. Return its number."""
        for number, form in enumerate(forms):
            if number >= self.takes_from or number == len(forms) - 1:
                if thread is None:
                    self._call("chat.update", form, ts=self.card)
                else:
                    self._call("chat.postMessage", form, thread_ts=thread)
                return number
        raise AssertionError("no form at all")

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
    slack = Slack(takes_from=form)
    taken = [slack.show(forms_of_card(name))]
    taken += [slack.show(forms, thread=slack.card) for forms in what_follows(name).replies]
    has_answer = len(forms_of_card(name)) == 4
    assert not has_answer or taken == [form] * len(taken)
    return slack


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
    found: set[str] = set()
    for kind, text in [("mrkdwn", message.text), *texts(message.blocks)]:
        if kind == "mrkdwn":
            found |= set(mentions(mrkdwn(text, str)))
            text = text.replace(f"<@{ADA}>", "")
        found |= {match.group() for match in LIVE.finditer(as_anybody_reads_it(text))}
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


@for_each("form", [MARKDOWN, SECTIONS, TEXT])
@for_each("name", ANSWERS)
def test_no_word_is_lost_or_doubled(name: str, form: int) -> None:
    source = flat(read_markdown(strip_control_chars(ANSWERS[name])))
    follows = what_follows(name)
    if follows.file is not None:
        assert words(follows.file.content.decode()) == words(strip_control_chars(ANSWERS[name]))
        assert len(follows.replies) <= MOST_REPLIES
        return
    if not strip_control_chars(ANSWERS[name]).strip():
        return
    first = answer.answer_card(job(name), BARE)
    pieces = [read(forms[form], form) for forms in (first, *follows.replies)]
    said = told(pieces, source)
    if name in SHOWS_MORE:
        assert is_within(source, said)
    else:
        assert said == source


def read(message: Message, form: int) -> list[Row]:
    """The part of the answer in a message, without the bot's own text around it."""
    if form == TEXT:
        _, _, body = message.text.partition("\n")
        return read_mrkdwn(body.removesuffix("\nThe answer continues in the thread."))
    (shown,) = (block for block in message.blocks if block["type"] in ("markdown", "section"))
    return read_markdown(shown["text"]) if form == MARKDOWN else read_mrkdwn(shown["text"]["text"])


def is_within(some: Row, all_of_them: Row) -> bool:
    rest = iter(all_of_them)
    return all(word in rest for word in some)


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
