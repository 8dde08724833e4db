"""A job of which Omni tells by itself, in virtual time: when it is asked about, and what its card shows."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.cards import Card
from bot.domain.errors import OmniBusy
from bot.domain.jobs import ON_ITS_WAY_SECONDS, EventKind, Job, JobEvent, JobState, Progress
from bot.domain.questions import Webhook
from bot.tracking.events import JobEventBus
from bot.tracking.tracked_job import MAX_SILENCE_SECONDS
from tests.support.fakes import HERE, JOB, START, a_card, a_job, now
from tests.support.tracking import Stage

pytestmark = pytest.mark.looptime

MINE = replace(a_card(), asked_by_bot=True)
ENDED = JobEvent(EventKind.ENDED, START.timestamp())
UNCLEAR = JobEvent(EventKind.UNCLEAR, START.timestamp())


def told(*cards: Card, job: Job | None = None) -> Stage:
    """A job that was just begun from Slack, with a webhook."""
    stage = Stage(job or a_job(JobState.QUEUED), *(cards or (MINE,)))
    stage.events = JobEventBus(lambda ask: Webhook(f"https://jobs.example.com/{ask}", "secret"))
    stage.events.record_submitted(a_job(JobState.QUEUED, created_at=START))
    return stage


def progress(message: str, iteration: int | None = None, seconds: float = 0.0) -> JobEvent:
    return JobEvent(EventKind.PROGRESS, START.timestamp() + seconds, Progress(message, iteration))


def card(stage: Stage) -> str:
    """All that the one card here says."""
    (posted,) = stage.fake_slack.top_level()
    return f"{posted.message.text} {posted.message.blocks}"


def times(stage: Stage) -> list[float]:
    return [at for at, _ in stage.omni.asked]


async def test_the_card_comes_at_once_and_the_answer_costs_one_request() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(0.5)
        assert "Queued in Omni" in stage.shown()[0] and stage.omni.asked == []
        for number in range(1, 6):
            await asyncio.sleep(8)
            stage.events.publish(JOB, progress(f"Step {number}", number, number * 8.0))
            await asyncio.sleep(4)
            assert f"Step {number}" in card(stage)
        assert stage.omni.asked == []
        stage.says(JobState.COMPLETE, answer="The answer.", completed_at=now())
        stage.events.publish(JOB, ENDED)
        await asyncio.sleep(3)
    assert times(stage) == [60.5] and stage.omni.asked[0][1], "people wait for it"
    assert "The answer." in stage.shown()[0]
    assert stage.all_closed()


async def test_progress_is_as_harmless_as_any_text_of_omnis() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(0.5)
        stage.events.publish(JOB, progress("<!channel> <https://evil.example|here> @here", 1))
        await asyncio.sleep(5)
    assert "!channel&gt; here" in card(stage), "it is shown"
    assert "<!channel>" not in card(stage) and "<https://evil" not in card(stage)


async def test_a_job_that_is_silent_is_asked_about_all_the_same() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(10)
        stage.events.publish(JOB, progress("Searching", 1))
        await asyncio.sleep(10 + MAX_SILENCE_SECONDS)
    assert times(stage) == [10 + MAX_SILENCE_SECONDS]


async def test_an_end_whose_webhook_is_lost_is_seen_in_bounded_time_and_polling_returns() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(1)
        stage.events.publish(JOB, progress("Searching", 1))
        await asyncio.sleep(4)
        stage.says(JobState.COMPLETE, answer="The answer.", completed_at=now())
        await asyncio.sleep(MAX_SILENCE_SECONDS + 1)
        assert "The answer." in stage.shown()[0]
    assert not stage.events.is_trusted


async def test_progress_that_was_not_told_brings_polling_back_for_that_job() -> None:
    stage = told()
    async with stage.bot():
        stage.says(JobState.EXECUTING, progress=Progress("Step 1", 1), execution_started_at=START)
        await asyncio.sleep(MAX_SILENCE_SECONDS + 1)
        stage.says(JobState.EXECUTING, progress=Progress("Step 2", 2), execution_started_at=START)
        await asyncio.sleep(2 * MAX_SILENCE_SECONDS)
        asked = len(stage.omni.asked)
        assert asked > 5
        assert not stage.events.is_trusted, "nothing at all has been heard of it"
        stage.events.publish(JOB, progress("Step 3", 3))
        await asyncio.sleep(MAX_SILENCE_SECONDS - 1)
    assert len(stage.omni.asked) <= asked + 1, "it is heard again"


async def test_where_no_webhook_comes_the_next_job_is_polled_from_the_beginning() -> None:
    stage = told()
    stage.events.record_missed(JOB)
    stage.events.record_submitted(a_job(JobState.QUEUED))
    async with stage.bot():
        await asyncio.sleep(20)
    assert times(stage)[0] == 0.0 and len(stage.omni.asked) > 2


async def test_an_end_that_is_told_and_not_yet_seen_is_looked_for_closely() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(5)
        stage.says(JobState.EXECUTING, execution_started_at=now())
        stage.events.publish(JOB, ENDED)
        await asyncio.sleep(0.5)
        stage.events.publish(JOB, progress("Overtaken by the end", 9, seconds=9.0))
        await asyncio.sleep(4)
        assert times(stage) == [5, 7, 9]
        stage.says(JobState.COMPLETE, answer="The answer.", completed_at=now())
        await asyncio.sleep(5)
    assert times(stage) == [5, 7, 9, 11]
    assert "The answer." in stage.shown()[0]


async def test_an_end_that_is_told_and_never_seen_makes_it_a_job_like_any_other() -> None:
    stage = told(job=a_job(JobState.EXECUTING, execution_started_at=START))
    polled = Stage(a_job(JobState.EXECUTING, execution_started_at=START), MINE)
    async with stage.bot(), polled.bot():
        stage.events.publish(JOB, ENDED)
        for number in range(12):
            await asyncio.sleep(10)
            stage.events.publish(JOB, progress("Overtaken by the end", number, seconds=number))
    assert len(polled.omni.asked) - 2 <= len(stage.omni.asked) <= len(polled.omni.asked) + 5


async def test_trouble_at_the_one_request_does_not_lose_the_end() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(5)
        stage.omni.answer = OmniBusy("429")
        stage.events.publish(JOB, ENDED)
        await asyncio.sleep(5)
        stage.says(JobState.COMPLETE, answer="The answer.", completed_at=now())
        await asyncio.sleep(10)
        assert "The answer." in stage.shown()[0]


async def test_trouble_at_a_look_that_nobody_told_of_is_followed_by_another_one_soon() -> None:
    stage = told()
    async with stage.bot():
        stage.omni.answer = OmniBusy("429")
        await asyncio.sleep(MAX_SILENCE_SECONDS + 1)
        stage.says(JobState.EXECUTING)
        await asyncio.sleep(10)
    assert len(stage.omni.asked) >= 2


async def test_an_event_that_is_not_understood_brings_polling_back() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(5)
        stage.events.publish(JOB, UNCLEAR)
        await asyncio.sleep(15)
        assert len(stage.omni.asked) >= 1
        assert stage.omni.asked[0][0] < 5 + MAX_SILENCE_SECONDS / 2


async def test_words_that_were_overtaken_on_the_way_change_nothing() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(0.5)
        stage.events.publish(JOB, progress("Step 2", 2, seconds=2.0))
        await asyncio.sleep(4)
        stage.events.publish(JOB, progress("Older", None, seconds=1.0))
        stage.events.publish(JOB, progress("Step 1", 1, seconds=3.0))
        await asyncio.sleep(4)
        assert "Step 2" in card(stage)
        stage.says(JobState.COMPLETE, answer="The answer.", completed_at=now())
        stage.events.publish(JOB, ENDED)
        stage.events.publish(JOB, progress("Late", 9, seconds=9.0))
        await asyncio.sleep(4)
        stage.events.publish(JOB, progress("Later", 10, seconds=10.0))
        await asyncio.sleep(4)
    assert "The answer." in stage.shown()[0]
    assert len(stage.omni.asked) == 1


async def test_an_end_before_the_follow_begins_is_looked_at_as_it_begins() -> None:
    stage = told(job=a_job(JobState.COMPLETE, answer="The answer."))
    stage.events.publish(JOB, ENDED)
    async with stage.bot():
        await asyncio.sleep(2)
        assert "The answer." in stage.shown()[0]
    assert len(stage.omni.asked) == 1


async def test_after_a_restart_omni_is_asked_at_once_since_its_words_were_missed() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(5)
    stage.says(JobState.COMPLETE, answer="The answer.", completed_at=START + timedelta(seconds=5))
    async with stage.bot():
        await asyncio.sleep(5)
        assert "The answer." in stage.shown()[0]
    assert times(stage) == [5]


async def test_where_words_between_processes_may_be_missed_polling_returns() -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(5)
        stage.events.distrust()
        await asyncio.sleep(MAX_SILENCE_SECONDS - 6)
        assert stage.omni.asked


async def test_a_job_that_was_begun_elsewhere_is_polled_as_ever() -> None:
    polled = Stage(a_job(), a_card())
    stage = Stage(a_job(), a_card())
    stage.events = JobEventBus(lambda ask: Webhook(f"https://jobs.example.com/{ask}", "secret"))
    async with stage.bot(), polled.bot():
        await asyncio.sleep(120)
    assert times(stage) == times(polled) and len(times(stage)) > 10


async def test_a_second_card_elsewhere_of_a_job_that_is_told_of_costs_nothing() -> None:
    elsewhere = replace(a_card("second"), channel=replace(HERE, id=type(HERE.id)("C0THERE")))
    stage = told(MINE, elsewhere)
    async with stage.bot():
        await asyncio.sleep(MAX_SILENCE_SECONDS - 1)
    assert stage.omni.asked == []
    assert len(stage.fake_slack.top_level()) == len(stage.fake_slack.top_level(elsewhere.channel)) == 1


@pytest.mark.parametrize(
    "ended, seconds, is_missed",
    [
        ({"state": JobState.COMPLETE}, ON_ITS_WAY_SECONDS - 2, False),
        ({"state": JobState.COMPLETE}, ON_ITS_WAY_SECONDS + 2, True),
        ({"state": JobState.FAILED}, ON_ITS_WAY_SECONDS + 2, True),
        ({"state": JobState.CANCELLED}, ON_ITS_WAY_SECONDS + 2, False),
    ],
)
async def test_webhooks_are_missed_only_where_omni_would_have_told_by_now(
    ended: dict[str, Any], seconds: float, is_missed: bool
) -> None:
    stage = told()
    async with stage.bot():
        await asyncio.sleep(MAX_SILENCE_SECONDS - seconds)
        stage.says(**ended, completed_at=None if ended["state"] is JobState.CANCELLED else now())
        await asyncio.sleep(seconds + 1)
        assert len(stage.omni.asked) == 1
    assert stage.events.is_trusted is not is_missed
