"""Learns how long this organisation's jobs take from those that have ended, in this process and in the others."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from bot.errors import StoreUnavailable
from bot.job import Job, JobId, JobState
from bot.ports import Durations
from bot.survival import Survival

log = structlog.get_logger()

LEARN_SECONDS = 60.0
"""How often what was learned is stored and read. A process that is killed forgets that much, which harms nothing."""


class Learning:
    """`survival` is what is known by now."""

    def __init__(self, durations: Durations, now: Callable[[], datetime]) -> None:
        self.survival = Survival()
        self._durations = durations
        self._now = now
        self._known: list[float] = []
        self._new: dict[JobId, float] = {}

    def ended(self, job: Job) -> None:
        """Take in a job that has ended of itself: one that was cancelled says nothing about how long jobs take."""
        if job.state in (JobState.COMPLETE, JobState.FAILED) and job.completed_at and job.begun_at:
            self._new[job.id] = max(0.0, (job.completed_at - job.begun_at).total_seconds())

    async def run(self) -> None:
        """Store what is new and read what is known, again and again, until cancelled."""
        while True:
            try:
                await self._exchange()
            except StoreUnavailable as error:
                log.warning("durations not exchanged", reason=str(error))
            await asyncio.sleep(LEARN_SECONDS)

    async def _exchange(self) -> None:
        if new := dict(self._new):
            await self._durations.add(new, self._now())
            self._new = {job: seconds for job, seconds in self._new.items() if job not in new}
        known = list(await self._durations.newest())
        if known != self._known:
            self._known, self.survival = known, Survival(known)
