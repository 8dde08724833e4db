"""The queue's entries: which jobs are to be followed, and by which process. Kept by procrastinate in PostgreSQL.

procrastinate claims entries, beats the heart of the worker that holds them, and finds those of a dead one. Here it
is made to outlive a database that is away for a while, and to give entries back instead of ending them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from time import monotonic
from typing import Any, LiteralString

import structlog
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager, NotificationCallback
from psycopg import errors

from bot.job import JobId
from bot.pgpool import Pool

log = structlog.get_logger()

QUEUE = "follows"
TASK = "follow"

ANSWERS_WITHIN_SECONDS = 5.0
"""No statement waits longer for the database."""
LISTENS_AGAIN_AFTER_SECONDS = 2.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""When an entry that is given back was due. procrastinate would take this process's clock, and an entry of a
process whose clock is ahead of the database's would wait until the database has caught up."""
GIVE_BACK: LiteralString = """
    SELECT procrastinate_retry_job_v2(held.id, %s, NULL, NULL, NULL)
    FROM procrastinate_jobs AS held LEFT JOIN procrastinate_workers AS worker ON worker.id = held.worker_id
    WHERE held.queue_name = %s AND held.status = 'doing'
        AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %s))
        AND NOT EXISTS (
            SELECT FROM procrastinate_jobs AS waiting
            WHERE waiting.queueing_lock = held.queueing_lock AND waiting.status = 'todo'
        )
"""
"""procrastinate's own function for all entries of the dead at once: 1,000 one by one take 4 s."""
RESCUE_LOCK = 0x72657363
"""The advisory lock that lets one process at a time give back what dead ones held: "resc" in ASCII."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How soon a follow goes on elsewhere when its process is gone.

    A process that died right after a heartbeat counts as dead `stalled_after` later; the next rescue of a peer
    finds that within `rescue`; giving back and fetching 1,000 entries takes about 2 s. So 7.5 + 2 + 2 = 11.5 s at
    worst, and 7.5 - 2 = 5.5 s at best. A process whose event loop is held up sends its next heartbeat at most
    `heartbeat` + the hold-up late: 3 s of it make 5 s, with 2.5 s to spare for the database.
    """

    heartbeat_seconds: float = 2.0
    stalled_after_seconds: float = 7.5
    rescue_seconds: float = 2.0
    poll_seconds: float = 1.0
    """How often the queue is read when no message says that it has changed."""


class Connector(PsycopgConnector):
    """procrastinate's statements, each in bounded time. Every failure is a ConnectorException."""

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """See the base class."""
        async with _bounded():
            await super().execute_query_async(query, **arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """See the base class."""
        async with _bounded():
            row: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
        return row

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """See the base class."""
        async with _bounded():
            rows: list[dict[str, Any]] = await super().execute_query_all_async(query, **arguments)
        return rows


class Entries(JobManager):
    """The entries of the queue, as procrastinate's worker and the runner use them."""

    def __init__(self, connector: Connector, timing: Timing) -> None:
        super().__init__(connector)
        self.timing = timing
        self._held: set[int] = set()
        self._worker: int | None = None
        self._in_doubt = False
        self._leaving = False
        self._last_beat = monotonic()
        self._steady_since = -inf
        self._notice: NotificationCallback | None = None

    @classmethod
    async def over(cls, pool: Pool, timing: Timing | None = None) -> "Entries":
        """The entries of the database that the pool leads to."""
        connector = Connector()
        await connector.open_async(pool)
        return cls(connector, timing or Timing())

    # What the runner asks

    async def queued_jobs(self) -> set[str]:
        """The jobs that somebody follows or will. Raises ConnectorException."""
        found = await self.list_jobs_async(queue=QUEUE)
        return {job.lock for job in found if job.lock and job.status in {"todo", "doing"}}

    async def add(self, jobs: Sequence[JobId], *, urgent: bool = False) -> None:
        """Queue the jobs, all or none.

        Raises:
            AlreadyEnqueued: one of them waits to be fetched already.
            ConnectorException: the database did not answer.
        """
        await self.batch_defer_jobs_async(
            [
                Job(
                    queue=QUEUE,
                    task_name=TASK,
                    task_kwargs={"job": job},
                    lock=job,
                    queueing_lock=job,
                    priority=int(urgent),
                )
                for job in jobs
            ]
        )

    def leave(self) -> None:
        """From now on, what ends here is not done but left to others. For the end of the process."""
        self._leaving = True

    async def rescue(self) -> None:
        """Give back what dead processes held, and what this one has lost track of. Raises ConnectorException."""
        if self._in_doubt:
            await self._give_back_untracked()
        if self._can_judge() and await self._stalled():
            await self._give_back_stalled()

    # What procrastinate's worker asks

    async def register_worker(self) -> int:
        """See the base class."""
        self._worker = await super().register_worker()
        self._held.clear()
        self._last_beat = monotonic()
        return self._worker

    async def update_heartbeat(self, worker_id: int) -> None:
        """See the base class. Outlives a database that is away: left to itself, the worker would go on without a
        heart, since nobody watches over it."""
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:
            log.warning("queue not reached", what="heartbeat", reason=reason(error))
            return
        now = monotonic()
        if now - self._last_beat > self.timing.stalled_after_seconds:
            self._steady_since = now
        self._last_beat = now

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """See the base class."""
        try:
            job = await super().fetch_job(queues, worker_id)
        except UniqueViolation:
            return None  # two processes had their eye on two entries of one job
        except ConnectorException as error:
            if isinstance(error.__cause__, errors.ForeignKeyViolation):
                # While this process was paused, another took it for dead and forgot it: register anew.
                raise
            log.warning("queue not reached", what="fetch", reason=reason(error))
            self._in_doubt = True
            return None
        if job is not None and job.id is not None:
            self._held.add(job.id)
        return job

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """See the base class. What was cut off is left to be given back; what is another's by now is let alone."""
        try:
            if not self._leaving and status is not Status.ABORTED and await self._is_ours(job):
                await super().finish_job(job, status, delete_job)
        except ConnectorException as error:
            log.warning("queue not reached", what="finish", reason=reason(error))
            self._in_doubt = True
        finally:
            self._held.discard(job.id or 0)
        await self._look()  # the job may have been queued again meanwhile, which nobody announces

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """See the base class."""
        self._notice = on_notification
        while True:
            try:
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            except ConnectorException as error:
                log.warning("queue not reached", what="listen", reason=reason(error))
            await asyncio.sleep(LISTENS_AGAIN_AFTER_SECONDS)

    # Giving back

    def _can_judge(self) -> bool:
        """Whether this process's own heart has beaten long enough to tell who is dead: after the database was
        away, or this process paused, those who live need a moment to show it."""
        steady_seconds = monotonic() - self._steady_since
        silent_seconds = monotonic() - self._last_beat
        stalled_after = self.timing.stalled_after_seconds
        return silent_seconds < stalled_after <= steady_seconds

    async def _stalled(self) -> list[Job]:
        found = await self.get_stalled_jobs(
            queue=QUEUE, seconds_since_heartbeat=self.timing.stalled_after_seconds
        )
        return list(found)

    async def _give_back_stalled(self) -> None:
        """One process at a time, so that none gives back what another has fetched in the meantime."""
        pool: Pool = self.connector.pool  # type: ignore[attr-defined]
        try:
            async with pool.connection() as connection, connection.transaction():
                taken = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [RESCUE_LOCK])
                if await taken.fetchone() != (True,):
                    return
                given = await connection.execute(
                    GIVE_BACK, [LONG_AGO, QUEUE, self.timing.stalled_after_seconds]
                )
                jobs = given.rowcount
        except errors.Error as error:
            raise ConnectorException from error
        for job in await self._stalled():
            await self._give_back(job)  # what had been queued again while it was followed
        log.info("follows taken from the dead", jobs=jobs)
        await self._look()

    async def _give_back_untracked(self) -> None:
        """An answer of the database was lost, and with it perhaps an entry that this process was given."""
        if self._worker is not None:
            mine = await self.list_jobs_async(queue=QUEUE, status="doing", worker_id=self._worker)
            for job in mine:
                if job.id not in self._held:
                    await self._give_back(job)
        self._in_doubt = False

    async def _give_back(self, job: Job) -> None:
        try:
            await self.retry_job(job, retry_at=LONG_AGO)
        except UniqueViolation:
            # The job was queued again while it was followed: that entry does for both.
            await self.finish_job_by_id_async(job.id or 0, Status.ABORTED, delete_job=True)
        except ConnectorException as error:
            if not isinstance(error.__cause__, errors.RaiseException):
                raise
            # Ended since it was listed, by a process that was not dead after all.
        await self._look()

    async def _is_ours(self, job: Job) -> bool:
        return bool(list(await self.list_jobs_async(id=job.id, status="doing", worker_id=job.worker_id)))

    async def _look(self) -> None:
        """Let the worker read the queue now."""
        if self._notice is not None:
            await self._notice(channel=QUEUE, notification={"type": "job_inserted", "job_id": 0})


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
            yield
    except TimeoutError as error:
        raise ConnectorException(f"no answer within {ANSWERS_WITHIN_SECONDS:.0f} s") from error


def reason(error: ConnectorException) -> str:
    """What the driver said."""
    return str(error.__cause__ or error)
