"""When Slack refuses a form, the next plainer one is tried at once: each step, for cards and for replies."""

import asyncio
from dataclasses import replace

import pytest

from bot.delivery.fallback import BlockSupport
from bot.delivery.posts import MessagePoster, PendingPost
from bot.delivery.updates import MessageUpdater
from bot.domain.cards import MessageTs, ReplyKind
from bot.domain.errors import OutcomeUnknown, PayloadRefused
from bot.domain.jobs import JobState, JobStatus
from bot.domain.messages import Message
from bot.ratelimit import Rate, RateLimiter
from bot.rendering import answer
from bot.rendering.card import render_card
from tests.support.fakes import HERE, START, FakeCards, FakeSlackMessages, FreeLedger, a_card, a_job, now

pytestmark = pytest.mark.looptime

TENANT = "https://acme.omniapp.co"
ANSWER = "## Sales\n\n| Region | Sum |\n|---|---|\n| EMEA | 41 |\n\n" + "A finding of note. " * 300
JOB = a_job(JobState.COMPLETE, answer=ANSWER, chat_url=f"{TENANT}/chat/1")
CARD = render_card(a_card(), JobStatus(JOB, START), START, TENANT)
(REPLY, *_) = answer.continuation(JOB, TENANT).replies
CODES = ("invalid_blocks", "msg_blocks_too_long", "msg_too_long", "invalid_attachments")
RUNGS = (0, 1, 2, 3)


def refusals(number: int) -> list[PayloadRefused]:
    return [PayloadRefused(code) for code in CODES[:number]]


async def draw(fake_slack: FakeSlackMessages, forms: tuple[Message, ...]) -> None:
    """Give a card its last look."""
    cards = FakeCards()
    drawing = MessageUpdater(
        fake_slack, cards, RateLimiter(FreeLedger(), "edits", Rate(1.0, 0.0)), BlockSupport()
    )
    card = a_card()
    cards.rows[card.id] = card
    ts = await fake_slack.post(HERE, Message("first"), mark="card")
    running = asyncio.create_task(drawing.run())
    assert await drawing.show_final(card, ts, forms)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def reply(fake_slack: FakeSlackMessages, forms: tuple[Message, ...]) -> None:
    card = replace(a_card(), message_ts=MessageTs("1.0"))
    post = PendingPost(card, forms, card.message_ts, None, ReplyKind("1"))
    await MessagePoster(fake_slack, FakeCards(card), now, BlockSupport()).post_once(post)


@pytest.mark.parametrize("rung", RUNGS)
async def test_refused_card_falls_back_at_once(rung: int) -> None:
    fake_slack = FakeSlackMessages()
    fake_slack.plan("update", *refusals(rung))
    await draw(fake_slack, CARD)
    (shown,) = fake_slack.top_level()
    assert shown.message == CARD[rung]
    assert fake_slack.times("update") == [0.0] * (rung + 1)


@pytest.mark.parametrize("rung", RUNGS)
async def test_refused_reply_falls_back_within_post_limit(rung: int) -> None:
    fake_slack = FakeSlackMessages()
    fake_slack.plan("post", *refusals(rung))
    await reply(fake_slack, REPLY)
    (posted,) = fake_slack.replies()
    assert posted.message == REPLY[rung]
    assert asyncio.get_running_loop().time() <= rung


async def test_internal_errors_make_card_plainer() -> None:
    fake_slack = FakeSlackMessages()
    fake_slack.plan("update", *[OutcomeUnknown("internal_error")] * 6)
    await draw(fake_slack, CARD)
    (shown,) = fake_slack.top_level()
    assert shown.message == CARD[2]


async def test_internal_errors_make_reply_plainer() -> None:
    fake_slack = FakeSlackMessages()
    fake_slack.plan("post", *[OutcomeUnknown("internal_error")] * 3)
    await reply(fake_slack, REPLY)
    (posted,) = fake_slack.replies()
    assert posted.message == REPLY[1]


async def test_broken_connections_make_nothing_plainer() -> None:
    fake_slack = FakeSlackMessages()
    fake_slack.plan("update", *[OutcomeUnknown("TimeoutError")] * 9)
    fake_slack.plan("post", *[OutcomeUnknown("http_502")] * 4)
    await reply(fake_slack, REPLY)
    await draw(fake_slack, CARD)
    assert fake_slack.replies()[0].message == REPLY[0]
    assert fake_slack.top_level()[0].message == CARD[0]
