"""What is in the queue is fetched once, in bulk, and given back only from whom it was seen with."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Status

from bot.domain.cards import TeamId
from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import JobId
from bot.worker.heartbeats import SHOW_NUMBER, WORKERS, Timing
from bot.worker.job_queue import FETCH, FETCHED_AT_ONCE, LATE_STATEMENT_SECONDS, QUEUE, RELEASE, FollowQueue
from bot.worker.pg import Connector, open_pool
from bot.worker.schema import prepare
from tests.support.postgres import database

TEAM = TeamId("T0ACME")
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
MANY = [JobId(f"{number:08}-e29b-41d4-a716-446655440000") for number in range(2 * FETCHED_AT_ONCE + 20)]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """What procrastinate's worker does with the entries, one step at a time."""

    def __init__(self, entries: FollowQueue, id_: int) -> None:
        self.entries, self.id = entries, id_

    async def fetch(self) -> JobId | None:
        job = await self.entries.fetch_job([QUEUE], self.id)
        return None if job is None else JobId(str(job.task_kwargs["job"]))

    async def fetch_all(self) -> list[JobId]:
        fetched = []
        while (job := await self.fetch()) is not None:
            fetched.append(job)
        return fetched


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("bot.worker.job_queue.monotonic", clock)
    return clock


@pytest.fixture
async def url(new_postgresql: str) -> str:
    await prepare(new_postgresql)
    return new_postgresql


@asynccontextmanager
async def working(url: str) -> AsyncIterator[Worker]:
    """A process, and its worker."""
    async with open_pool(url) as pool:
        entries = await FollowQueue.over(pool)
        yield Worker(entries, await entries.register_worker())


@asynccontextmanager
async def session_of(worker: Worker, url: str) -> AsyncIterator[None]:
    """A session that shows that the worker's process lasts."""
    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", "")) as connection:
        await connection.execute(SHOW_NUMBER, (WORKERS, worker.id))
        yield


@pytest.fixture
async def worker(url: str) -> AsyncIterator[Worker]:
    async with working(url) as worker:
        yield worker


def in_queue(url: str) -> Counter[tuple[str, int | None]]:
    """How many entries are in which state, and with which worker."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return Counter(connection.execute("SELECT status, worker_id FROM procrastinate_jobs").fetchall())


def do(url: str, statement: LiteralString, *values: object) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(statement, values)


# Fetching


async def test_entries_are_fetched_in_batches(
    url: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Connector.execute_query_all_async
    statements: list[str] = []

    async def remember(self: Connector, query: LiteralString, **arguments: object) -> list[dict[str, object]]:
        statements.append(query)
        return await execute(self, query, **arguments)

    await worker.entries.add(TEAM, MANY)
    monkeypatch.setattr(Connector, "execute_query_all_async", remember)
    assert await worker.fetch_all() == MANY
    assert len(statements) == 4 and in_queue(url) == {("doing", worker.id): len(MANY)}


async def test_processes_share_the_entries(url: str, worker: Worker) -> None:
    async with working(url) as other:
        await worker.entries.add(TEAM, MANY)
        fetched: list[JobId] = []
        while True:
            both = [await worker.fetch(), await other.fetch()]
            if both == [None, None]:
                break
            fetched += [job for job in both if job is not None]
    assert sorted(fetched) == MANY
    assert min(in_queue(url).values()) > 1


async def test_trackers_start_as_the_database_answers(url: str) -> None:
    breaths: list[int] = []

    async def breathe() -> None:
        breaths.append(len(fetched))
        raise StoreUnavailable

    async with open_pool(url) as pool:
        entries = await FollowQueue.over(pool, breathe=breathe)
        worker = Worker(entries, await entries.register_worker())
        await entries.add(TEAM, MANY)
        fetched: list[JobId] = []
        while (job := await worker.fetch()) is not None:
            fetched.append(job)
        for _ in range(3):
            await worker.fetch()
    assert fetched == MANY
    assert breaths == [FETCHED_AT_ONCE, 2 * FETCHED_AT_ONCE]


async def test_entry_added_during_a_fetch_is_fetched(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = Connector.execute_query_all_async
    added: list[JobId] = []

    async def add_late(self: Connector, query: LiteralString, **arguments: object) -> list[dict[str, object]]:
        rows = await execute(self, query, **arguments)
        if query == FETCH and not added:
            added.append(JOB)
            await worker.entries.add(TEAM, [JOB])
        return rows

    monkeypatch.setattr(Connector, "execute_query_all_async", add_late)
    assert await worker.fetch() == JOB


async def test_next_worker_ignores_earlier_fetches(url: str, worker: Worker) -> None:
    await worker.entries.add(TEAM, MANY[:2])
    assert await worker.fetch() == MANY[0]
    await worker.entries.unregister_worker(worker.id)
    worker.id = await worker.entries.register_worker()
    assert await worker.fetch() is None
    await worker.entries.reclaim_stalled()
    assert await worker.fetch_all() == MANY[:2]
    assert in_queue(url) == {("doing", worker.id): 2}


async def test_worker_fetches_after_every_change(worker: Worker) -> None:
    looked = asyncio.Event()

    async def look(**_: object) -> None:
        looked.set()

    async def has_looked() -> bool:
        for _ in range(3):
            await asyncio.sleep(0)
        had_looked = looked.is_set()
        looked.clear()
        return had_looked

    entries = worker.entries
    listening = asyncio.create_task(entries.listen_for_jobs(on_notification=look))
    assert not await has_looked()
    await entries.add(TEAM, [JOB])
    assert await has_looked()
    job = await entries.fetch_job([QUEUE], worker.id)
    assert job is not None and not await has_looked()
    await entries.add(TEAM, [JOB])
    assert await has_looked()
    await entries.finish_job(job, Status.SUCCEEDED, delete_job=True)
    assert await has_looked()
    await worker.fetch()
    await entries.release_all()
    assert await has_looked()
    listening.cancel()


@pytest.mark.parametrize("statement", [FETCH, RELEASE])
async def test_fetch_conflict_is_no_outage(
    worker: Worker,
    url: str,
    statement: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def collide(self: Connector, query: LiteralString, **arguments: object) -> object:
        if query == statement:
            raise UniqueViolation(constraint_name="one of theirs", queueing_lock=None)
        result: object = await execute(self, query, **arguments)
        return result

    name = "execute_query_all_async" if statement == FETCH else "execute_query_async"
    execute = getattr(Connector, name)
    async with working(url) as gone:
        await gone.entries.add(TEAM, [JOB])
        await gone.fetch()
        await gone.entries.unregister_worker(gone.id)
    with monkeypatch.context() as patch:
        patch.setattr(Connector, name, collide)
        await worker.entries.reclaim_stalled()
        assert await worker.fetch() is None
    await worker.entries.reclaim_stalled()
    assert await worker.fetch() == JOB
    assert "not reached" not in capsys.readouterr().out


# Ending


async def test_entry_of_another_worker_is_not_deleted(url: str, worker: Worker) -> None:
    async with working(url) as other:
        await worker.entries.add(TEAM, [JOB])
        job = await worker.entries.fetch_job([QUEUE], worker.id)
        assert job is not None
        await worker.entries._release([(job.id, worker.id)])
        assert await other.fetch() == JOB
        await worker.entries.finish_job(job, Status.SUCCEEDED, delete_job=True)
        assert in_queue(url) == {("doing", other.id): 1}


async def test_what_was_cut_off_is_not_ended(url: str, worker: Worker) -> None:
    await worker.entries.add(TEAM, [JOB])
    job = await worker.entries.fetch_job([QUEUE], worker.id)
    assert job is not None
    await worker.entries.finish_job(job, Status.ABORTED, delete_job=True)
    assert in_queue(url) == {("doing", worker.id): 1}


# Giving back


async def test_ending_process_releases_everything(url: str, worker: Worker) -> None:
    await worker.entries.add(TEAM, MANY)
    await worker.fetch()
    worker.entries.stop_fetching()
    assert await worker.fetch() is None
    await worker.entries.release_all()
    assert in_queue(url) == {("todo", None): len(MANY)}
    async with working(url) as other:
        assert await other.fetch_all() == MANY


async def test_entry_fetched_again_is_not_released(url: str, worker: Worker) -> None:
    async with working(url) as dead, working(url) as other:
        await dead.entries.add(TEAM, [JOB])
        job = await dead.entries.fetch_job([QUEUE], dead.id)
        assert job is not None
        seen = [(job.id, job.worker_id)]
        await worker.entries._release(seen)
        assert await other.fetch() == JOB
        await worker.entries._release(seen)
        assert in_queue(url) == {("doing", other.id): 1}


async def test_entries_without_worker_are_released(url: str, worker: Worker) -> None:
    async with working(url) as gone:
        await gone.entries.add(TEAM, MANY)
        await gone.fetch()
        await gone.entries.unregister_worker(gone.id)
    await worker.entries.reclaim_stalled()
    assert in_queue(url) == {("todo", None): len(MANY)}


async def test_requeued_job_keeps_one_entry(url: str, worker: Worker) -> None:
    async with working(url) as gone:
        await gone.entries.add(TEAM, MANY)
        await gone.fetch_all()
        await gone.entries.add(TEAM, MANY[::2])
        await gone.entries.unregister_worker(gone.id)
    await worker.entries.reclaim_stalled()
    assert in_queue(url) == {("todo", None): len(MANY)}
    assert sorted(await worker.fetch_all()) == MANY


BEAT_AGO: LiteralString = """
    UPDATE procrastinate_workers SET last_heartbeat = now() - make_interval(secs => %s) WHERE id = %s
"""


async def test_slow_heartbeat_keeps_entries(url: str, worker: Worker) -> None:
    async with working(url) as slow, session_of(slow, url):
        await slow.entries.add(TEAM, [JOB])
        await slow.fetch()
        do(url, BEAT_AGO, Timing().stalled_after_seconds - 1.0, slow.id)
        await worker.entries.reclaim_stalled()
        assert in_queue(url) == {("doing", slow.id): 1}
        do(url, BEAT_AGO, Timing().stalled_after_seconds + 1.0, slow.id)
        await worker.entries.reclaim_stalled()
        assert in_queue(url) == {("todo", None): 1}


async def test_ended_session_and_missed_heartbeat_mean_dead(url: str, worker: Worker) -> None:
    async with working(url) as killed:
        await killed.entries.add(TEAM, [JOB])
        await killed.fetch()
        async with session_of(killed, url):
            do(url, BEAT_AGO, Timing().ended_after_seconds + 1.0, killed.id)
            await worker.entries.reclaim_stalled()
            assert in_queue(url) == {("doing", killed.id): 1}
        do(url, BEAT_AGO, Timing().heartbeat_seconds, killed.id)
        await worker.entries.reclaim_stalled()
        assert in_queue(url) == {("doing", killed.id): 1}, "it may be about to connect anew"
        do(url, BEAT_AGO, Timing().ended_after_seconds + 1.0, killed.id)
        await worker.entries.reclaim_stalled()
        assert in_queue(url) == {("todo", None): 1}


async def test_other_sessions_prove_nothing(url: str, worker: Worker) -> None:
    with database() as beside:
        async with working(url) as killed, session_of(worker, url), session_of(killed, beside):
            await killed.entries.add(TEAM, [JOB])
            await killed.fetch()
            do(url, BEAT_AGO, Timing().ended_after_seconds + 1.0, killed.id)
            await worker.entries.reclaim_stalled()
            assert in_queue(url) == {("todo", None): 1}


async def test_ended_session_proves_nothing_after_an_outage(clock: Clock, url: str, worker: Worker) -> None:
    async with working(url) as other:
        await other.entries.add(TEAM, [JOB])
        await other.fetch()
        do(url, BEAT_AGO, Timing().ended_after_seconds + 1.0, other.id)
        clock.now += Timing().ended_after_seconds + 0.1
        await worker.entries.update_heartbeat(worker.id)
        for _ in range(int(Timing().stalled_after_seconds)):
            await worker.entries.reclaim_stalled()
            assert in_queue(url) == {("doing", other.id): 1}
            clock.now += 1.0
            await worker.entries.update_heartbeat(worker.id)
        clock.now += 1.0
        await worker.entries.update_heartbeat(worker.id)
        await worker.entries.reclaim_stalled()
        assert in_queue(url) == {("todo", None): 1}


async def test_late_fetch_is_released(
    url: str, worker: Worker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> list[dict[str, object]]:
        raise ConnectorException("no answer")

    await worker.entries.add(TEAM, [JOB])
    with monkeypatch.context() as patch:
        patch.setattr(Connector, "execute_query_all_async", lost)
        assert await worker.fetch() is None
    await worker.entries.reclaim_stalled()
    assert in_queue(url) == {("todo", None): 1}
    do(url, "SELECT procrastinate_fetch_job_v2(NULL, %s)", worker.id)
    assert in_queue(url) == {("doing", worker.id): 1}
    clock.now += LATE_STATEMENT_SECONDS / 2
    await worker.entries.update_heartbeat(worker.id)
    await worker.entries.reclaim_stalled()
    assert await worker.fetch() == JOB


async def test_held_entry_is_never_released(
    url: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker.entries.add(TEAM, MANY)
    await worker.fetch()
    worker.entries._lose_track("fetch", ConnectorException("no answer"))
    await worker.entries.reclaim_stalled()
    assert in_queue(url) == {
        ("doing", worker.id): FETCHED_AT_ONCE,
        ("todo", None): len(MANY) - FETCHED_AT_ONCE,
    }
