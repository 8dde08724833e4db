"""Which processes are alive, judged by the heartbeats of procrastinate's workers and by their PostgreSQL sessions."""

from dataclasses import dataclass
from math import inf
from typing import LiteralString

from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException

from bot.domain import StoreUnavailable
from bot.worker.pg import reason

WORKERS = 1869442665
"""The kind of lock that shows that a worker's session lasts; the number is the worker's id."""

SHOW_NUMBER: LiteralString = "SELECT pg_advisory_lock_shared(%s::int, %s::int)"
"""A lock that shows a number of a kind. PostgreSQL releases it when the connection of a killed process ends."""
SHOWN_NUMBERS: LiteralString = """
    SELECT DISTINCT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND classid = %s::bigint::oid AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
BEATING: LiteralString = """
    SELECT count(*) AS number FROM procrastinate_workers
    WHERE last_heartbeat > now() - make_interval(secs => %(seconds)s)
"""
HELD_BY_THE_DEAD: LiteralString = """
    WITH dead AS (
        SELECT id FROM procrastinate_workers AS worker
        WHERE last_heartbeat < now() - make_interval(secs => %(stalled_after)s)
        OR (last_heartbeat < now() - make_interval(secs => %(ended_after)s) AND NOT EXISTS (
            SELECT FROM pg_locks
            WHERE locktype = 'advisory' AND classid = %(workers)s::bigint::oid AND objid = worker.id::oid
            AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        ))
    )
    SELECT id, worker_id FROM procrastinate_jobs
    WHERE queue_name = %(queue)s AND status = 'doing'
    AND (worker_id IS NULL OR worker_id IN (SELECT id FROM dead))
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """How soon another process takes over the jobs of a dead one.

    The session of a killed process ends with it. It counts as dead `ended_after` its last heartbeat, which another
    process finds within `rescue`; releasing and fetching 1,000 entries takes about 2 s: 2 + 1 + 2 = 5 s at worst.
    `ended_after` leaves a live process that only reconnects the time for one more heartbeat.

    A paused process, or one whose host vanished, keeps its session. It counts as dead after `stalled_after`:
    7.5 + 1 + 2 = 10.5 s at worst. If the event loop is blocked, the next heartbeat comes at most `heartbeat` + the
    blocked time late: 4 s after 3 s, with 3.5 s to spare for the database.
    """

    heartbeat_seconds: float = 1.0
    ended_after_seconds: float = 2.0
    stalled_after_seconds: float = 7.5
    rescue_seconds: float = 1.0
    poll_seconds: float = 1.0
    """How often the queue is read for entries that others have added or released."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds after its last heartbeat a worker counts as dead."""

    stalled_after: float
    ended_after: float
    """If its session has ended."""


class OwnHeartbeat:
    """The heartbeat of this process, which must be steady before it may declare others dead.

    After a database outage or a pause, live processes need a moment to send their next heartbeat.
    """

    def __init__(self, timing: Timing, now: float) -> None:
        """`now`, here and below: monotonic time in seconds."""
        self._timing = timing
        self._last_beat = now
        self._silent_until = {timing.ended_after_seconds: -inf, timing.stalled_after_seconds: -inf}
        """When it last ended a silence longer than so many seconds."""

    def begin(self, now: float) -> None:
        """Start for a new worker."""
        self._last_beat = now

    def beat(self, now: float) -> None:
        """Record a heartbeat that the database has stored."""
        for seconds in self._silent_until:
            if now - self._last_beat > seconds:
                self._silent_until[seconds] = now
        self._last_beat = now

    def limits(self, now: float) -> Limits | None:
        """Return the limits that other workers may be judged by; None: not now."""
        stalled_after, ended_after = self._timing.stalled_after_seconds, self._timing.ended_after_seconds
        if not self._can_judge(stalled_after, now):
            return None
        return Limits(stalled_after, ended_after if self._can_judge(ended_after, now) else stalled_after)

    def _can_judge(self, seconds: float, now: float) -> bool:
        steady_seconds = now - self._silent_until[seconds]
        return now - self._last_beat < seconds and steady_seconds >= self._timing.stalled_after_seconds


async def is_any_heart_beating(connector: BaseConnector, within_seconds: float) -> bool:
    """Whether any worker has sent a heartbeat within so many seconds. Raises StoreUnavailable."""
    try:
        row = await connector.execute_query_one_async(BEATING, seconds=within_seconds)
    except ConnectorException as error:
        raise StoreUnavailable(reason(error)) from error
    return bool(row["number"])


async def held_by_the_dead(
    connector: BaseConnector, queue: str, limits: Limits
) -> list[tuple[int, int | None]]:
    """Return the queue's entries whose worker counts as dead, each with that worker. Raises ConnectorException."""
    rows = await connector.execute_query_all_async(
        HELD_BY_THE_DEAD,
        queue=queue,
        workers=WORKERS,
        stalled_after=limits.stalled_after,
        ended_after=limits.ended_after,
    )
    return [(row["id"], row["worker_id"]) for row in rows]
