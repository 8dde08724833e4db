"""The queue's entries: which jobs are to be followed, and by which process. Kept by procrastinate in PostgreSQL.

procrastinate claims entries, beats the heart of the worker that holds them, and finds those of a dead one. Here it
is made to outlive a database that is away for a while, to fetch many entries at once, and to give back what it can't
see to its end.
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
"""What an entry says: which job is to be followed, and for which team. Those of older versions name no team."""

DOUBTS_FOR_SECONDS = 30.0
"""How long a statement that nobody waits for any more may still be carried out: the network gives up before."""
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
"""procrastinate's own function until nothing is left: one by one, 1,000 entries take a second more."""
END: LiteralString = """
    DELETE FROM procrastinate_jobs WHERE id = %(id)s AND worker_id = %(worker)s AND status = 'doing'
"""
"""procrastinate's own function would also end what another worker holds by now."""
GIVE_BACK: LiteralString = """
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
"""Only from the worker that was seen to hold the entry, so that nobody gives back what has been fetched since. Where
the job was queued again while it was followed, that entry does for both."""

Breathe = Callable[[], Awaitable[None]]
Registered = Callable[[int], None]


class FollowQueue(JobManager):
    """The entries of the queue, as procrastinate's worker and the runner use them."""

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
        """Whether what ends here is left to others from now on."""
        self._fetching = asyncio.Lock()
        self._in_doubt_until = -inf
        self._heart = OwnHeartbeat(timing, monotonic())
        self._is_reached = True
        self._news = asyncio.Event()
        self._news_number = 0

    @classmethod
    async def over(
        cls,
        pool: Pool,
        timing: Timing | None = None,
        breathe: Breathe | None = None,
        registered: Registered | None = None,
    ) -> "FollowQueue":
        """The entries of the database that the pool leads to.

        `breathe` is awaited between many entries, so that their follows begin no faster than the database can
        answer them, and people's requests get between. `registered` is told the id of this process's worker, and is
        to show in the database that its session lasts (`heartbeats`).
        """
        connector = Connector()
        await connector.open_async(pool)
        return cls(connector, timing or Timing(), breathe, registered)

    # What the runner asks

    async def queued_jobs(self, team: TeamId) -> set[JobId]:
        """The team's jobs that somebody follows or will. Raises ConnectorException."""
        found = await self.connector.execute_query_all_async(QUEUED, queue=QUEUE, team=team)
        return {row[JOB] for row in found}

    async def add(self, team: TeamId, jobs: Sequence[JobId], *, urgent: bool = False) -> None:
        """Queue the jobs of a team, all or none.

        Raises:
            AlreadyEnqueued: one of them waits to be fetched already.
            ConnectorException: the database did not answer.
        """
        await self.batch_defer_jobs_async(
            [
                Job(
                    queue=QUEUE,
                    task_name=TASK,
                    task_kwargs={TEAM: team, JOB: job},
                    # Two workspaces may follow the same job, each in its own cards.
                    lock=f"{team} {job}",
                    queueing_lock=f"{team} {job}",
                    priority=int(urgent),
                )
                for job in jobs
            ]
        )
        self.refresh()

    def refresh(self) -> None:
        """Let the worker read the queue now."""
        self._news_number += 1
        self._news.set()

    async def reclaim_stalled(self) -> None:
        """Give back what dead processes held, and what this one has lost track of."""
        try:
            if monotonic() < self._in_doubt_until:
                await self._give_back(await self._untracked())
            if limits := self._heart.limits(monotonic()):
                await self._give_back(await held_by_the_dead(self.connector, QUEUE, limits))
        except ConnectorException as error:
            self._missed("rescue", error)

    def stop_fetching(self) -> None:
        """Fetch and end nothing any more. For the end of the process."""
        self.is_leaving = True

    async def release_all(self) -> None:
        """Give back what this process holds, also what a fetch that is under way may still bring."""
        try:
            async with self._fetching:
                await self._give_back([(entry, self._worker) for entry in self._held])
        except ConnectorException as error:
            self._missed("give back", error)

    # What procrastinate's worker asks

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
        """See the base class. Outlives a database that is away: left to itself, the worker would go on without a
        heart, since nobody watches over it."""
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:
            self._missed("heartbeat", error)
            return
        if not self._is_reached:
            log.info("queue reached again")
            self._is_reached = True
        self._heart.beat(monotonic())

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002
        """See the base class. Fetches several and hands them out one by one."""
        news = None
        while not (self.is_leaving or self._fetched or news == self._news_number):
            # What is added while the database answers is fetched in the next turn: nobody announces it again.
            news = self._news_number
            try:
                async with self._fetching:
                    await self._fetch(worker_id)
            except UniqueViolation:
                break  # two processes had their eye on two entries of one job
            except ConnectorException as error:
                if isinstance(error.__cause__, errors.ForeignKeyViolation):
                    # While this process was paused, another took it for dead and forgot it: register anew.
                    raise
                self._doubt("fetch", error)
                break
        return None if self.is_leaving or not self._fetched else self._fetched.popleft()

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: ARG002
        """See the base class. What was cut off is left to be given back; what is another's by now is let alone."""
        if self.is_leaving or status is Status.ABORTED:
            return
        self._held.discard(job.id or 0)
        try:
            if status is Status.FAILED:
                # Another has claimed the job. Should this entry still be ours, that one is gone, or holds none:
                # whoever fetches it claims the job anew.
                await self._give_back([(job.id, job.worker_id)])
            else:
                await self.connector.execute_query_async(END, id=job.id, worker=job.worker_id)
        except ConnectorException as error:
            self._doubt("finish", error)
        self.refresh()  # the job may have been queued again meanwhile

    async def listen_for_jobs(
        self,
        *,
        on_notification: NotificationCallback,
        queues: Iterable[str] | None = None,  # noqa: ARG002
    ) -> None:
        """See the base class. Listens to this process only, which is told when it is to look; the connection is
        saved."""
        while True:
            await self._news.wait()
            self._news.clear()
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

    def _doubt(self, what: str, error: ConnectorException) -> None:
        """An answer of the database was lost, and with it perhaps an entry that this process holds unawares."""
        self._in_doubt_until = monotonic() + DOUBTS_FOR_SECONDS
        self._missed(what, error)

    def _missed(self, what: str, error: ConnectorException) -> None:
        """One line when the database goes away; the next when it is back."""
        if self._is_reached:
            log.warning("queue not reached", what=what, reason=reason(error))
        self._is_reached = False

    # Giving back

    async def _untracked(self) -> list[tuple[int | None, int | None]]:
        if self._worker is None:
            return []
        mine = await self.list_jobs_async(queue=QUEUE, status="doing", worker_id=self._worker)
        return [(job.id, job.worker_id) for job in mine if job.id not in self._held]

    async def _give_back(self, seen: Collection[tuple[int | None, int | None]]) -> None:
        """Let others fetch these entries, each seen to be held by this worker, if it still is."""
        if not seen:
            return
        ids, workers = zip(*seen, strict=True)
        try:
            await self.connector.execute_query_async(GIVE_BACK, ids=list(ids), workers=list(workers))
        except UniqueViolation:
            return  # a job was queued again in this very moment, which the next rescue sees
        log.info("follows given back", jobs=len(seen))
        self.refresh()
