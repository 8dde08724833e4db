"""How long jobs usually take is known from those that ended, over restarts and in all processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import Job, JobId, JobState
from bot.tracking.durations import EXCHANGE_SECONDS, FEWEST_JOBS, TypicalDurations
from tests.support.fakes import START, FakeDurations, a_job, now

pytestmark = pytest.mark.looptime

SLOW = timedelta(minutes=10)


def ended(number: int, state: JobState = JobState.COMPLETE, **more: object) -> Job:
    """A job that waited for two minutes and then ran for eight."""
    times = {
        "created_at": START,
        "execution_started_at": START + timedelta(minutes=2),
        "completed_at": START + SLOW,
    }
    return a_job(state, **{"id": JobId(f"new {number}"), **times, **more})


@asynccontextmanager
async def at_work(repository: FakeDurations) -> AsyncIterator[TypicalDurations]:
    durations = TypicalDurations(repository, now)
    running = asyncio.create_task(durations.run())
    await asyncio.sleep(1.0)
    yield durations
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_stored_durations_are_known_after_the_start() -> None:
    async with at_work(FakeDurations(*range(1, 42))) as durations:
        assert durations.quartiles == (11.0, 31.0)


async def test_few_durations_give_no_quartiles() -> None:
    async with at_work(FakeDurations(*[60.0] * (FEWEST_JOBS - 1))) as durations:
        assert durations.quartiles is None
        durations.record(ended(1))
        await asyncio.sleep(EXCHANGE_SECONDS)
        assert durations.quartiles == (60.0, 60.0)


async def test_time_from_question_is_stored_once() -> None:
    repository = FakeDurations()
    async with at_work(repository) as durations:
        durations.record(ended(1))
        durations.record(ended(2, JobState.FAILED, execution_started_at=None))
        await asyncio.sleep(3 * EXCHANGE_SECONDS)
    assert repository.rows == {"new 1": 600.0, "new 2": 600.0}
    assert repository.added == [{"new 1", "new 2"}]


@pytest.mark.parametrize(
    "job",
    [
        ended(1, JobState.CANCELLED, completed_at=None, cancelled_at=START + SLOW),
        ended(1, completed_at=None),
        ended(1, created_at=None),
        ended(1, JobState.EXECUTING, completed_at=None),
    ],
    ids=["cancelled", "without an end", "without a beginning", "running"],
)
async def test_job_without_duration_is_ignored(job: Job) -> None:
    repository = FakeDurations()
    async with at_work(repository) as durations:
        durations.record(job)
        await asyncio.sleep(EXCHANGE_SECONDS)
    assert repository.rows == {}


async def test_differing_clocks_make_no_negative_duration() -> None:
    repository = FakeDurations()
    async with at_work(repository) as durations:
        durations.record(ended(1, completed_at=START - SLOW))
        await asyncio.sleep(EXCHANGE_SECONDS)
    assert repository.rows == {"new 1": 0.0}


async def test_database_outage_forgets_no_duration() -> None:
    repository = FakeDurations()
    repository.error = StoreUnavailable("away")
    async with at_work(repository) as durations:
        durations.record(ended(1))
        await asyncio.sleep(2 * EXCHANGE_SECONDS)
        assert repository.rows == {}
        repository.error = None
        await asyncio.sleep(EXCHANGE_SECONDS)
    assert repository.rows == {"new 1": 600.0}
