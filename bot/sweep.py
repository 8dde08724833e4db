"""The sweep: takes up every open follow at the start, later any that was lost on the way, and forgets old ones."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from bot.asks import Asks
from bot.errors import JobNotFound, OmniError, StoreUnavailable
from bot.givenups import GivenUps
from bot.job import JobId
from bot.orphans import tell_orphans
from bot.ports import Board, Omni, Watches
from bot.runner import Runner
from bot.unheard import tell_unheard

log = structlog.get_logger()

LOOKED_AGAIN_AFTER = timedelta(minutes=10)
"""How long after a follow has ended because Omni did not know the job any more. The card says it in words."""
SWEEP_SECONDS = 60.0
"""How often the table is searched for an open watch that nobody follows."""


async def sweep(
    watches: Watches, runner: Runner, now: Callable[[], datetime], *, retention_days: float
) -> None:
    """Compare the table with what is followed, again and again, until cancelled."""
    while True:
        try:
            jobs = await watches.open_jobs()
            await runner.ensure(jobs)
            forgotten = await watches.forget_closed(now() - timedelta(days=retention_days))
        except StoreUnavailable as error:
            log.error("open follows not read", reason=str(error))
        else:
            log.debug("swept", jobs=len(jobs), forgotten=forgotten)
        await asyncio.sleep(SWEEP_SECONDS)


async def look_again(
    watches: Watches, omni: Omni, start: Callable[[JobId], Awaitable[None]], now: Callable[[], datetime]
) -> None:
    """Ask Omni once more about each job that it did not know any more, until cancelled. `start` follows one that it
    knows after all."""
    while True:
        try:
            for job in await watches.lost_jobs(now() - LOOKED_AGAIN_AFTER):
                await _look_again(watches, omni, start, job)
        except StoreUnavailable as error:
            log.error("lost jobs not read", reason=str(error))
        except OmniError as error:
            log.info("no status of a lost job", error=type(error).__name__, reason=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def _look_again(
    watches: Watches, omni: Omni, start: Callable[[JobId], Awaitable[None]], job: JobId
) -> None:
    try:
        await omni.status(job)
    except JobNotFound:
        await watches.settle_lost(job, found=False)
        return
    await watches.settle_lost(job, found=True)
    log.info("lost job found", job=job)
    await start(job)


async def sweep_asks(
    asks: Asks,
    board: Board,
    now: Callable[[], datetime],
    *,
    retention_days: float,
    alone_since: datetime | None = None,
) -> None:
    """Tell of the questions that nobody has in hand any more, and forget old ones, until cancelled. `alone_since`: see
    `tell_orphans`."""
    while True:
        try:
            await tell_orphans(asks, board, now, alone_since=alone_since)
            await asks.forget_asks(now() - timedelta(days=retention_days))
        except StoreUnavailable as error:
            log.error("asks not read", reason=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep_given_ups(
    given_ups: GivenUps,
    board: Board,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Tell of the follows that came to nothing, until cancelled. `alone_since`: see `tell_unheard`."""
    while True:
        try:
            await tell_unheard(given_ups, board, now, alone_since=alone_since)
        except StoreUnavailable as error:
            log.error("given up follows not read", reason=str(error))
        await asyncio.sleep(SWEEP_SECONDS)
