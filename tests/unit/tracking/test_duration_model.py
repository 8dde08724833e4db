"""How long jobs take is learned from those that end, kept over restarts, and shared by all processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import Job, JobId, JobState
from bot.tracking.durations import LEARN_SECONDS, DurationModel
from tests.support.fakes import START, FakeDurations, a_job, now

pytestmark = pytest.mark.looptime

SLOW = timedelta(minutes=10)


def ended(number: int, state: JobState = JobState.COMPLETE, **more: object) -> Job:
    """A job that waited for an hour and then ran for ten minutes."""
    times = {
        "created_at": START - timedelta(hours=1),
        "execution_started_at": START,
        "completed_at": START + SLOW,
    }
    return a_job(state, **{"id": JobId(f"new {number}"), **times, **more})


@asynccontextmanager
async def at_work(durations: FakeDurations) -> AsyncIterator[DurationModel]:
    learning = DurationModel(durations, now)
    running = asyncio.create_task(learning.run())
    await asyncio.sleep(1.0)
    yield learning
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def expects_slow_jobs(learning: DurationModel) -> bool:
    return learning.curve.ended(0.0, 300.0) < 0.3


async def test_what_was_stored_is_known_right_after_the_start() -> None:
    async with at_work(FakeDurations(*[600.0] * 100)) as learning:
        assert expects_slow_jobs(learning)


async def test_jobs_that_end_teach_how_long_the_next_ones_take() -> None:
    async with at_work(FakeDurations()) as learning:
        assert not expects_slow_jobs(learning)
        for number in range(100):
            learning.record(ended(number))
        await asyncio.sleep(LEARN_SECONDS)
        assert expects_slow_jobs(learning)


async def test_what_is_learned_is_stored_once_with_the_time_that_it_executed() -> None:
    durations = FakeDurations()
    async with at_work(durations) as learning:
        learning.record(ended(1))
        learning.record(ended(2, JobState.FAILED, execution_started_at=None))
        await asyncio.sleep(3 * LEARN_SECONDS)
    assert durations.rows == {"new 1": 600.0, "new 2": 4_200.0}
    assert durations.added == [{"new 1", "new 2"}]


@pytest.mark.parametrize(
    "job",
    [
        ended(1, JobState.CANCELLED, completed_at=None, cancelled_at=START + SLOW),
        ended(1, completed_at=None),
        ended(1, created_at=None, execution_started_at=None),
        ended(1, JobState.EXECUTING, completed_at=None),
    ],
)
async def test_a_job_that_does_not_say_how_long_it_took_teaches_nothing(job: Job) -> None:
    durations = FakeDurations()
    async with at_work(durations) as learning:
        learning.record(job)
        await asyncio.sleep(LEARN_SECONDS)
    assert durations.rows == {}


async def test_clocks_that_differ_make_no_negative_duration() -> None:
    durations = FakeDurations()
    async with at_work(durations) as learning:
        learning.record(ended(1, completed_at=START - SLOW))
        await asyncio.sleep(LEARN_SECONDS)
    assert durations.rows == {"new 1": 0.0}


async def test_while_the_database_is_away_nothing_is_forgotten() -> None:
    durations = FakeDurations()
    durations.error = StoreUnavailable("away")
    async with at_work(durations) as learning:
        learning.record(ended(1))
        await asyncio.sleep(2 * LEARN_SECONDS)
        assert durations.rows == {}
        durations.error = None
        await asyncio.sleep(LEARN_SECONDS)
    assert durations.rows == {"new 1": 600.0}
