"""What jobs have found, fetched for people who ask: once for many who ask at once, and remembered for a while."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from bot.domain import JobId, JobNotFound, JobResult, JobState, OmniError
from bot.domain.ports import OmniJobs
from bot.tasks import loop_time

log = structlog.get_logger()

PAUSES_SECONDS = (1.0, 2.0, 4.0)
"""How long to wait before each further look for what is not there yet. Omni's own app looks every second."""
FRESH_SECONDS = 120.0
"""How long after a job's end its result may still be on its way."""
KEPT_SECONDS = 300.0
KEPT_SECONDS_UNFINISHED = 10.0
"""How long a result is remembered, and how long that there is none, or not all of it."""
MOST_KEPT = 8
LARGEST_KEPT = 32 * 1024 * 1024
"""Characters of all results that are remembered."""


@dataclass(frozen=True, slots=True)
class _Kept:
    found: JobResult | OmniError
    until: float

    @property
    def size(self) -> int:
        return self.found.size if isinstance(self.found, JobResult) else 0


class JobResults:
    """The results of COMPLETE jobs. A person waits for each, so its requests are urgent; that they are few is
    what keeps people from starving the polls."""

    def __init__(self, omni: OmniJobs, now: Callable[[], datetime]) -> None:
        """`now`: aware UTC."""
        self._omni = omni
        self._now = now
        self._kept: dict[JobId, _Kept] = {}
        self._under_way: dict[JobId, asyncio.Task[JobResult | OmniError]] = {}

    async def get(self, job: JobId) -> JobResult:
        """What the job has found; `is_pending` if part of it has not come after several looks.

        Raises:
            OmniError: any. JobNotFound: the job is not COMPLETE, or Omni does not keep its result any more.
        """
        found = self._remembered(job)
        if found is None:
            found = await asyncio.shield(self._under_way.get(job) or self._begin(job))
        if isinstance(found, OmniError):
            raise type(found)(*found.args)
        return found

    def _remembered(self, job: JobId) -> JobResult | OmniError | None:
        kept = self._kept.get(job)
        return kept.found if kept is not None and loop_time() < kept.until else None

    def _begin(self, job: JobId) -> "asyncio.Task[JobResult | OmniError]":
        task = asyncio.create_task(self._fetch(job), name=f"result {job}")
        self._under_way[job] = task
        task.add_done_callback(lambda _: self._under_way.pop(job, None))
        return task

    async def _fetch(self, job: JobId) -> JobResult | OmniError:
        found: JobResult | OmniError
        try:
            found = await self._look(job)
        except OmniError as error:
            log.warning("result not fetched", job=job, error=type(error).__name__, reason=str(error))
            found = error
        self._keep(job, found)
        return found

    async def _look(self, job: JobId) -> JobResult:
        """Look for the result until all of it is there, or it is no longer worth it."""
        is_known_fresh = False
        for seconds in PAUSES_SECONDS:
            try:
                result = await self._omni.result(job, urgent=True)
            except JobNotFound:
                if not is_known_fresh and not await self._may_come(job):
                    raise
                is_known_fresh = True
            else:
                if not result.is_pending or not self._is_fresh(result.last_step_at):
                    return result
            await asyncio.sleep(seconds)
        return await self._omni.result(job, urgent=True)

    async def _may_come(self, job: JobId) -> bool:
        """Whether the result of a job that has none is on its way."""
        status = await self._omni.status(job, urgent=True)
        return status.state is JobState.COMPLETE and self._is_fresh(status.completed_at)

    def _is_fresh(self, at: datetime | None) -> bool:
        return at is None or (self._now() - at).total_seconds() < FRESH_SECONDS

    def _keep(self, job: JobId, found: JobResult | OmniError) -> None:
        """Remember what was found, and forget the oldest of what would be too much."""
        is_whole = isinstance(found, JobResult) and not found.is_pending
        seconds = KEPT_SECONDS if is_whole else KEPT_SECONDS_UNFINISHED
        now = loop_time()
        self._kept = {other: kept for other, kept in self._kept.items() if other != job and now < kept.until}
        self._kept[job] = _Kept(found, now + seconds)
        while len(self._kept) > MOST_KEPT or sum(kept.size for kept in self._kept.values()) > LARGEST_KEPT:
            del self._kept[next(iter(self._kept))]
