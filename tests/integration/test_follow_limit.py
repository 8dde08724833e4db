"""A job that does not end is looked after only so long, and longer for whoever asks: in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.domain.cards import Card, CardId, ChannelId, ChannelRef, MessageTs
from bot.domain.errors import JobNotFound, OmniUnreachable, StoreUnavailable
from bot.domain.jobs import JobId, JobState
from bot.domain.messages import Message
from bot.rendering import replies
from bot.tracking.recovery import look_again
from tests.support.fakes import ADA, GRACE, HERE, JOB, START, Posted, a_card, a_job, now, said
from tests.support.tracking import CARD_ID, LONG, Resting, Stage, a_follow_service

pytestmark = pytest.mark.looptime

CARD, OLD_CARD = MessageTs("1.0"), MessageTs("0.1")


@asynccontextmanager
async def looking_again(stage: Stage, start: Callable[[JobId], Awaitable[None]]) -> AsyncIterator[None]:
    """With the sweep that asks again for lost jobs."""
    task = asyncio.create_task(look_again(stage.card_repository, stage.omni, start, now))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def old(age: timedelta) -> Resting:
    """A job that was asked for so long ago, its card posted then, as a bot finds it that comes back."""
    posted = replace(
        a_card(),
        requested_at=START - age,
        post_started_at=START - age,
        message_ts=OLD_CARD,
        shown_fingerprint="look",
    )
    stage = Resting(a_job(), posted)
    stage.fake_slack.posted[OLD_CARD] = Posted(HERE, Message("Omni is working on it."), "mark", None)
    return stage


async def test_after_so_long_the_card_rests_and_the_job_is_asked_about_no_more() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(LONG - 10)
        assert not stage.rests()
        await asyncio.sleep(60)
        assert stage.rests()
        assert stage.all_closed()
        asked = len(stage.omni.asked)
        await asyncio.sleep(10 * LONG)
    assert len(stage.omni.asked) == asked
    assert stage.told() == []


async def test_whoever_resumes_goes_on_with_the_same_card_to_the_answer() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        line = await a_follow_service(stage, runner.start).resume(CARD_ID, HERE, CARD, ADA)
        assert line == replies.resumed()
        await asyncio.sleep(10)
        assert "Omni is working on it" in stage.shown()[0]
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(60)
    assert ["The answer." in text for text in stage.shown()] == [True]
    assert len(stage.told()) == 1
    assert stage.all_closed()


async def test_whose_job_it_is_not_resumes_nothing() -> None:
    stage = Resting(a_job(), a_card())
    stage.access.owner_only = True
    stage.access.hidden = {GRACE}
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        assert (
            await a_follow_service(stage, runner.start).resume(CARD_ID, HERE, CARD, GRACE)
            == replies.no_such_job()
        )
        await asyncio.sleep(10)
    assert stage.rests() and stage.row().followers == (ADA,)


async def test_a_resumed_follow_rests_again_after_as_long() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        await a_follow_service(stage, runner.start).resume(CARD_ID, HERE, CARD, ADA)
        await asyncio.sleep(LONG - 10)
        assert not stage.rests()
        await asyncio.sleep(60)
        assert stage.rests()
    assert stage.all_closed()


async def lose(stage: Resting) -> None:
    """Let Omni say that it does not know the job any more until its follow ends."""
    stage.omni.answer = JobNotFound("404")
    await asyncio.sleep(450)
    assert "no longer knows this job" in stage.shown()[0] and stage.all_closed()


async def test_a_lost_job_is_resumed_and_its_end_told() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(10)
        await lose(stage)
        assert "'Resume'" in str(stage.fake_slack.top_level()[0].message.blocks)
        stage.says(JobState.EXECUTING)
        assert (
            await a_follow_service(stage, runner.start).resume(CARD_ID, HERE, CARD, ADA) == replies.resumed()
        )
        await asyncio.sleep(10)
        assert "Omni is working on it" in stage.shown()[0]
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
    assert ["no longer knows this job" in text for text in stage.told()] == [True, False]
    assert "The job failed" in stage.told()[1] and stage.all_closed()


async def test_a_lost_job_is_asked_for_once_more() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner, looking_again(stage, runner.start):
        await asyncio.sleep(10)
        await lose(stage)
        looks, asked = len(stage.fake_slack.times("update")), len(stage.omni.asked)
        await asyncio.sleep(3_600)
    assert (len(stage.fake_slack.times("update")), len(stage.omni.asked)) == (looks, asked + 1)
    assert len(stage.told()) == 1 and stage.all_closed()


async def test_a_lost_job_that_is_back_goes_on() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner, looking_again(stage, runner.start):
        await asyncio.sleep(10)
        await lose(stage)
        stage.omni.answer = OmniUnreachable("HTTP 502")
        await asyncio.sleep(900)
        assert "no longer knows this job" in stage.shown()[0]
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(120)
    assert "The answer." in stage.shown()[0] and stage.all_closed()
    assert len(stage.told()) == 2


async def test_somebody_else_who_resumes_joins() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        await a_follow_service(stage, runner.start).resume(CARD_ID, HERE, CARD, GRACE)
        await asyncio.sleep(10)
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
    (told,) = stage.told()
    assert told.startswith(f"<@{ADA}> <@{GRACE}>: The job failed")


async def test_a_second_click_is_told_the_same_and_changes_little() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        service = a_follow_service(stage, runner.start)
        told = await asyncio.gather(
            *(service.resume(CARD_ID, HERE, CARD, person) for person in (ADA, GRACE, ADA))
        )
        await asyncio.sleep(10)
        assert not stage.rests()
    assert set(told) == {replies.resumed()}
    assert stage.row().followers == (ADA, GRACE)
    assert len(stage.shown()) == 1


async def test_a_command_wakes_a_resting_card_too() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        line = await a_follow_service(stage, runner.start).follow(str(JOB), HERE, GRACE)
        await asyncio.sleep(10)
        assert not stage.rests()
    assert "a card" in said(line)
    assert len(stage.shown()) == 1


async def test_who_joins_a_running_follow_has_it_looked_after_for_as_long_again() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(LONG - 60)
        await a_follow_service(stage, runner.start).follow(str(JOB), HERE, GRACE)
        await asyncio.sleep(LONG - 60)
        assert not stage.rests()
        await asyncio.sleep(180)
        assert stage.rests()


@pytest.mark.parametrize(
    "card_id, channel, message_ts",
    [
        (CardId("another"), HERE, CARD),
        (CARD_ID, ChannelRef(HERE.team, ChannelId("C0ELSE")), CARD),
        (CARD_ID, HERE, MessageTs("9.9")),
        (CardId(""), HERE, MessageTs("")),
    ],
    ids=["another watch", "another place", "another card", "nothing"],
)
async def test_a_click_that_does_not_fit_the_table_resumes_nothing(
    card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        before, asked = stage.row(), len(stage.omni.asked)
        line = await a_follow_service(stage, runner.start).resume(card_id, channel, message_ts, GRACE)
        await asyncio.sleep(60)
    assert line == replies.not_resumable()
    assert stage.row() == before
    assert len(stage.omni.asked) == asked


async def test_whoever_resumes_what_was_forgotten_is_told_what_to_type() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        assert await stage.card_repository.delete_closed(now()) == 1
        assert (
            await a_follow_service(stage, runner.start).resume(CARD_ID, HERE, CARD, ADA)
            == replies.not_resumable()
        )
    assert stage.card_repository.rows == {}


async def test_whoever_resumes_while_the_database_is_down_is_told_so() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(2 * LONG)
        stage.card_repository.error = StoreUnavailable("away")
        assert (
            await a_follow_service(stage, runner.start).resume(CARD_ID, HERE, CARD, ADA)
            == replies.storage_down()
        )
        stage.card_repository.error = None
        await asyncio.sleep(60)
        assert stage.rests()


async def test_a_click_that_comes_before_the_rest_is_stored_is_not_lost() -> None:
    stage = Resting(a_job(), a_card())
    close = stage.card_repository.close
    async with stage.bot() as runner:
        service = a_follow_service(stage, runner.start)

        async def close_after_the_click(card: Card, at: datetime, **how: Any) -> None:
            stage.card_repository.close = close  # type: ignore[method-assign]
            assert stage.rests()
            await service.resume(CARD_ID, HERE, CARD, ADA)
            await close(card, at, **how)

        stage.card_repository.close = close_after_the_click  # type: ignore[method-assign]
        await asyncio.sleep(LONG + 120)
        assert not stage.rests()
        assert not stage.all_closed()


async def test_a_bot_that_comes_back_after_long_asks_before_it_rests() -> None:
    stage = old(timedelta(days=3))
    stage.says(JobState.COMPLETE, answer="The answer.")
    stage.omni.delay_seconds = 5.0
    async with stage.bot():
        await asyncio.sleep(30)
    assert "The answer." in stage.shown()[0]
    assert len(stage.told()) == 1
    assert stage.all_closed()


async def test_a_bot_that_comes_back_after_long_rests_once_it_knows_that_the_job_still_runs() -> None:
    stage = old(timedelta(days=3))
    async with stage.bot():
        await asyncio.sleep(30)
        assert stage.rests()
    assert stage.all_closed()


async def test_a_job_that_ends_as_its_time_runs_out_is_finished_and_does_not_rest() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(LONG - 1)
        stage.says(JobState.FAILED)
        await asyncio.sleep(60)
    assert "The job failed" in stage.shown()[0]
    assert len(stage.told()) == 1


async def test_a_job_that_omni_is_silent_about_rests_too() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(30)
        stage.omni.answer = OmniUnreachable("500")
        await asyncio.sleep(LONG + 120)
        assert stage.rests()
        asked = len(stage.omni.asked)
        await asyncio.sleep(LONG)
    assert len(stage.omni.asked) == asked


async def test_after_a_restart_a_job_that_omni_is_silent_about_rests_only_when_that_has_lasted() -> None:
    stage = old(timedelta(days=3))
    stage.omni.answer = OmniUnreachable("500")
    async with stage.bot():
        await asyncio.sleep(30)
        assert not stage.rests()
        await asyncio.sleep(240)
        assert stage.rests()
    assert stage.all_closed()


async def test_a_job_that_is_lost_as_its_time_runs_out_is_told_as_lost() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(LONG - 400)
        stage.omni.answer = JobNotFound("404")
        await asyncio.sleep(480)
    assert "no longer knows this job" in stage.shown()[0]


async def test_a_card_that_nobody_follows_is_given_up_and_does_not_rest() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(LONG - 5)
        stage.card_repository.let_follow(CARD_ID)
        await runner.start(JOB)
        await asyncio.sleep(60)
    assert "no longer follows" in stage.shown()[0]


async def test_a_restart_while_a_card_rests_leaves_it_resting() -> None:
    stage = Resting(a_job(), a_card())
    async with stage.bot():
        await asyncio.sleep(2 * LONG)
    asked, edits = len(stage.omni.asked), len(stage.fake_slack.times("update"))
    async with stage.bot():
        await asyncio.sleep(LONG)
    assert (len(stage.omni.asked), len(stage.fake_slack.times("update"))) == (asked, edits)
    assert stage.rests()


async def test_each_watch_of_a_job_rests_in_its_own_time() -> None:
    later = ChannelRef(HERE.team, ChannelId("C0LATER"))
    stage = Resting(a_job(), a_card())
    async with stage.bot() as runner:
        await asyncio.sleep(LONG / 2)
        await stage.card_repository.add(replace(a_card("later", later, GRACE), requested_at=now()))
        await runner.start(JOB)
        await asyncio.sleep(LONG / 2 + 60)
        assert stage.rests()
        assert "Omni is working on it" in stage.shown(later)[0]
        stage.says(JobState.COMPLETE, answer="The answer.")
        await asyncio.sleep(60)
    assert "The answer." in stage.shown(later)[0]
    assert stage.rests()
