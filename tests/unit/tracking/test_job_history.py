"""The steps on a card survive polls and restarts, and cost no edit that the newest step would not have cost."""

import asyncio

import pytest

from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import JobState, Progress
from tests.support.fakes import GRACE, START, FakeDurations, a_card, a_job, now
from tests.support.tracking import FOREIGN, Stage

pytestmark = pytest.mark.looptime


def a_stage() -> Stage:
    return Stage(a_job(JobState.EXECUTING, progress=Progress("Searching", 1), created_at=START), a_card())


def says(stage: Stage, message: str, iteration: int) -> None:
    stage.says(JobState.EXECUTING, progress=Progress(message, iteration), created_at=START)


def lines(stage: Stage) -> list[str]:
    return [line for line in stage.shown()[0].splitlines() if "Step" in line or "earlier" in line]


async def test_steps_of_earlier_polls_stay_visible() -> None:
    stage = a_stage()
    async with stage.bot():
        await asyncio.sleep(5)
        says(stage, "Running query", 2)
        await asyncio.sleep(10)
        assert lines(stage) == ["✓ Step 1: Searching", "Step 2: Running query"]


async def test_each_step_costs_one_edit() -> None:
    stage = a_stage()
    async with stage.bot():
        await asyncio.sleep(5)
        for number in range(2, 12):
            says(stage, "Thinking", number)
            await asyncio.sleep(20)
    assert len(stage.fake_slack.times("update")) == 10
    assert lines(stage)[0] == "✓ 5 earlier steps"


async def test_restart_keeps_steps_without_an_edit() -> None:
    stage = a_stage()
    stage.durations = FakeDurations(*[60.0] * 20)
    async with stage.bot():
        await asyncio.sleep(5)
        says(stage, "Running query", 2)
        await asyncio.sleep(10)
    before, edits = stage.shown(), len(stage.fake_slack.times("update"))
    stage.durations = FakeDurations(*[300.0] * 20)
    async with stage.bot():
        await asyncio.sleep(20)
        assert (stage.shown(), len(stage.fake_slack.times("update"))) == (before, edits)
        says(stage, "Writing", 3)
        await asyncio.sleep(10)
    assert lines(stage) == ["✓ Step 1: Searching", "✓ Step 2: Running query", "Step 3: Writing"]
    assert "usually about 60 s" in before[0]


async def test_card_that_joined_late_has_no_say() -> None:
    stage = a_stage()
    async with stage.bot() as runner:
        await asyncio.sleep(5)
        await stage.card_repository.add(a_card("late", FOREIGN, GRACE))
        await runner.start(a_card().job)
        await asyncio.sleep(5)
    async with stage.bot():
        says(stage, "Running query", 2)
        await asyncio.sleep(10)
    assert lines(stage) == ["✓ Step 1: Searching", "Step 2: Running query"]
    assert stage.shown(FOREIGN)[0].splitlines()[1:3] == lines(stage)


async def test_database_outage_hides_no_step() -> None:
    stage = a_stage()
    async with stage.bot():
        await asyncio.sleep(5)
        stage.card_repository.error = StoreUnavailable("away")
        says(stage, "Running query", 2)
        await asyncio.sleep(30)
        stage.card_repository.error = None
        await asyncio.sleep(60)
    async with stage.bot():
        await asyncio.sleep(10)
    assert lines(stage) == ["✓ Step 1: Searching", "Step 2: Running query"]


async def test_closed_card_stores_no_steps() -> None:
    stage = a_stage()
    async with stage.bot():
        await asyncio.sleep(5)
        assert stage.card_repository.rows[a_card().id].history.recent
        stage.says(JobState.COMPLETE, answer="The answer.", created_at=START, completed_at=now())
        await asyncio.sleep(10)
    assert stage.all_closed()
    assert not stage.card_repository.rows[a_card().id].history.recent


async def test_slow_job_costs_one_more_edit() -> None:
    stage = a_stage()
    stage.durations = FakeDurations(*[60.0] * 20)
    async with stage.bot():
        await asyncio.sleep(55)
        assert "usually about 60 s" in stage.shown()[0]
        before = len(stage.fake_slack.times("update"))
        await asyncio.sleep(300)
        assert "takes longer than usual (about 60 s)" in stage.shown()[0]
    assert len(stage.fake_slack.times("update")) == before + 1
