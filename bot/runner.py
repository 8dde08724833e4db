"""Who runs a follow: here, asyncio tasks of this one process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from bot.job import JobId

log = structlog.get_logger()


class Runner(Protocol):
    """Runs one coroutine per job."""

    def start(self, job: JobId) -> None:
        """See that the job is followed, and that who follows it looks at its watches again."""
        ...

    def ensure(self, job: JobId) -> None:
        """See that the job is followed; leave who follows it alone."""
        ...

    async def stop(self) -> None:
        """Stop following; every follow can be taken up again from the table of watches."""
        ...


class TaskRunner:
    """A `Runner` of asyncio tasks, for the only process of a database."""

    def __init__(self, follow: Callable[[JobId, asyncio.Event], Awaitable[None]]) -> None:
        self._follow = follow
        self._running: dict[JobId, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._stopped = False

    def start(self, job: JobId) -> None:
        """See `Runner.start`."""
        running = self._running.get(job)
        if running is not None and not running[0].done():
            running[1].set()
        else:
            self.ensure(job)

    def ensure(self, job: JobId) -> None:
        """See `Runner.ensure`."""
        running = self._running.get(job)
        if self._stopped or (running is not None and not running[0].done()):
            return
        wake = asyncio.Event()
        task = asyncio.create_task(self._run(job, wake), name=f"follow {job}")
        self._running[job] = (task, wake)
        task.add_done_callback(lambda ended: self._forget(job, ended))

    async def stop(self) -> None:
        """See `Runner.stop`."""
        self._stopped = True
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: JobId, wake: asyncio.Event) -> None:
        try:
            await self._follow(job, wake)
        except Exception:
            # A defect of ours. The sweep starts the follow again; the table holds what it was about.
            log.exception("follow broke", job=job)

    def _forget(self, job: JobId, ended: asyncio.Task[None]) -> None:
        running = self._running.get(job)
        if running is not None and running[0] is ended:
            del self._running[job]
