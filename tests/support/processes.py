"""Processes that share a queue, side by side in one test: each has connections, a worker and follows of its own."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from time import monotonic

from bot.domain.cards import TeamId
from bot.domain.errors import OwnershipLost
from bot.domain.jobs import JobId
from bot.domain.ports.worker import Follow
from bot.tasks import end
from bot.worker.heartbeats import WORKERS, Timing
from bot.worker.job_queue import FollowQueue
from bot.worker.pg import open_pool
from bot.worker.pg_notify import PgNotify
from bot.worker.queue_runner import QueueRunner, QueueRunners
from bot.worker.schema import prepare
from tests.support.postgres import Cable

TEAM = TeamId("T0ACME")
CALM = Timing(0.2, ended_after_seconds=15.0, stalled_after_seconds=15.0, rescue_seconds=0.1, poll_seconds=0.1)
"""Nobody looks dead, however busy the machine is that the tests run on."""
HASTY = Timing(0.1, ended_after_seconds=1.0, stalled_after_seconds=1.0, rescue_seconds=0.1, poll_seconds=0.1)
"""Who is cut off is dead soon."""


class Follows:
    """Every process's follows. Each goes on until its job has ended or another process has begun to follow it,
    which it sees when it is woken; they remember what became of them."""

    def __init__(self) -> None:
        self.by: defaultdict[JobId, list[str]] = defaultdict(list)
        """Who follows a job now, in the order in which they began."""
        self.begun: list[tuple[JobId, str]] = []
        self.woken: Counter[tuple[JobId, str]] = Counter()
        self.ended: set[JobId] = set()
        self._wakes: dict[tuple[JobId, str], asyncio.Event] = {}

    def of(self, name: str) -> Follow:
        """The follow of one process."""
        return lambda job, wake: self._follow(job, name, wake)

    def end(self, job: JobId) -> None:
        """Let whoever follows the job see that nothing is left to do."""
        self.ended.add(job)
        for name in self.by[job]:
            self._wakes[job, name].set()

    def count(self, name: str) -> int:
        """How many jobs only this process follows."""
        return sum(names == [name] for names in self.by.values())

    async def _follow(self, job: JobId, name: str, wake: asyncio.Event) -> None:
        self.begun.append((job, name))
        self.by[job].append(name)
        self._wakes[job, name] = wake
        try:
            while self.by[job][-1] == name and job not in self.ended:
                await wake.wait()
                wake.clear()
                self.woken[job, name] += 1
            if job not in self.ended:
                raise OwnershipLost
        finally:
            self.by[job].remove(name)


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its runner, and its way to the database."""

    name: str
    queue: QueueRunners
    runner: QueueRunner
    """The team's."""
    entries: FollowQueue
    relay: PgNotify
    cable: Cable

    async def stop(self) -> None:
        """Leave the follows to the others."""
        self.queue.drain()
        await self.runner.stop()


@asynccontextmanager
async def process(
    url: str, follows: Follows, name: str, timing: Timing = CALM, *, run: bool = True
) -> AsyncIterator[Process]:
    """A process that runs until the context is left, and then stops as it does at SIGTERM. `run`: whether it fetches
    by itself."""
    async with AsyncExitStack() as closing:
        cable = await closing.enter_async_context(Cable(url).laid())
        pool = await closing.enter_async_context(open_pool(cable.url, within_seconds=0.5))
        relay = PgNotify(cable.url, pool)
        entries = await FollowQueue.over(pool, timing, registered=partial(relay.hold, WORKERS))
        queue = QueueRunners(entries, relay, Random(name))
        one = Process(name, queue, queue.runner_for(TEAM, follows.of(name)), entries, relay, cable)
        tasks = [asyncio.create_task(relay.run())]
        if run:
            tasks.append(asyncio.create_task(queue.run(nobody)))
        try:
            yield one
        finally:
            await one.stop()
            await end(tasks)


async def nobody(_team: TeamId) -> None:
    """Every team that there is runs already."""


@asynccontextmanager
async def processes(
    url: str, follows: Follows, names: str, timing: Timing = CALM
) -> AsyncIterator[list[Process]]:
    """Several processes that have come up, on a database whose queue is installed."""
    await prepare(url)
    async with AsyncExitStack() as closing:
        begun = [await closing.enter_async_context(process(url, follows, name, timing)) for name in names]
        await up(begun)
        yield begun


async def up(begun: list[Process]) -> None:
    """Wait until all processes hear and are heard."""
    for one in begun:
        await until(lambda: one.entries._worker is not None)
        await one.relay.listening.wait()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait for a condition. Returns how long it took; TimeoutError if it does not come."""
    began = monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
    return monotonic() - began
