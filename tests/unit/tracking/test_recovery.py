"""What is open in the table is followed, at the start and ever after, and what is long over is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.cards import WatchId
from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import JobId
from bot.domain.questions import Ask, AskId
from bot.rendering import ask_replies, replies
from bot.tracking.recovery import SWEEP_SECONDS, sweep, sweep_asks, tell_orphans
from tests.support.fakes import ADA, HERE, JOB, START, FakeAsks, FakeBoard, FakeWatches, a_watch, now

pytestmark = pytest.mark.looptime


class RememberingRunner:
    """Remembers what it was asked to see followed, and when."""

    def __init__(self) -> None:
        self.ensured: list[tuple[float, list[JobId]]] = []
        self.error: Exception | None = None

    async def start(self, job: JobId) -> None:
        raise AssertionError("a sweep disturbs nobody who follows already")

    async def ensure(self, jobs: Sequence[JobId]) -> None:
        if self.error is not None:
            raise self.error
        self.ensured.append((asyncio.get_running_loop().time(), list(jobs)))

    async def stop(self) -> None: ...


@asynccontextmanager
async def swept(watches: FakeWatches, retention_days: float = 30.0) -> AsyncIterator[RememberingRunner]:
    runner = RememberingRunner()
    task = asyncio.create_task(sweep(watches, runner, now, retention_days=retention_days))
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_open_job_is_taken_up_at_once_and_again_every_minute() -> None:
    watches = FakeWatches(a_watch())
    async with swept(watches) as runner:
        await asyncio.sleep(0.1)
        assert runner.ensured == [(0.0, [JOB])]
        watches.rows[WatchId("watch")] = replace(a_watch(), closed_at=now())
        await asyncio.sleep(2 * SWEEP_SECONDS)
    assert runner.ensured == [(0.0, [JOB]), (SWEEP_SECONDS, []), (2 * SWEEP_SECONDS, [])]


async def test_what_was_closed_longer_ago_than_it_is_kept_is_forgotten() -> None:
    closed = {
        days: replace(a_watch(f"{days}"), closed_at=START - timedelta(days=days)) for days in (29, 31, 900)
    }
    ancient = replace(a_watch("open"), asked_at=START - timedelta(days=900))
    watches = FakeWatches(*closed.values(), ancient)
    async with swept(watches):
        await asyncio.sleep(0.1)
        assert set(watches.rows) == {"29", "open"}


async def test_it_is_kept_as_long_as_the_operator_wants() -> None:
    watches = FakeWatches(replace(a_watch(), closed_at=START))
    async with swept(watches, retention_days=0.5):
        await asyncio.sleep(12 * 3_600 - 30)
        assert set(watches.rows) == {"watch"}
        await asyncio.sleep(SWEEP_SECONDS + 60)
        assert watches.rows == {}


@pytest.mark.parametrize("who", ["table", "queue"])
async def test_a_database_that_is_away_is_asked_again_with_the_next_sweep(who: str) -> None:
    watches = FakeWatches(a_watch())
    async with swept(watches) as runner:
        watches.error = StoreUnavailable("away") if who == "table" else None
        runner.error = StoreUnavailable("away") if who == "queue" else None
        await asyncio.sleep(2.5 * SWEEP_SECONDS)
        assert runner.ensured == []
        watches.error = runner.error = None
        await asyncio.sleep(SWEEP_SECONDS)
    assert runner.ensured == [(3 * SWEEP_SECONDS, [JOB])]


# Asks


async def test_a_process_that_is_alone_tells_at_once_of_what_the_one_before_it_left() -> None:
    asks, board = FakeAsks(FakeWatches()), FakeBoard()
    started = START + timedelta(seconds=10)
    for name, at in (("orphan", START), ("mine", started)):
        await asks.begin(Ask(AskId(name), HERE, ADA, at, at))
    sweeping = sweep_asks(asks, board, lambda: started, retention_days=30.0, alone_since=started)
    task = asyncio.create_task(sweeping)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asks.told_of == {"orphan"}


async def test_orphaned_follow_is_reported_as_one() -> None:
    asks, board = FakeAsks(FakeWatches()), FakeBoard()
    await asks.begin(Ask(AskId("orphan"), HERE, ADA, START, START, follow=JOB))
    started = START + timedelta(seconds=10)
    await tell_orphans(asks, board, lambda: started, alone_since=started)
    assert [posted.message.text for posted in board.posted.values()] == [replies.interrupted(JOB)]


async def test_orphaned_asks_are_told_of_and_old_ones_forgotten_though_the_database_was_away() -> None:
    asks, board = FakeAsks(FakeWatches()), FakeBoard()
    for name, at in (("orphan", START), ("old", START - timedelta(days=31))):
        await asks.begin(Ask(AskId(name), HERE, ADA, at, at, job=None if name == "orphan" else JOB))
    asks.error = StoreUnavailable("away")
    task = asyncio.create_task(sweep_asks(asks, board, now, retention_days=30.0))
    await asyncio.sleep(10 * SWEEP_SECONDS)
    assert set(asks.rows) == {"orphan", "old"}
    asks.error = None
    await asyncio.sleep(3 * SWEEP_SECONDS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(asks.rows) == {"orphan"} == asks.told_of
    assert [posted.message.text for posted in board.posted.values()] == [ask_replies.orphaned()]
