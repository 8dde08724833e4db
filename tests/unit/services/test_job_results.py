"""Results cost few requests however many people ask, and what is not there yet is waited for, not for long."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.errors import JobNotFound, KeyRefused, OmniBusy, OmniError
from bot.domain.jobs import JobId, JobState
from bot.domain.results import JobResult, QueryData, Step
from bot.services.job_results import (
    KEPT_SECONDS,
    KEPT_SECONDS_UNFINISHED,
    LARGEST_KEPT,
    MOST_KEPT,
    PAUSES_SECONDS,
    JobResults,
)
from tests.support.fakes import JOB, START, FakeOmni, a_job, now

pytestmark = pytest.mark.looptime

THERE = JobResult(steps=(Step("summarize", "", START),), queries=(QueryData("q", "success", "a\n1"),))
PENDING = replace(THERE, queries=(QueryData("q", "pending"),))
GONE = JobNotFound("404")
LOOKS = len(PAUSES_SECONDS) + 1


def a_world(*found: JobResult | OmniError, **job: object) -> tuple[FakeOmni, JobResults]:
    omni = FakeOmni(a_job(JobState.COMPLETE, completed_at=START, **job))
    omni.found.clear()
    omni.found.extend(found)
    return omni, JobResults(omni, now)


async def test_a_result_is_fetched_urgently_and_remembered_for_a_while() -> None:
    omni, results = a_world(THERE)
    for _ in range(10):
        assert await results.get(JOB) == THERE
    assert omni.looked == [(0.0, True)]
    await asyncio.sleep(KEPT_SECONDS + 1)
    await results.get(JOB)
    assert len(omni.looked) == 2


async def test_those_who_ask_at_once_share_one_request_also_if_one_of_them_leaves() -> None:
    omni, results = a_world(THERE)
    omni.delay_seconds = 2.0
    asking = [asyncio.create_task(results.get(JOB)) for _ in range(10)]
    await asyncio.sleep(1.0)
    asking.pop(0).cancel()
    assert await asyncio.gather(*asking) == [THERE] * 9
    assert len(omni.looked) == 1


async def test_rows_that_are_not_there_yet_are_looked_for_a_few_times() -> None:
    omni, results = a_world(PENDING, PENDING, THERE)
    assert await results.get(JOB) == THERE
    assert [at for at, _ in omni.looked] == [0.0, 1.0, 3.0]


async def test_rows_that_do_not_come_are_told_to_be_pending_and_looked_for_again_soon() -> None:
    omni, results = a_world(PENDING)
    assert await results.get(JOB) == PENDING
    assert len(omni.looked) == LOOKS
    await results.get(JOB)
    assert len(omni.looked) == LOOKS
    await asyncio.sleep(KEPT_SECONDS_UNFINISHED + 1)
    omni.found.append(THERE)
    omni.found.popleft()
    assert await results.get(JOB) == THERE


async def test_rows_of_a_job_that_ended_long_ago_are_not_waited_for() -> None:
    old = replace(PENDING, steps=(Step("summarize", "", START - timedelta(hours=1)),))
    omni, results = a_world(old)
    assert await results.get(JOB) == old
    assert len(omni.looked) == 1


async def test_a_result_that_is_not_there_right_after_the_end_is_waited_for() -> None:
    omni, results = a_world(GONE, GONE, THERE)
    assert await results.get(JOB) == THERE
    assert len(omni.looked) == 3 and len(omni.asked) == 1, "the job is asked about once"


@pytest.mark.parametrize(
    "job",
    [
        a_job(JobState.FAILED, completed_at=START),
        a_job(JobState.EXECUTING),
        a_job(JobState.COMPLETE, completed_at=START - timedelta(days=15)),
    ],
    ids=["failed", "running", "too old"],
)
async def test_a_job_that_will_have_no_result_is_not_waited_for(job: object) -> None:
    omni, results = a_world(GONE)
    omni.answer = job  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(JobNotFound):
            await results.get(JOB)
    assert len(omni.looked) == len(omni.asked) == 1, "people who press again and again cost nothing"


@pytest.mark.parametrize("error", [OmniBusy("429"), KeyRefused("401")])
async def test_another_refusal_is_passed_on_at_once_and_remembered_shortly(error: OmniError) -> None:
    omni, results = a_world(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            await results.get(JOB)
    assert len(omni.looked) == 1
    await asyncio.sleep(KEPT_SECONDS_UNFINISHED + 1)
    with pytest.raises(type(error)):
        await results.get(JOB)
    assert len(omni.looked) == 2


async def test_what_is_remembered_is_bounded_in_number_and_size() -> None:
    _, results = a_world(THERE)
    for number in range(MOST_KEPT + 3):
        results._keep(JobId(f"{number}"), THERE)
    assert len(results._kept) == MOST_KEPT
    huge = replace(THERE, queries=(QueryData("q", "success", "x" * (LARGEST_KEPT // 2 + 1)),))
    for number in range(3):
        results._keep(JobId(f"huge {number}"), huge)
    assert list(results._kept) == ["huge 2"]
