"""The durations of ended jobs in a real database, SQLite and PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.cards import TeamId
from bot.domain.jobs import JobId
from bot.storage.durations import KEPT, SqlJobDurationRepository
from tests.support.databases import Opened

TEAM = TeamId("T0")
START = datetime(2026, 1, 15, 10, 0, tzinfo=UTC)


@pytest.fixture
async def durations(database: Opened) -> SqlJobDurationRepository:
    return SqlJobDurationRepository(await database.process(), TEAM)


def jobs(first: int, count: int, seconds: float) -> dict[JobId, float]:
    return {JobId(f"job {number:06}"): seconds for number in range(first, first + count)}


async def test_nothing_is_known_at_first(durations: SqlJobDurationRepository) -> None:
    assert list(await durations.newest()) == []


async def test_what_one_process_learns_another_knows(
    database: Opened, durations: SqlJobDurationRepository
) -> None:
    await durations.add({JobId("one"): 51.5, JobId("two"): 92.0}, START)
    again = SqlJobDurationRepository(await database.process(), TEAM)
    assert sorted(await again.newest()) == [51.5, 92.0]


async def test_a_job_counts_once(durations: SqlJobDurationRepository) -> None:
    await durations.add({JobId("one"): 51.0}, START)
    await durations.add({JobId("one"): 900.0, JobId("two"): 40.0}, START + timedelta(hours=1))
    assert sorted(await durations.newest()) == [40.0, 51.0]


async def test_simultaneous_durations_do_not_conflict(
    database: Opened, durations: SqlJobDurationRepository
) -> None:
    others = [SqlJobDurationRepository(await database.process(), TEAM) for _ in range(2)]
    for round_ in range(5):
        learned = jobs(round_ * 10, 10, 60.0)
        await asyncio.gather(*(one.add(learned, START) for one in (durations, *others)))
    assert len(await durations.newest()) == 50


async def test_only_the_newest_are_kept(durations: SqlJobDurationRepository) -> None:
    await durations.add(jobs(0, KEPT, 10.0), START)
    await durations.add(jobs(KEPT, KEPT // 2, 20.0), START + timedelta(minutes=1))
    newest = list(await durations.newest())
    assert sorted(newest) == [10.0] * (KEPT // 2) + [20.0] * (KEPT // 2)
    async with durations.transactions.database.engine.begin() as connection:
        (rows,) = (await connection.exec_driver_sql("SELECT count(*) FROM durations")).one()
    assert rows == KEPT


async def test_to_learn_nothing_writes_nothing(durations: SqlJobDurationRepository) -> None:
    await durations.add({}, START)
    assert list(await durations.newest()) == []


async def test_each_team_has_its_own(database: Opened, durations: SqlJobDurationRepository) -> None:
    other = SqlJobDurationRepository(await database.process(), TeamId("T1"))
    await durations.add(jobs(0, KEPT, 10.0), START)
    await other.add(jobs(KEPT, KEPT, 20.0), START + timedelta(minutes=1))
    assert list(await durations.newest()) == [10.0] * KEPT
    assert list(await other.newest()) == [20.0] * KEPT


async def test_durations_without_a_team_are_dropped(durations: SqlJobDurationRepository) -> None:
    engine = durations.transactions.database.engine
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO durations (job, seconds, ended_at) VALUES ('old', 9, 0)"
        )
    assert list(await durations.newest()) == []
    await durations.add({JobId("one"): 51.0}, START)
    async with engine.begin() as connection:
        (rows,) = (await connection.exec_driver_sql("SELECT count(*) FROM durations")).one()
    assert rows == 1
