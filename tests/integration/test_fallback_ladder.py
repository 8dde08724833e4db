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
from tests.support.fakes import HERE, START, FakeBoard, FakeWatches, FreeLedger, a_job, a_watch, now

pytestmark = pytest.mark.looptime

TENANT = "https://acme.omniapp.co"
ANSWER = "## Sales\n\n| Region | Sum |\n|---|---|\n| EMEA | 41 |\n\n" + "A finding of note. " * 300
JOB = a_job(JobState.COMPLETE, answer=ANSWER, chat_url=f"{TENANT}/chat/1")
CARD = render_card(a_watch(), JobStatus(JOB, START), START, TENANT)
(REPLY, *_) = answer.continuation(JOB, TENANT).replies
CODES = ("invalid_blocks", "msg_blocks_too_long", "msg_too_long", "invalid_attachments")
RUNGS = (0, 1, 2, 3)


def refusals(number: int) -> list[PayloadRefused]:
    return [PayloadRefused(code) for code in CODES[:number]]


async def draw(board: FakeBoard, forms: tuple[Message, ...]) -> None:
    """Give a card its last look."""
    cards = FakeWatches()
    drawing = MessageUpdater(board, cards, RateLimiter(FreeLedger(), "edits", Rate(1.0, 0.0)), BlockSupport())
    card = a_watch()
    cards.rows[card.id] = card
    ts = await board.post(HERE, Message("first"), mark="card")
    running = asyncio.create_task(drawing.run())
    assert await drawing.show_final(card, ts, forms)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def reply(board: FakeBoard, forms: tuple[Message, ...]) -> None:
    card = replace(a_watch(), message_ts=MessageTs("1.0"))
    post = PendingPost(card, forms, card.message_ts, None, ReplyKind("1"))
    await MessagePoster(board, FakeWatches(card), now, BlockSupport()).post_once(post)


@pytest.mark.parametrize("rung", RUNGS)
async def test_refused_card_falls_back_at_once(rung: int) -> None:
    board = FakeBoard()
    board.plan("update", *refusals(rung))
    await draw(board, CARD)
    (shown,) = board.top_level()
    assert shown.message == CARD[rung]
    assert board.times("update") == [0.0] * (rung + 1)


@pytest.mark.parametrize("rung", RUNGS)
async def test_refused_reply_falls_back_within_post_limit(rung: int) -> None:
    board = FakeBoard()
    board.plan("post", *refusals(rung))
    await reply(board, REPLY)
    (posted,) = board.replies()
    assert posted.message == REPLY[rung]
    assert asyncio.get_running_loop().time() <= rung


async def test_internal_errors_make_card_plainer() -> None:
    board = FakeBoard()
    board.plan("update", *[OutcomeUnknown("internal_error")] * 6)
    await draw(board, CARD)
    (shown,) = board.top_level()
    assert shown.message == CARD[2]


async def test_internal_errors_make_reply_plainer() -> None:
    board = FakeBoard()
    board.plan("post", *[OutcomeUnknown("internal_error")] * 3)
    await reply(board, REPLY)
    (posted,) = board.replies()
    assert posted.message == REPLY[1]


async def test_broken_connections_make_nothing_plainer() -> None:
    board = FakeBoard()
    board.plan("update", *[OutcomeUnknown("TimeoutError")] * 9)
    board.plan("post", *[OutcomeUnknown("http_502")] * 4)
    await reply(board, REPLY)
    await draw(board, CARD)
    assert board.replies()[0].message == REPLY[0]
    assert board.top_level()[0].message == CARD[0]
