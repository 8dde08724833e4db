"""Runs the trackers of several processes on one PostgreSQL, by procrastinate's worker in each process.

An entry in the queue says that a job is to be tracked for a team. The process that holds it runs the tracker in a task
and deletes the entry when the tracker has ended. So a tracker goes on while the database is down, and other processes
fetch the entries of a process that died or was stopped.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from random import Random
from time import monotonic

import structlog
from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException

from bot.domain import JobId, StoreUnavailable, TeamId
from bot.domain.ports import Find, Follow, MessageBus
from bot.tasks import backoff_seconds, run_together
from bot.worker.heartbeats import is_any_heart_beating
from bot.worker.job_queue import QUEUE, TASK, FollowQueue
from bot.worker.pg import reason
from bot.worker.runner import TaskRunner

log = structlog.get_logger()

MOST_FOLLOWS = 100_000
"""How many entries one process may hold; procrastinate requires a number."""
RARELY_SECONDS = 86_400.0
"""Interval of procrastinate's periodic queries that are not used here."""
LEAVES_WITHIN_SECONDS = 1.5
"""How long releasing all entries may take at the end of the process."""
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 10.0
TRIES = 5
"""How often adding entries is tried if another process adds some of them at the same time."""

CHANGED = "watches changed"
LEFT = "entries left"
"""Topics between processes: a job's cards have changed, a process has released its entries."""


class QueueRunner:
    """A team's `Runner` in one of several processes on one PostgreSQL."""

    def __init__(self, queue: "QueueRunners", team: TeamId, follow: Follow) -> None:
        self.here = TaskRunner(follow)
        self._queue = queue
        self._team = team

    async def start(self, job: JobId) -> None:
        """See `Runner.start`."""
        self._queue.bus.publish(CHANGED, team=self._team, job=job)
        if self.here.wake(job):
            return
        # Also if another process tracks the job: its tracker may be ending, and then this entry succeeds it.
        try:
            await self._queue.entries.add(self._team, [job], urgent=True)
        except AlreadyEnqueued:
            pass
        except ConnectorException as error:
            log.error("follow not queued", job=job, reason=reason(error))

    async def start_missing(self, jobs: Sequence[JobId]) -> None:
        """See `Runner.start_missing`."""
        entries = self._queue.entries
        for _ in range(TRIES):
            try:
                queued = await entries.queued_jobs(self._team)
                missing = [job for job in jobs if job not in queued]
                if missing:
                    await entries.add(self._team, missing)
                    log.info("follows queued", jobs=len(missing))
                return
            except AlreadyEnqueued:
                await asyncio.sleep(self._queue.random.random())
            except ConnectorException as error:
                log.error("follows not queued", reason=reason(error))
                return
        log.warning("follows not queued", reason="other processes add them too")

    async def stop(self) -> None:
        """See `Runner.stop`. At the end of the process, the other processes take over at once."""
        await self.here.stop()
        await self._queue.stopped(self._team, self)


class QueueRunners:
    """The `Runners` of one of several processes on one PostgreSQL."""

    def __init__(self, entries: FollowQueue, bus: MessageBus, random: Random) -> None:
        self.entries = entries
        self.bus = bus
        self.random = random
        self._timing = entries.timing
        self._runners: dict[TeamId, QueueRunner] = {}
        self._find: Find | None = None
        self._leaving: asyncio.Task[None] | None = None
        # It would log each job several times.
        logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
        self._app = App(connector=entries.connector)
        self._app.job_manager = entries
        self._app.task(name=TASK, queue=QUEUE)(self._track)
        bus.subscribe(CHANGED, self._on_changed)
        bus.subscribe(LEFT, self._on_left)
        bus.on_reconnect(self._wake_all)

    def runner_for(self, team: TeamId, follow: Follow) -> QueueRunner:
        """See `Runners.runner_for`."""
        runner = self._runners[team] = QueueRunner(self, team, follow)
        return runner

    async def run(self, find: Find) -> None:
        """See `Runners.run`: fetch entries, and take over those of dead processes."""
        self._find = find
        working = asyncio.create_task(self._work(), name="queue worker")
        rescuing = asyncio.create_task(self._rescue(), name="queue rescue")
        await run_together([working, rescuing])

    async def is_any_process_alive(self) -> bool:
        """See `Runners.is_any_process_alive`: a process with a recent heartbeat fetches entries."""
        return await is_any_heart_beating(self.entries.connector, self._timing.stalled_after_seconds)

    def drain(self) -> None:
        """See `Runners.drain`."""
        self.entries.stop_fetching()

    async def stopped(self, team: TeamId, runner: QueueRunner) -> None:
        """Forget a stopped runner. After the last one of a process that ends, release its entries."""
        if self._runners.get(team) is runner:
            del self._runners[team]
        if self._runners or not self.entries.is_leaving:
            return
        # Not cancelled on timeout: the driver would need seconds to close a silent connection.
        self._leaving = asyncio.create_task(self._leave(), name="queue leave")
        await asyncio.wait({self._leaving}, timeout=LEAVES_WITHIN_SECONDS)

    async def _leave(self) -> None:
        await self.entries.release_all()
        await self.bus.publish(LEFT)

    async def _track(self, job: str, team: str | None = None) -> None:
        """Run the tracker of an entry. Without the team's runner the entry ends; recovery in a process that has the
        workspace queues the job again."""
        if team is None:
            log.info("entry of an older version ended", job=job)
            return
        runner = await self._runner_of(TeamId(team))
        if runner is None:
            log.info("entry ended", job=job, team=team, reason="the team does not run here")
        else:
            await runner.here.run_to_completion(JobId(job))

    async def _runner_of(self, team: TeamId) -> QueueRunner | None:
        """Return the team's runner; open its workspace first if necessary."""
        if team not in self._runners and self._find is not None:
            try:
                await self._find(team)
            except StoreUnavailable as error:
                log.warning("workspace not found", team=team, reason=str(error))
        return self._runners.get(team)

    async def _work(self) -> None:
        """Keep procrastinate's worker running. When it fails, other processes or the next worker take its entries."""
        failures = 0
        while not self.entries.is_leaving:
            began = monotonic()
            try:
                await self._app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=MOST_FOLLOWS,
                    install_signal_handlers=False,
                    delete_jobs="always",
                    shutdown_graceful_timeout=0.0,
                    fetch_job_polling_interval=self._timing.poll_seconds,
                    abort_job_polling_interval=RARELY_SECONDS,
                    update_heartbeat_interval=self._timing.heartbeat_seconds,
                    stalled_worker_timeout=RARELY_SECONDS,
                )
            except ConnectorException as error:
                log.warning("queue not reached", what="worker", reason=reason(error))
            except Exception:
                log.exception("queue worker broke")
            if monotonic() - began > LONGEST_BACK_OFF_SECONDS:
                failures = 0
            pause_seconds = backoff_seconds(
                failures, first=FIRST_BACK_OFF_SECONDS, longest=LONGEST_BACK_OFF_SECONDS
            )
            failures += 1
            await asyncio.sleep(pause_seconds)

    async def _rescue(self) -> None:
        while True:
            await self.entries.reclaim_stalled()
            await asyncio.sleep(self._timing.rescue_seconds)

    def _on_changed(self, message: Mapping[str, str]) -> None:
        runner = self._runners.get(TeamId(message.get("team", "")))
        if runner is not None:
            runner.here.wake(JobId(message.get("job", "")))

    def _on_left(self, _message: Mapping[str, str]) -> None:
        self.entries.refresh()

    def _wake_all(self) -> None:
        for runner in self._runners.values():
            runner.here.wake_all()
