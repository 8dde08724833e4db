"""Whether the processes live, as PostgreSQL sees it: by the hearts of procrastinate's workers, and their sessions."""

from dataclasses import dataclass
from math import inf
from typing import LiteralString

from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException

from bot.domain import StoreUnavailable
from bot.worker.pg import reason

SHOW_THAT_SESSION_LASTS: LiteralString = "SELECT pg_advisory_lock_shared(1869442665, %s::int)"
"""A lock that nobody waits for. PostgreSQL lets it go with the session, and so in the moment in which a killed
process's connection ends. The first number says that it is the bot's, the second is the worker's id."""

SHOW_NUMBER: LiteralString = "SELECT pg_advisory_lock_shared(%s::int, %s::int)"
"""A lock as above. The first number says of which kind the second one is."""
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
            WHERE locktype = 'advisory' AND classid = 1869442665 AND objid = worker.id::oid AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        ))
    )
    SELECT id, worker_id FROM procrastinate_jobs
    WHERE queue_name = %(queue)s AND status = 'doing'
    AND (worker_id IS NULL OR worker_id IN (SELECT id FROM dead))
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """How soon a follow goes on elsewhere when its process is gone.

    The session of a killed process ends with it; `ended_after` its last heartbeat it counts as dead, which the next
    rescue of a peer finds within `rescue`; giving back and fetching 1,000 entries takes about 2 s. So 2 + 1 + 2 = 5 s
    at worst. `ended_after` lets a process that lives, and only has to connect anew, beat once more meanwhile.

    One that is paused, or whose host vanished without a word, keeps its session. It counts as dead after
    `stalled_after`: 7.5 + 1 + 2 = 10.5 s at worst. A process whose event loop is held up sends its next heartbeat at
    most `heartbeat` + the hold-up late: 3 s of it make 4 s, with 3.5 s to spare for the database.
    """

    heartbeat_seconds: float = 1.0
    ended_after_seconds: float = 2.0
    stalled_after_seconds: float = 7.5
    rescue_seconds: float = 1.0
    poll_seconds: float = 1.0
    """How often the queue is read for what others have added or given back."""


@dataclass(frozen=True, slots=True)
class Limits:
    """For how many seconds a worker's heart may be silent until it counts as dead."""

    stalled_after: float
    ended_after: float
    """If its session has ended."""


class OwnHeartbeat:
    """The heart of our own process: whoever judges others by theirs must be sure of it. When the database was away, or
    we paused, those who live need a moment to show it."""

    def __init__(self, timing: Timing, now: float) -> None:
        """`now`, here and below: in seconds, of a clock that only goes forward."""
        self._timing = timing
        self._last_beat = now
        self._silent_until = {timing.ended_after_seconds: -inf, timing.stalled_after_seconds: -inf}
        """When it was last silent for longer than so many seconds."""

    def begin(self, now: float) -> None:
        """It beats for a new worker."""
        self._last_beat = now

    def beat(self, now: float) -> None:
        """The database has taken a beat."""
        for seconds in self._silent_until:
            if now - self._last_beat > seconds:
                self._silent_until[seconds] = now
        self._last_beat = now

    def limits(self, now: float) -> Limits | None:
        """By what others may be judged now; None: not at all."""
        stalled_after, ended_after = self._timing.stalled_after_seconds, self._timing.ended_after_seconds
        if not self._can_judge(stalled_after, now):
            return None
        return Limits(stalled_after, ended_after if self._can_judge(ended_after, now) else stalled_after)

    def _can_judge(self, seconds: float, now: float) -> bool:
        steady_seconds = now - self._silent_until[seconds]
        return now - self._last_beat < seconds and steady_seconds >= self._timing.stalled_after_seconds


async def is_any_heart_beating(connector: BaseConnector, within_seconds: float) -> bool:
    """Whether the heart of some process's worker has beaten within so long. Raises StoreUnavailable."""
    try:
        row = await connector.execute_query_one_async(BEATING, seconds=within_seconds)
    except ConnectorException as error:
        raise StoreUnavailable(reason(error)) from error
    return bool(row["number"])


async def held_by_the_dead(
    connector: BaseConnector, queue: str, limits: Limits
) -> list[tuple[int, int | None]]:
    """The queue's entries whose worker counts as dead, each with that worker. Raises ConnectorException."""
    rows = await connector.execute_query_all_async(
        HELD_BY_THE_DEAD,
        queue=queue,
        stalled_after=limits.stalled_after,
        ended_after=limits.ended_after,
    )
    return [(row["id"], row["worker_id"]) for row in rows]
