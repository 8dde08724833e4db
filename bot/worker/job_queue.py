"""The queue of jobs to track, kept by procrastinate in PostgreSQL.

procrastinate assigns entries to workers and stores their heartbeats. This job manager adds that it survives a database
outage, fetches many entries at once, and releases entries that it can't complete.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from typing import LiteralString

import structlog
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager, NotificationCallback
from psycopg import errors

from bot.domain import JobId, StoreUnavailable, TeamId
from bot.worker.heartbeats import OwnHeartbeat, Timing, held_by_the_dead
from bot.worker.pg import Connector, Pool, reason

log = structlog.get_logger()

QUEUE = "follows"
TASK = "follow"
TEAM = "team"
JOB = "job"
"""Arguments of an entry. Entries of older versions have no team."""

LATE_STATEMENT_SECONDS = 30.0
"""How long a statement may still be executed after its caller timed out; the network gives up sooner."""
FETCHED_AT_ONCE = 50

QUEUED: LiteralString = """
    SELECT args->>'job' AS job FROM procrastinate_jobs
    WHERE queue_name = %(queue)s AND status IN ('todo', 'doing') AND args->>'team' = %(team)s
"""
FETCH: LiteralString = """
    WITH RECURSIVE fetched AS (
        SELECT 1 AS number, procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker)s) AS entry
        UNION ALL
        SELECT number + 1, procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker)s)
        FROM fetched WHERE (entry).id IS NOT NULL AND number < %(most)s
    )
    SELECT (entry).* FROM fetched WHERE (entry).id IS NOT NULL
"""
"""Calls procrastinate's function until no entry is left: one call each would take a second more per 1,000 entries."""
END: LiteralString = """
    DELETE FROM procrastinate_jobs WHERE id = %(id)s AND worker_id = %(worker)s AND status = 'doing'
"""
"""procrastinate's own function would also delete an entry that another worker holds by now."""
RELEASE: LiteralString = """
    WITH held AS (
        SELECT entry.id, EXISTS (
            SELECT FROM procrastinate_jobs AS waiting
            WHERE waiting.queueing_lock = entry.queueing_lock AND waiting.status = 'todo'
        ) AS is_queued_again
        FROM procrastinate_jobs AS entry
        JOIN unnest(%(ids)s::bigint[], %(workers)s::bigint[]) AS seen (id, worker_id) USING (id)
        WHERE entry.status = 'doing' AND entry.worker_id IS NOT DISTINCT FROM seen.worker_id
        ORDER BY entry.id
        FOR UPDATE OF entry SKIP LOCKED
    ), ended AS (
        DELETE FROM procrastinate_jobs AS entry USING held WHERE entry.id = held.id AND held.is_queued_again
    )
    UPDATE procrastinate_jobs AS entry SET status = 'todo', worker_id = NULL, attempts = attempts + 1
    FROM held WHERE entry.id = held.id AND NOT held.is_queued_again
"""
"""Releases an entry only from the worker that was seen to hold it, since it may have been fetched again. If the job was
queued again meanwhile, the new entry serves for both."""

Breathe = Callable[[], Awaitable[None]]
Registered = Callable[[int], None]


class FollowQueue(JobManager):
    """The queue, for procrastinate's worker and for the runner."""

    def __init__(
        self, connector: Connector, timing: Timing, breathe: Breathe | None, registered: Registered | None
    ) -> None:
        super().__init__(connector)
        self.timing = timing
        self._breathe = breathe
        self._registered = registered
        self._worker: int | None = None
        self._held: set[int] = set()
        self._fetched: deque[Job] = deque()
        self._is_backlog = False
        self.is_leaving = False
        """Whether the process ends and leaves its entries to others."""
        self._fetching = asyncio.Lock()
        self._may_hold_more_until = -inf
        self._heart = OwnHeartbeat(timing, monotonic())
        self._is_reached = True
        self._refreshed = asyncio.Event()
        self._refreshes = 0

    @classmethod
    async def over(
        cls,
        pool: Pool,
        timing: Timing | None = None,
        breathe: Breathe | None = None,
        registered: Registered | None = None,
    ) -> "FollowQueue":
        """Open the queue of the pool's database.

        `breathe` is awaited between batches of entries, so that trackers start no faster than the database answers,
        and interactive requests are served meanwhile. `registered` is called with the id of this process's worker
        and must show in the database that its session lasts (`heartbeats`).
        """
        connector = Connector()
        await connector.open_async(pool)
        return cls(connector, timing or Timing(), breathe, registered)

    # For the runner

    async def queued_jobs(self, team: TeamId) -> set[JobId]:
        """Return the team's jobs that are queued or tracked. Raises ConnectorException."""
        found = await self.connector.execute_query_all_async(QUEUED, queue=QUEUE, team=team)
        return {row[JOB] for row in found}

    async def add(self, team: TeamId, jobs: Sequence[JobId], *, urgent: bool = False) -> None:
        """Queue the jobs of a team, all or none.

        Raises:
            AlreadyEnqueued: one of them is queued already.
            ConnectorException: the database did not answer.
        """
        await self.batch_defer_jobs_async(
            [
                Job(
                    queue=QUEUE,
                    task_name=TASK,
                    task_kwargs={TEAM: team, JOB: job},
                    # Two workspaces may track the same job, each with its own cards.
                    lock=f"{team} {job}",
                    queueing_lock=f"{team} {job}",
                    priority=int(urgent),
                )
                for job in jobs
            ]
        )
        self.refresh()

    def refresh(self) -> None:
        """Let the worker read the queue at once."""
        self._refreshes += 1
        self._refreshed.set()

    async def reclaim_stalled(self) -> None:
        """Release the entries of dead processes, and those that this process lost track of."""
        try:
            if monotonic() < self._may_hold_more_until:
                await self._release(await self._untracked())
            if limits := self._heart.limits(monotonic()):
                await self._release(await held_by_the_dead(self.connector, QUEUE, limits))
        except ConnectorException as error:
            self._log_outage("rescue", error)

    def stop_fetching(self) -> None:
        """Stop fetching and deleting entries. For the end of the process."""
        self.is_leaving = True

    async def release_all(self) -> None:
        """Release all entries of this process, including those of a fetch under way."""
        try:
            async with self._fetching:
                await self._release([(entry, self._worker) for entry in self._held])
        except ConnectorException as error:
            self._log_outage("give back", error)

    # For procrastinate's worker

    async def register_worker(self) -> int:
        """See the base class."""
        self._worker = await super().register_worker()
        self._held.clear()
        self._fetched.clear()
        self._heart.begin(monotonic())
        if self._registered is not None:
            self._registered(self._worker)
        return self._worker

    async def update_heartbeat(self, worker_id: int) -> None:
        """See the base class. Survives a database outage, after which the worker would go on without heartbeats."""
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:
            self._log_outage("heartbeat", error)
            return
        if not self._is_reached:
            log.info("queue reached again")
            self._is_reached = True
        self._heart.beat(monotonic())

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002
        """See the base class. Fetches several entries and returns them one by one."""
        news = None
        while not (self.is_leaving or self._fetched or news == self._refreshes):
            # Entries added during the query are fetched in the next round: they are not announced again.
            news = self._refreshes
            try:
                async with self._fetching:
                    await self._fetch(worker_id)
            except UniqueViolation:
                break  # two processes tried to fetch two entries of one job
            except ConnectorException as error:
                if isinstance(error.__cause__, errors.ForeignKeyViolation):
                    # While this process was paused, another declared it dead and deleted its worker: register again.
                    raise
                self._lose_track("fetch", error)
                break
        return None if self.is_leaving or not self._fetched else self._fetched.popleft()

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: ARG002
        """See the base class. An interrupted entry is left to `release_all`; one of another worker is not changed."""
        if self.is_leaving or status is Status.ABORTED:
            return
        self._held.discard(job.id or 0)
        try:
            if status is Status.FAILED:
                # Another process owns the job. If this entry is still ours, that process has died or has no entry:
                # the next process to fetch the entry claims the job.
                await self._release([(job.id, job.worker_id)])
            else:
                await self.connector.execute_query_async(END, id=job.id, worker=job.worker_id)
        except ConnectorException as error:
            self._lose_track("finish", error)
        self.refresh()  # the job may have been queued again

    async def listen_for_jobs(
        self,
        *,
        on_notification: NotificationCallback,
        queues: Iterable[str] | None = None,  # noqa: ARG002
    ) -> None:
        """See the base class. Waits for `refresh` instead of listening, which saves a connection."""
        while True:
            await self._refreshed.wait()
            self._refreshed.clear()
            await on_notification(channel=QUEUE, notification={"type": "job_inserted", "job_id": 0})

    async def _fetch(self, worker: int) -> None:
        if self._is_backlog and self._breathe is not None:
            with suppress(StoreUnavailable):
                await self._breathe()
        rows = await self.connector.execute_query_all_async(
            FETCH, queues=[QUEUE], worker=worker, most=FETCHED_AT_ONCE
        )
        self._is_backlog = len(rows) == FETCHED_AT_ONCE
        self._fetched.extend(map(Job.from_row, rows))
        self._held.update(row["id"] for row in rows)

    def _lose_track(self, what: str, error: ConnectorException) -> None:
        """Note that an answer of the database was lost: this process may hold an entry that it does not know."""
        self._may_hold_more_until = monotonic() + LATE_STATEMENT_SECONDS
        self._log_outage(what, error)

    def _log_outage(self, what: str, error: ConnectorException) -> None:
        """Log a database outage once."""
        if self._is_reached:
            log.warning("queue not reached", what=what, reason=reason(error))
        self._is_reached = False

    # Releasing entries

    async def _untracked(self) -> list[tuple[int | None, int | None]]:
        if self._worker is None:
            return []
        mine = await self.list_jobs_async(queue=QUEUE, status="doing", worker_id=self._worker)
        return [(job.id, job.worker_id) for job in mine if job.id not in self._held]

    async def _release(self, seen: Collection[tuple[int | None, int | None]]) -> None:
        """Release these entries if the worker that was seen with each still holds it."""
        if not seen:
            return
        ids, workers = zip(*seen, strict=True)
        try:
            await self.connector.execute_query_async(RELEASE, ids=list(ids), workers=list(workers))
        except UniqueViolation:
            return  # a job was queued again at this moment, which the next `reclaim_stalled` sees
        log.info("follows given back", jobs=len(seen))
        self.refresh()
