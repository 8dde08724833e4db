"""The database is down for half a minute: users are notified, and every job continues afterwards.

With `--log-cli-level=INFO` the figures are shown.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.rendering import replies
from tests.crash.fleet import RUNS_ON, Fleet, fleet, until
from tests.support.postgres import Cable, database

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]

log = logging.getLogger(__name__)

JOBS = 12
TOLD_WITHIN_SECONDS = 8.0
GOES_ON_WITHIN_SECONDS = 20.0


@pytest.fixture
def url() -> Iterator[str]:
    with database() as url:
        yield url


@pytest.fixture
async def cable(url: str) -> AsyncIterator[Cable]:
    async with Cable(url).laid() as cable:
        yield cable


@pytest.fixture
async def bots(tmp_path: Path, url: str, cable: Cable) -> AsyncIterator[Fleet]:
    """Two processes that follow a dozen jobs, on a database at the far end of a cable."""
    async with fleet(tmp_path, url, cable=cable.url, requests_per_minute=1_200) as bots:
        for _ in range(2):
            await bots.start()
        await bots.follow(JOBS)
        yield bots


async def test_refused_connections_are_reported_and_survived(bots: Fleet, cable: Cable) -> None:
    cable.cut()
    await _away(bots, cable, seconds=30)


async def test_silent_database_is_reported_and_survived(bots: Fleet, cable: Cable) -> None:
    cable.fall_silent()
    # Longer than a connection that listens is silent before it is asked whether it still lives.
    await _away(bots, cable, seconds=40)


async def _away(bots: Fleet, cable: Cable, *, seconds: float) -> None:
    """The database is away from now on; people ask for jobs, and some jobs end, before it is back."""
    began = time.time()
    asking = [asyncio.create_task(_told(bots, number, after_seconds=number * 3.0)) for number in range(8)]
    await asyncio.sleep(5)
    for job in bots.jobs[:4]:
        bots.end(job)
    refused = dict(await asyncio.gather(*asking))
    await asyncio.sleep(began + seconds - time.time())
    assert not [question for question in bots.omni.questions if question.at > began + 15]
    assert bots.defects() == []
    cable.mend()
    back = time.time()
    posts = len(bots.slack.calls("chat.postMessage"))
    asked = await until(lambda: _asked_since(bots, back) >= set(bots.jobs[4:]), 60)
    await bots.end_all(within_seconds=60)
    ended = time.time() - back
    told = max(refused.values())
    log.info("told within %.1f s; asked again after %.1f s, all is well after %.1f s", told, asked, ended)

    assert len(bots.slack.calls("chat.postMessage")) - posts == JOBS
    assert not any(bots.cards(job, bots.channel(0)) for job in refused)
    assert told < TOLD_WITHIN_SECONDS
    assert asked < GOES_ON_WITHIN_SECONDS
    assert bots.living == bots.processes
    assert bots.defects() == []


async def _told(bots: Fleet, number: int, *, after_seconds: float) -> tuple[str, float]:
    """Type a command for a job. Returns the job and the seconds until the reply that nothing was stored."""
    await asyncio.sleep(after_seconds)
    job, person = bots.omni.add(RUNS_ON), bots.stranger(number)
    began = time.time()
    assert (await bots.slack.command(job, user=person, channel=bots.channel(0))).acked
    await until(lambda: bool(bots.slack.private(person)), 60)
    (line,) = bots.slack.private(person)
    assert line.text == replies.storage_down()
    return job, time.time() - began


def _asked_since(bots: Fleet, since: float) -> set[str]:
    return {question.job for question in bots.omni.questions if question.at > since}
