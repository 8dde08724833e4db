"""Waits until the jobs that may keep a chat busy have ended: Omni works on one question of a chat at a time."""

import asyncio
from collections.abc import Sequence

import structlog

from bot.errors import JobNotFound, OmniError, StoreUnavailable
from bot.job import JobId
from bot.ports import Omni

log = structlog.get_logger()

BETWEEN_LOOKS_SECONDS = 5.0
UNKNOWN_JOB_SECONDS = 60.0
"""How long is waited where none of the jobs runs, so that another must: about as long as most take."""
WAITS_AT_MOST_SECONDS = 1_800.0


async def turn(omni: Omni, ahead: Sequence[JobId]) -> bool:
    """Wait for the end of these jobs. False if that takes longer than a question can wait."""
    try:
        async with asyncio.timeout(WAITS_AT_MOST_SECONDS):
            # At once: a job that ends before the first look can't be told from one that nobody knows.
            active = [job for job in ahead if await _is_active(omni, job, urgent=True)]
            if not active:
                await asyncio.sleep(UNKNOWN_JOB_SECONDS)
            while active:
                await asyncio.sleep(BETWEEN_LOOKS_SECONDS)
                active = [job for job in active if await _is_active(omni, job)]
    except TimeoutError:
        return False
    return True


async def _is_active(omni: Omni, job: JobId, *, urgent: bool = False) -> bool:
    """Whether it runs; where Omni does not tell, it may."""
    try:
        return not (await omni.status(job, urgent=urgent)).state.is_final
    except JobNotFound:
        return False
    except (OmniError, StoreUnavailable) as error:
        log.info("no status", job=job, error=type(error).__name__)
        return True
