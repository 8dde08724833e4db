"""Fetches and caches the results of jobs. Concurrent requests for one job share one fetch."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from bot.domain import JobId, JobNotFound, JobResult, JobState, OmniError
from bot.domain.ports import OmniJobs
from bot.tasks import loop_time

log = structlog.get_logger()

RETRY_SECONDS = (1.0, 2.0, 4.0)
"""Waits between the requests for a result that is incomplete. Omni's own app polls every second."""
FRESH_SECONDS = 120.0
"""How long after the end of a job its result may still be incomplete."""
CACHED_SECONDS = 300.0
CACHED_SECONDS_INCOMPLETE = 10.0
"""How long an incomplete result, or an error, is cached."""
MOST_CACHED = 8
LARGEST_CACHED = 32 * 1024 * 1024
"""Characters of all cached results."""


@dataclass(frozen=True, slots=True)
class _Cached:
    result: JobResult | OmniError
    until: float

    @property
    def size(self) -> int:
        return self.result.size if isinstance(self.result, JobResult) else 0


class JobResults:
    """The results of COMPLETE jobs.

    Its requests are interactive and go before polls. The cache keeps them few, so that the polls go on.
    """

    def __init__(self, omni: OmniJobs, now: Callable[[], datetime]) -> None:
        """`now`: aware UTC."""
        self._omni = omni
        self._now = now
        self._cache: dict[JobId, _Cached] = {}
        self._fetches: dict[JobId, asyncio.Task[JobResult | OmniError]] = {}

    async def get(self, job: JobId) -> JobResult:
        """Return the job's result; `is_pending` if it is still incomplete after several requests.

        Raises:
            OmniError: any. JobNotFound: the job is not COMPLETE, or Omni has deleted its result.
        """
        cached = self._cache.get(job)
        if cached is not None and loop_time() < cached.until:
            result = cached.result
        else:
            result = await asyncio.shield(self._fetches.get(job) or self._begin(job))
        if isinstance(result, OmniError):
            raise type(result)(*result.args)
        return result

    def _begin(self, job: JobId) -> "asyncio.Task[JobResult | OmniError]":
        task = asyncio.create_task(self._fetch(job), name=f"result {job}")
        self._fetches[job] = task
        task.add_done_callback(lambda _: self._fetches.pop(job, None))
        return task

    async def _fetch(self, job: JobId) -> JobResult | OmniError:
        result: JobResult | OmniError
        try:
            result = await self._request(job)
        except OmniError as error:
            log.warning("result not fetched", job=job, error=type(error).__name__, reason=str(error))
            result = error
        self._store(job, result)
        return result

    async def _request(self, job: JobId) -> JobResult:
        """Request the result until it is complete or no longer fresh."""
        is_known_fresh = False
        for seconds in RETRY_SECONDS:
            try:
                result = await self._omni.result(job, urgent=True)
            except JobNotFound:
                if not is_known_fresh and not await self._has_just_completed(job):
                    raise
                is_known_fresh = True
            else:
                if not result.is_pending or not self._is_fresh(result.last_step_at):
                    return result
            await asyncio.sleep(seconds)
        return await self._omni.result(job, urgent=True)

    async def _has_just_completed(self, job: JobId) -> bool:
        status = await self._omni.status(job, urgent=True)
        return status.state is JobState.COMPLETE and self._is_fresh(status.completed_at)

    def _is_fresh(self, at: datetime | None) -> bool:
        return at is None or (self._now() - at).total_seconds() < FRESH_SECONDS

    def _store(self, job: JobId, result: JobResult | OmniError) -> None:
        is_complete = isinstance(result, JobResult) and not result.is_pending
        seconds = CACHED_SECONDS if is_complete else CACHED_SECONDS_INCOMPLETE
        now = loop_time()
        self._cache = {
            other: cached for other, cached in self._cache.items() if other != job and now < cached.until
        }
        self._cache[job] = _Cached(result, now + seconds)
        while len(self._cache) > MOST_CACHED or sum(c.size for c in self._cache.values()) > LARGEST_CACHED:
            del self._cache[next(iter(self._cache))]
