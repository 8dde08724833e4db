"""Runs the trackers of a workspace as asyncio tasks of this process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from structlog.contextvars import clear_contextvars

from bot.domain import JobId, OwnershipLost, TeamId
from bot.domain.ports import Find, Follow, Runner
from bot.log import bind_job

log = structlog.get_logger()


BEGUN_AT_ONCE = 50
"""How many trackers start together after a restart; each reads and writes the database once or twice."""


async def _let_others_run() -> None:
    await asyncio.sleep(0)


class TaskRunners:
    """`Runners` of the only process on a database."""

    def __init__(self, breathe: Callable[[], Awaitable[None]] = _let_others_run) -> None:
        """`breathe`: as for `TaskRunner`."""
        self._breathe = breathe
        self._is_running = False

    def runner_for(self, team: TeamId, follow: Follow) -> Runner:  # noqa: ARG002
        """See `Runners.runner_for`."""
        return TaskRunner(follow, self._breathe)

    async def run(self, find: Find) -> None:  # noqa: ARG002
        """See `Runners.run`."""
        self._is_running = True
        try:
            await asyncio.Event().wait()
        finally:
            self._is_running = False

    async def is_any_process_alive(self) -> bool:
        """See `Runners.is_any_process_alive`: there is no other process."""
        return self._is_running

    def drain(self) -> None:
        """See `Runners.drain`: there is no other process."""


class TaskRunner:
    """A `Runner` of asyncio tasks."""

    def __init__(self, follow: Follow, breathe: Callable[[], Awaitable[None]] = _let_others_run) -> None:
        """`breathe`: awaited between batches of starting trackers, so that interactive requests are served."""
        self._follow = follow
        self._breathe = breathe
        self._running: dict[JobId, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._stopped = False

    async def start(self, job: JobId) -> None:
        """See `Runner.start`."""
        if not self.wake(job):
            self._begin(job)

    async def start_missing(self, jobs: Sequence[JobId]) -> None:
        """See `Runner.start_missing`."""
        for number, job in enumerate(jobs, start=1):
            self._begin(job)
            if number % BEGUN_AT_ONCE == 0:
                await self._breathe()

    async def stop(self) -> None:
        """See `Runner.stop`."""
        self._stopped = True
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self, job: JobId) -> bool:
        """Let the job's tracker read its cards again. False if none runs here."""
        running = self._running.get(job)
        if running is None or running[0].done():
            return False
        running[1].set()
        return True

    def wake_all(self) -> None:
        """Let every tracker read its cards again."""
        for _, wake in self._running.values():
            wake.set()

    async def run_to_completion(self, job: JobId) -> None:
        """Track the job and wait until the tracker ends; a cancelled caller does not end it. Raises OwnershipLost."""
        if self.wake(job):
            # An earlier tracker may be about to find that another process has taken over the job.
            await asyncio.wait({self._running[job][0]})
        self._begin(job)
        if (running := self._running.get(job)) is not None:
            task, _ = running
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()

    def _begin(self, job: JobId) -> None:
        running = self._running.get(job)
        if self._stopped or (running is not None and not running[0].done()):
            return
        wake = asyncio.Event()
        task = asyncio.create_task(self._run(job, wake), name=f"follow {job}")
        self._running[job] = (task, wake)
        task.add_done_callback(lambda ended: self._forget(job, ended))

    async def _run(self, job: JobId, wake: asyncio.Event) -> None:
        # In place of the interaction that started the tracker.
        clear_contextvars()
        bind_job(job)
        try:
            await self._follow(job, wake)
        except OwnershipLost:
            log.info("follow left to another", job=job)
            raise
        except Exception:
            # A defect. Recovery starts the tracker again from the database.
            log.exception("follow broke", job=job)

    def _forget(self, job: JobId, ended: asyncio.Task[None]) -> None:
        if not ended.cancelled():
            # Retrieved here, so that asyncio does not report it when no caller waits.
            ended.exception()
        running = self._running.get(job)
        if running is not None and running[0] is ended:
            del self._running[job]
