"""One coroutine per job, whatever is asked for how often."""

import asyncio
import gc
from collections import Counter

import pytest

from bot.job import JobId
from bot.runner import TaskRunner

pytestmark = pytest.mark.looptime

JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
OTHER = JobId("660e8400-e29b-41d4-a716-446655440000")


class Follows:
    """A follow that goes on until it is told to end, and remembers how often it was begun and woken."""

    def __init__(self) -> None:
        self.begun: Counter[JobId] = Counter()
        self.woken: Counter[JobId] = Counter()
        self.cancelled: list[JobId] = []
        self.end: dict[JobId, BaseException | None] = {}

    async def follow(self, job: JobId, wake: asyncio.Event) -> None:
        self.begun[job] += 1
        try:
            while job not in self.end:
                await wake.wait()
                wake.clear()
                self.woken[job] += 1
        except asyncio.CancelledError:
            self.cancelled.append(job)
            raise
        if (error := self.end.pop(job)) is not None:
            raise error


async def settled() -> None:
    await asyncio.sleep(1.0)


async def test_a_job_is_followed_once_however_often_it_is_started() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    for _ in range(50):
        runner.start(JOB)
        runner.ensure(JOB)
    await settled()
    runner.start(JOB)
    await settled()
    assert follows.begun == {JOB: 1}
    await runner.stop()


async def test_starting_wakes_who_follows_and_ensuring_does_not() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    runner.ensure(JOB)
    await settled()
    runner.ensure(JOB)
    await settled()
    assert follows.woken[JOB] == 0
    runner.start(JOB)
    await settled()
    assert follows.woken[JOB] == 1
    await runner.stop()


async def test_jobs_are_followed_beside_each_other() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    runner.start(JOB)
    runner.start(OTHER)
    await settled()
    follows.end[JOB] = None
    runner.start(JOB)
    await settled()
    runner.start(OTHER)
    await settled()
    assert follows.begun == {JOB: 1, OTHER: 1} and follows.woken[OTHER] == 1
    await runner.stop()


async def test_a_job_whose_follow_ended_is_followed_anew() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    for _ in range(3):
        follows.end[JOB] = None
        runner.start(JOB)
        await settled()
    assert follows.begun[JOB] == 3
    assert runner._running == {}


async def test_a_job_started_in_the_moment_its_follow_ends_is_followed_anew_and_once() -> None:
    begun: list[int] = []

    async def follow(_: JobId, wake: asyncio.Event) -> None:
        begun.append(1)
        if len(begun) == 1:
            asyncio.get_running_loop().call_soon(runner.start, JOB)
        else:
            await wake.wait()

    runner = TaskRunner(follow)
    runner.start(JOB)
    await settled()
    runner.ensure(JOB)
    await settled()
    assert len(begun) == 2
    runner.start(JOB)
    await settled()
    assert len(begun) == 2 and runner._running == {}


async def test_a_broken_follow_disturbs_no_other_and_can_be_taken_up_again() -> None:
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    follows = Follows()
    runner = TaskRunner(follows.follow)
    runner.start(OTHER)
    follows.end[JOB] = ZeroDivisionError("a defect")
    runner.start(JOB)
    await settled()
    runner.ensure(JOB)
    runner.start(OTHER)
    await settled()
    assert follows.begun == {JOB: 2, OTHER: 1} and follows.woken[OTHER] == 1
    await runner.stop()
    gc.collect()
    assert unheard == []


async def test_stopping_ends_every_follow_and_nothing_starts_afterwards() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    runner.start(JOB)
    runner.start(OTHER)
    await settled()
    await runner.stop()
    assert sorted(follows.cancelled) == [JOB, OTHER]
    runner.start(JOB)
    runner.ensure(OTHER)
    await settled()
    assert follows.begun == {JOB: 1, OTHER: 1}
    assert runner._running == {}


async def test_stopping_waits_until_the_follows_have_tidied_up() -> None:
    tidied: list[JobId] = []

    async def follow(job: JobId, _: asyncio.Event) -> None:
        try:
            await asyncio.sleep(3_600.0)
        finally:
            await asyncio.sleep(2.0)
            tidied.append(job)

    runner = TaskRunner(follow)
    runner.start(JOB)
    await settled()
    await runner.stop()
    assert tidied == [JOB]


async def test_a_runner_without_follows_stops_at_once() -> None:
    runner = TaskRunner(Follows().follow)
    await runner.stop()
    await runner.stop()
