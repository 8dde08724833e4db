"""Three processes on one PostgreSQL: every job continues when one is killed, stopped or paused.

With `--log-cli-level=INFO` the figures are shown.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.crash.fleet import Fleet, Process, fleet
from tests.support.postgres import database

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]

log = logging.getLogger(__name__)

REQUESTS_PER_MINUTE = 2_400
"""So many that jobs are asked about every few seconds, and a longer silence is the bot's."""
AFTER_A_DEATH_SECONDS = 15.0
AFTER_A_STOP_SECONDS = 2.0
FEW = 24
MANY = 200


@pytest.fixture
def url() -> Iterator[str]:
    with database() as url:
        yield url


@pytest.fixture
async def bots(tmp_path: Path, url: str) -> AsyncIterator[Fleet]:
    """Three processes, and no job yet."""
    async with fleet(tmp_path, url, requests_per_minute=REQUESTS_PER_MINUTE) as bots:
        for _ in range(3):
            await bots.start()
        yield bots


async def test_others_take_over_15_s_after_kill(
    bots: Fleet,
) -> None:
    await bots.follow(FEW)
    victim = bots.busiest()
    seconds = await _go_on_elsewhere(bots, victim, since=await victim.kill())

    assert max(seconds) < AFTER_A_DEATH_SECONDS
    await _ends_well(bots)


async def test_others_take_over_2_s_after_sigterm(
    bots: Fleet,
) -> None:
    await bots.follow(FEW)
    victim = bots.busiest()
    seconds = await _go_on_elsewhere(bots, victim, since=victim.terminate())

    assert max(seconds) < AFTER_A_STOP_SECONDS
    assert await victim.running.wait() == 0
    await _ends_well(bots)


async def test_replaced_process_changes_nothing(bots: Fleet) -> None:
    await bots.follow(FEW)
    victim = bots.busiest()
    seconds = await _go_on_elsewhere(bots, victim, since=victim.pause())
    claims = await bots.claims()
    victim.wake()
    await asyncio.sleep(3)  # what it was about to ask, it may
    awake = time.time()
    await asyncio.sleep(5)

    assert max(seconds) < AFTER_A_DEATH_SECONDS
    assert await bots.claims() == claims
    assert not [asked for asked in bots.omni.questions if asked.at > awake and asked.by == victim.name]
    assert bots.living == bots.processes
    await _ends_well(bots)


async def test_200_jobs_survive_successive_kills(
    bots: Fleet,
) -> None:
    await bots.follow(MANY)
    for number in range(6):
        typing = asyncio.create_task(bots.follow(2))
        sleeper = bots.busiest()
        sleeper.pause()
        await asyncio.sleep(0.2)
        victim = next(process for process in bots.living if process is not sleeper)
        await victim.kill()
        await bots.start()
        # Sometimes a process is killed before the others have noticed the previous death.
        if number % 2:
            await _go_on_elsewhere(bots, sleeper, since=time.time())
        sleeper.wake()
        await typing

    await _ends_well(bots)


async def test_poll_rate_is_equal_across_processes(tmp_path: Path, url: str) -> None:
    async with fleet(tmp_path, url, requests_per_minute=240) as bots:
        await bots.start()
        await bots.follow(40)
        await bots.start()
        while not bots.followed_by(bots.processes[1], at=time.time()):
            await bots.follow(2)
        began = time.time()
        await asyncio.sleep(40)
        often = Counter(question.job for question in bots.omni.questions if question.at > began)
        of_the_other = bots.followed_by(bots.processes[1], at=time.time())

    # The median: a job that has only just begun is asked about more seldom, since it will hardly have ended.
    usual = median(often[job] for job in bots.jobs if job not in of_the_other)
    assert all(usual / 3 <= often[job] <= usual * 3 for job in of_the_other)


async def _go_on_elsewhere(bots: Fleet, victim: Process, *, since: float) -> list[float]:
    """Wait until others have asked about all that a process followed. Returns after how many seconds, per job."""
    asked = await bots.asked_by_others(victim, since=since, within_seconds=60)
    seconds = list(asked.values())
    log.info("%d follows: median %.1f s, at most %.1f s", len(seconds), median(seconds), max(seconds))
    return seconds


async def _ends_well(bots: Fleet) -> None:
    """Let all jobs end. Neither messages nor spent requests may differ from an undisturbed run."""
    await bots.end_all(within_seconds=60)
    assert bots.omni.worst_minute() <= REQUESTS_PER_MINUTE
    assert bots.omni.answered_429 == 0
    assert bots.defects() == []
