"""Results are fetched once for many users, cached, and waited for only briefly."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.errors import JobNotFound, KeyRefused, OmniBusy, OmniError
from bot.domain.jobs import JobId, JobState
from bot.domain.results import JobResult, QueryData, Step
from bot.services.job_results import (
    CACHED_SECONDS,
    CACHED_SECONDS_INCOMPLETE,
    LARGEST_CACHED,
    MOST_CACHED,
    RETRY_SECONDS,
    JobResults,
)
from tests.support.fakes import JOB, START, FakeOmni, a_job, now

pytestmark = pytest.mark.looptime

COMPLETE = JobResult(steps=(Step("summarize", "", START),), queries=(QueryData("q", "success", "a\n1"),))
PENDING = replace(COMPLETE, queries=(QueryData("q", "pending"),))
GONE = JobNotFound("404")
REQUESTS = len(RETRY_SECONDS) + 1


def a_world(*found: JobResult | OmniError, **job: object) -> tuple[FakeOmni, JobResults]:
    omni = FakeOmni(a_job(JobState.COMPLETE, completed_at=START, **job))
    omni.found.clear()
    omni.found.extend(found)
    return omni, JobResults(omni, now)


async def test_result_is_fetched_interactively_and_cached() -> None:
    omni, results = a_world(COMPLETE)
    for _ in range(10):
        assert await results.get(JOB) == COMPLETE
    assert omni.looked == [(0.0, True)]
    await asyncio.sleep(CACHED_SECONDS + 1)
    await results.get(JOB)
    assert len(omni.looked) == 2


async def test_concurrent_callers_share_one_request() -> None:
    omni, results = a_world(COMPLETE)
    omni.delay_seconds = 2.0
    asking = [asyncio.create_task(results.get(JOB)) for _ in range(10)]
    await asyncio.sleep(1.0)
    asking.pop(0).cancel()
    assert await asyncio.gather(*asking) == [COMPLETE] * 9
    assert len(omni.looked) == 1


async def test_pending_rows_are_requested_again() -> None:
    omni, results = a_world(PENDING, PENDING, COMPLETE)
    assert await results.get(JOB) == COMPLETE
    assert [at for at, _ in omni.looked] == [0.0, 1.0, 3.0]


async def test_incomplete_result_is_cached_briefly() -> None:
    omni, results = a_world(PENDING)
    assert await results.get(JOB) == PENDING
    assert len(omni.looked) == REQUESTS
    await results.get(JOB)
    assert len(omni.looked) == REQUESTS
    await asyncio.sleep(CACHED_SECONDS_INCOMPLETE + 1)
    omni.found.append(COMPLETE)
    omni.found.popleft()
    assert await results.get(JOB) == COMPLETE


async def test_pending_rows_of_old_job_are_final() -> None:
    old = replace(PENDING, steps=(Step("summarize", "", START - timedelta(hours=1)),))
    omni, results = a_world(old)
    assert await results.get(JOB) == old
    assert len(omni.looked) == 1


async def test_missing_result_of_new_answer_is_awaited() -> None:
    omni, results = a_world(GONE, GONE, COMPLETE)
    assert await results.get(JOB) == COMPLETE
    assert len(omni.looked) == 3 and len(omni.asked) == 1, "the job is polled once"


@pytest.mark.parametrize(
    "job",
    [
        a_job(JobState.FAILED, completed_at=START),
        a_job(JobState.EXECUTING),
        a_job(JobState.COMPLETE, completed_at=START - timedelta(days=15)),
    ],
    ids=["failed", "running", "too old"],
)
async def test_job_without_result_is_not_awaited(job: object) -> None:
    omni, results = a_world(GONE)
    omni.answer = job  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(JobNotFound):
            await results.get(JOB)
    assert len(omni.looked) == len(omni.asked) == 1, "further clicks cost no request"


@pytest.mark.parametrize("error", [OmniBusy("429"), KeyRefused("401")])
async def test_other_errors_are_raised_and_cached_briefly(error: OmniError) -> None:
    omni, results = a_world(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            await results.get(JOB)
    assert len(omni.looked) == 1
    await asyncio.sleep(CACHED_SECONDS_INCOMPLETE + 1)
    with pytest.raises(type(error)):
        await results.get(JOB)
    assert len(omni.looked) == 2


async def test_cache_is_bounded_in_number_and_size() -> None:
    _, results = a_world(COMPLETE)
    for number in range(MOST_CACHED + 3):
        results._store(JobId(f"{number}"), COMPLETE)
    assert len(results._cache) == MOST_CACHED
    huge = replace(COMPLETE, queries=(QueryData("q", "success", "x" * (LARGEST_CACHED // 2 + 1)),))
    for number in range(3):
        results._store(JobId(f"huge {number}"), huge)
    assert list(results._cache) == ["huge 2"]
