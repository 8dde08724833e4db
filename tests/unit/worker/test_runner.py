"""One coroutine per job, whatever is asked for how often."""

import asyncio
import gc
from collections import Counter
from typing import cast

import pytest

from bot.domain.jobs import JobId
from bot.domain.ports.worker import Find
from bot.worker.runner import BEGUN_AT_ONCE, TaskRunner, TaskRunners

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


async def test_job_is_tracked_once() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    for _ in range(50):
        await runner.start(JOB)
        await runner.start_missing([JOB, JOB])
    await settled()
    await runner.start(JOB)
    await settled()
    assert follows.begun == {JOB: 1}
    await runner.stop()


async def test_only_start_wakes_a_tracker() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    await runner.start_missing([JOB])
    await settled()
    await runner.start_missing([JOB])
    await settled()
    assert follows.woken[JOB] == 0
    await runner.start(JOB)
    await settled()
    assert follows.woken[JOB] == 1
    await runner.stop()


async def test_jobs_are_followed_beside_each_other() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    await runner.start_missing([JOB, OTHER])
    await settled()
    follows.end[JOB] = None
    await runner.start(JOB)
    await settled()
    await runner.start(OTHER)
    await settled()
    assert follows.begun == {JOB: 1, OTHER: 1} and follows.woken[OTHER] == 1
    await runner.stop()


async def test_ended_tracker_can_start_again() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    for _ in range(3):
        follows.end[JOB] = None
        await runner.start(JOB)
        await settled()
    assert follows.begun[JOB] == 3
    assert runner._running == {}


async def test_job_started_during_trackers_end_runs_once() -> None:
    begun: list[int] = []
    late: list[asyncio.Task[None]] = []

    async def follow(_: JobId, wake: asyncio.Event) -> None:
        begun.append(1)
        if len(begun) == 1:
            late.append(asyncio.create_task(runner.start(JOB)))
        else:
            await wake.wait()

    runner = TaskRunner(follow)
    await runner.start(JOB)
    await settled()
    await runner.start_missing([JOB])
    await settled()
    assert len(begun) == 2
    await runner.start(JOB)
    await settled()
    assert len(begun) == 2 and runner._running == {}


async def test_trackers_start_in_batches() -> None:
    follows = Follows()
    begun_at_each_breath: list[int] = []

    async def breathe() -> None:
        await asyncio.sleep(1.0)
        begun_at_each_breath.append(len(follows.begun))

    runner = TaskRunner(follows.follow, breathe)
    await runner.start_missing([JobId(str(number)) for number in range(2 * BEGUN_AT_ONCE + 1)])
    await settled()
    assert begun_at_each_breath == [BEGUN_AT_ONCE, 2 * BEGUN_AT_ONCE]
    assert len(follows.begun) == 2 * BEGUN_AT_ONCE + 1
    await runner.stop()


async def test_failing_tracker_disturbs_no_other() -> None:
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    follows = Follows()
    runner = TaskRunner(follows.follow)
    await runner.start(OTHER)
    follows.end[JOB] = ZeroDivisionError("a defect")
    await runner.start(JOB)
    await settled()
    await runner.start_missing([JOB])
    await runner.start(OTHER)
    await settled()
    assert follows.begun == {JOB: 2, OTHER: 1} and follows.woken[OTHER] == 1
    await runner.stop()
    gc.collect()
    assert unheard == []


async def test_run_to_completion_waits_for_the_end() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    seeing = asyncio.create_task(runner.run_to_completion(JOB))
    await settled()
    assert not seeing.done()
    follows.end[JOB] = None
    await runner.start(JOB)
    await settled()
    assert seeing.done() and follows.begun == {JOB: 1}


async def test_run_to_completion_wakes_a_running_tracker() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    await runner.start_missing([JOB])
    await settled()
    seeing = asyncio.create_task(runner.run_to_completion(JOB))
    await settled()
    assert follows.begun == {JOB: 1} and follows.woken == {JOB: 1}
    seeing.cancel()
    await runner.stop()


async def test_run_to_completion_restarts_an_ended_tracker() -> None:
    """It may have lost its claim to another process that has given the job back since."""
    follows = Follows()
    runner = TaskRunner(follows.follow)
    await runner.start_missing([JOB])
    await settled()
    seeing = asyncio.create_task(runner.run_to_completion(JOB))
    follows.end[JOB] = None
    await settled()
    assert follows.begun == {JOB: 2} and not seeing.done()
    follows.end[JOB] = None
    await runner.start(JOB)
    await settled()
    assert follows.begun == {JOB: 2} and seeing.done()


async def test_whoever_gives_up_waiting_ends_no_follow() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    seeing = asyncio.create_task(runner.run_to_completion(JOB))
    await settled()
    seeing.cancel()
    await settled()
    assert seeing.cancelled() and follows.cancelled == []
    assert runner.wake(JOB)
    await runner.stop()


async def test_only_a_running_tracker_is_woken() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    assert not runner.wake(JOB)
    await runner.start_missing([JOB, OTHER])
    await settled()
    runner.wake_all()
    await settled()
    assert follows.woken == {JOB: 1, OTHER: 1}
    assert runner.wake(JOB) and not runner.wake(JobId("another"))
    await settled()
    assert follows.woken == {JOB: 2, OTHER: 1}
    await runner.stop()


async def test_nothing_starts_after_stop() -> None:
    follows = Follows()
    runner = TaskRunner(follows.follow)
    await runner.start_missing([JOB, OTHER])
    await settled()
    await runner.stop()
    assert sorted(follows.cancelled) == [JOB, OTHER]
    await runner.start(JOB)
    await runner.start_missing([OTHER])
    await asyncio.wait_for(runner.run_to_completion(JOB), 1.0)
    await settled()
    assert follows.begun == {JOB: 1, OTHER: 1}
    assert runner._running == {}


async def test_stop_waits_for_cleanup() -> None:
    tidied: list[JobId] = []

    async def follow(job: JobId, _: asyncio.Event) -> None:
        try:
            await asyncio.sleep(3_600.0)
        finally:
            await asyncio.sleep(2.0)
            tidied.append(job)

    runner = TaskRunner(follow)
    await runner.start(JOB)
    await settled()
    await runner.stop()
    assert tidied == [JOB]


async def test_a_runner_without_follows_stops_at_once() -> None:
    runner = TaskRunner(Follows().follow)
    await runner.stop()
    await runner.stop()


async def test_runners_run_until_cancelled() -> None:
    running = asyncio.create_task(TaskRunners().run(cast(Find, None)))
    await settled()
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_process_is_alive_while_runners_run() -> None:
    runners = TaskRunners()
    assert not await runners.is_any_process_alive()
    running = asyncio.create_task(runners.run(cast(Find, None)))
    await settled()
    assert await runners.is_any_process_alive()
    running.cancel()
    await settled()
    assert not await runners.is_any_process_alive()
