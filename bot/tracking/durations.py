"""How long jobs usually take, from those that ended."""

import statistics
from collections.abc import Callable
from datetime import datetime

import structlog

from bot.domain import Job, JobId, JobState
from bot.domain.ports import JobDurationRepository
from bot.tasks import repeat_until_cancelled

log = structlog.get_logger()

EXCHANGE_SECONDS = 60.0
"""How often durations are stored and read. A killed process loses at most that much, which is harmless."""
FEWEST_JOBS = 8
"""Fewer jobs say too little."""


class TypicalDurations:
    """Durations of a workspace's jobs that ended last, shared by all processes."""

    def __init__(self, durations: JobDurationRepository, now: Callable[[], datetime]) -> None:
        self._repository = durations
        self._now = now
        self._newest: tuple[float, ...] = ()
        self._new: dict[JobId, float] = {}

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """The seconds between which half of the jobs took; None if too few have ended."""
        if len(self._newest) < FEWEST_JOBS:
            return None
        lower, _, upper = statistics.quantiles(self._newest, n=4, method="inclusive")
        return lower, upper

    def record(self, job: Job) -> None:
        """Take over a complete or failed job; a cancelled one says nothing about durations."""
        if job.state in (JobState.COMPLETE, JobState.FAILED) and job.duration_seconds is not None:
            self._new[job.id] = job.duration_seconds

    async def run(self) -> None:
        """Store new durations and read the newest of all processes, until cancelled."""
        await repeat_until_cancelled(
            self._exchange, every_seconds=EXCHANGE_SECONDS, failure_event="durations not exchanged"
        )

    async def _exchange(self) -> None:
        if new := dict(self._new):
            await self._repository.add(new, self._now())
            self._new = {job: seconds for job, seconds in self._new.items() if job not in new}
        self._newest = tuple(await self._repository.newest())
