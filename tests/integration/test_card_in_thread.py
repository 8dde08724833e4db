"""A card that is a reply in a thread, in virtual time: it lives like any other, and its thread is the one it is in."""

import asyncio
from dataclasses import replace

import pytest

from bot.delivery.fallback import BlockSupport
from bot.delivery.posts import MessagePoster
from bot.domain.access import ContentPolicy
from bot.domain.cards import CardId, MessageTs, ReplyKind, UserId
from bot.domain.errors import JobNotFound, KeyRefused, NotAllowedHere, OutcomeUnknown
from bot.domain.jobs import JobState
from bot.domain.messages import Message
from bot.domain.results import JobResult, QueryData
from bot.services.job_data import JobDataService
from bot.services.job_results import JobResults
from tests.support.fakes import (
    ADA,
    HERE,
    JOB,
    START,
    FakeAccess,
    FakeCards,
    FakeOmni,
    FakeRemovals,
    FakeSlackMessages,
    a_card,
    a_job,
    now,
)
from tests.support.tracking import PIECES, RULES, TALL, TALLEST, Stage, charts, direct, paragraphs

pytestmark = pytest.mark.looptime

ROOT = MessageTs("0.5")
CARD_ID = CardId("watch")
MINE = replace(a_card(), thread=ROOT, asked_by_bot=True)


async def lived(stage: Stage, seconds: float = 90.0) -> None:
    async with stage.bot():
        await asyncio.sleep(seconds)


def cards(fake_slack: FakeSlackMessages) -> list[MessageTs | None]:
    """The thread of each message that is a card, which its mark tells."""
    return [posted.thread for posted in fake_slack.posted.values() if posted.mark.count("/") == 1]


async def test_the_card_its_notice_and_all_that_follows_are_in_the_thread_of_the_card() -> None:
    stage = Stage(a_job(), MINE)
    stage.omni.image = b"\x89PNG\r\n\x1a\n"
    async with stage.bot():
        await asyncio.sleep(40)
        stage.says(JobState.COMPLETE, answer=TALLEST)
        await asyncio.sleep(90)
    card, notice, *rest = stage.fake_slack.posted.values()
    assert {posted.thread for posted in (card, notice, *rest)} == {ROOT}
    assert notice.message.text.startswith(f"<@{ADA}>")
    assert [(file.thread, file.upload.name) for file in stage.fake_slack.uploaded] == [(ROOT, "answer.md")]
    assert charts(stage.fake_slack) == ["card"]
    seen = paragraphs(card.message, *[posted.message for posted in rest])
    assert seen == list(range(1, len(seen) + 1))
    assert stage.all_closed()


async def test_a_card_whose_post_was_not_answered_is_looked_for_in_its_thread() -> None:
    stage = Stage(a_job(), MINE)
    stage.fake_slack.plan("post", OutcomeUnknown("TimeoutError"), after_effect=True)
    await lived(stage)
    assert cards(stage.fake_slack) == [ROOT]
    assert stage.card_repository.rows[CARD_ID].message_ts == MessageTs("1.0")


async def test_a_card_that_a_dead_process_had_begun_is_looked_for_in_its_thread() -> None:
    stage = Stage(a_job(), replace(MINE, post_started_at=START))
    await stage.fake_slack.post(HERE, Message("card"), mark=f"{CARD_ID}/{START.timestamp():.6f}", thread=ROOT)
    await lived(stage)
    assert cards(stage.fake_slack) == [ROOT]


async def test_what_a_dead_process_had_begun_in_the_thread_is_not_posted_twice() -> None:
    stage = Stage(a_job(JobState.COMPLETE, answer=TALL), MINE)
    async with stage.bot():
        await asyncio.sleep(2.5)
    slot = ReplyKind("2")
    begun = stage.card_repository.threads[CARD_ID]
    assert slot in begun and len(begun) < PIECES
    stage.card_repository.threads[CARD_ID][slot] = replace(begun[slot], ts=None)
    await lived(stage)
    assert len(stage.fake_slack.posted) == 1 + PIECES
    assert stage.all_closed()


async def test_where_the_thread_is_gone_the_card_stands_by_itself_and_has_a_thread_of_its_own() -> None:
    stage = Stage(a_job(JobState.COMPLETE, answer=TALL), MINE)
    stage.fake_slack.gone_threads.add(ROOT)
    await lived(stage)
    (card,) = stage.fake_slack.top_level()
    assert {reply.thread for reply in stage.fake_slack.replies()} == {
        stage.card_repository.rows[CARD_ID].message_ts
    }
    assert len(stage.fake_slack.replies()) == PIECES and card.place == HERE
    assert stage.card_repository.rows[CARD_ID].thread is None and stage.all_closed()


async def test_a_thread_that_goes_after_the_card_was_posted_costs_nobody_the_outcome() -> None:
    stage = Stage(a_job(), MINE)
    async with stage.bot():
        await asyncio.sleep(5)
        stage.fake_slack.gone_threads.add(ROOT)
        stage.says(JobState.FAILED)
        await asyncio.sleep(90)
    (told,) = stage.shown(direct(ADA))
    assert "The job failed" in told


async def test_a_card_that_somebody_deletes_is_posted_anew_in_its_thread() -> None:
    stage = Stage(a_job(), MINE)
    async with stage.bot():
        await asyncio.sleep(5)
        stage.fake_slack.posted.clear()
        stage.says(JobState.COMPLETE, answer="42")
        await asyncio.sleep(60)
    (card,) = stage.fake_slack.posted.values()
    assert (card.thread, "42" in card.message.text) == (ROOT, True)


async def test_where_the_bot_may_not_post_the_card_goes_to_direct_messages_and_to_no_thread() -> None:
    stage = Stage(a_job(), MINE)
    stage.fake_slack.plan("post", NotAllowedHere("restricted_action_thread_locked"))
    await lived(stage)
    (moved,) = stage.card_repository.rows.values()
    assert (moved.channel, moved.thread, moved.asked_by_bot) == (direct(ADA), None, True)
    assert len(stage.shown(direct(ADA))) == 1


async def test_a_card_in_a_thread_goes_before_a_reply_that_waits() -> None:
    stage = Stage(a_job(JobState.COMPLETE, answer=TALL), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2.2)
        stage.card_repository.rows[CardId("own")] = replace(MINE, id=CardId("own"))
        await runner.start(JOB)
        await asyncio.sleep(60)
    order = ["/".join(posted.mark.split("/")[:-1]) for posted in stage.fake_slack.posted.values()]
    assert order[:5] == ["watch", "watch/1", "watch/2", "own", "watch/3"]


@pytest.mark.parametrize("refusal", [JobNotFound("404"), KeyRefused("401")], ids=["not found", "refused"])
async def test_a_job_that_the_bot_has_begun_gets_its_card_though_omni_does_not_tell_of_it_at_first(
    refusal: JobNotFound | KeyRefused,
) -> None:
    stage = Stage(refusal, MINE)
    stage.expects(CARD_ID)
    async with stage.bot():
        await asyncio.sleep(20)
        assert cards(stage.fake_slack) == [ROOT]
        stage.says(JobState.COMPLETE, answer="42")
        await asyncio.sleep(60)
    assert [("42" in posted.message.text) for posted in stage.fake_slack.posted.values()][:1] == [True]


@pytest.mark.parametrize("state", [JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED])
async def test_how_the_job_ended_is_kept_with_the_watch(state: JobState) -> None:
    stage = Stage(a_job(state), a_card())
    await lived(stage)
    row = stage.card_repository.rows[CARD_ID]
    assert (row.outcome, row.ended) == (state, True)


async def test_the_data_of_an_answer_come_into_the_thread_that_its_card_is_in() -> None:
    omni, fake_slack = FakeOmni(a_job(JobState.COMPLETE)), FakeSlackMessages()
    omni.found.clear()
    omni.found.append(JobResult("orders", None, (), (QueryData("Top", "success", "A,B\n1,2"),)))
    cards = FakeCards(replace(MINE, message_ts=MessageTs("9.0"), ended=True, closed_at=START))
    service = JobDataService(
        omni=omni,
        results=JobResults(omni, now),
        messages=fake_slack,
        cards=cards,
        removals=FakeRemovals(cards),
        now=now,
        poster=MessagePoster(fake_slack, cards, now, BlockSupport()),
        authorization=FakeAccess(),
        is_shared=FakeAccess().is_shared,
        content_policy=ContentPolicy(),
        tenant=RULES.tenant,
        bot_user=UserId("U0BOT"),
    )
    assert await service.show_data(CARD_ID, HERE, MessageTs("9.0"), ADA) is None
    assert {posted.thread for posted in fake_slack.posted.values()} == {ROOT}
    assert {file.thread for file in fake_slack.uploaded} == {ROOT}


# Cancelling is looked after at once


async def test_a_job_that_somebody_asks_to_cancel_is_looked_at_right_away_and_soon_again() -> None:
    stage = Stage(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(300)
        before = len(stage.omni.asked)
        await asyncio.sleep(2.5)
        asked_at = asyncio.get_running_loop().time()
        await stage.card_repository.set_canceller(JOB, ADA, instead_of=None)
        await runner.start(JOB)
        await asyncio.sleep(9.0)
        times = [time - asked_at for time, _ in stage.omni.asked[before:] if time >= asked_at]
        urgent = [urgent for time, urgent in stage.omni.asked[before:] if time >= asked_at]
    assert times[:5] == pytest.approx([0.0, 2.0, 4.0, 6.0, 8.0], abs=0.1)
    assert urgent[:2] == [True, False]
