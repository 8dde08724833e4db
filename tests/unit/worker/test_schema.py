"""The queue's tables are there before anything is queued, whoever comes first and whatever was there before."""

import asyncio

import psycopg
import pytest

from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import JobId
from bot.worker.job_queue import FollowQueue
from bot.worker.pg import open_pool
from bot.worker.schema import LOCK, Schema, prepare
from tests.support.databases import TEAM
from tests.support.postgres import Cable

OLD = Schema(
    "CREATE TABLE made (name text); INSERT INTO made VALUES ('100%')", {"01_a.sql": "", "02_b.sql": ""}
)


def newer(**changes: str) -> Schema:
    return Schema("SELECT 1/0", {**OLD.changes, **changes})


def made(url: str) -> list[str]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return [str(name) for (name,) in connection.execute("SELECT name FROM made")]


async def test_three_processes_install_one_queue(new_postgresql: str) -> None:
    await asyncio.gather(*(prepare(new_postgresql) for _ in range(3)))
    async with open_pool(new_postgresql) as pool:
        entries = await FollowQueue.over(pool)
        await entries.add(TEAM, [JobId("job")])
        assert await entries.queued_jobs(TEAM) == {"job"}


async def test_changes_are_applied_once_in_order(new_postgresql: str) -> None:
    await prepare(new_postgresql, OLD)
    schema = newer(
        **{
            "10_d.sql": "INSERT INTO made VALUES ('d')",
            "03_c.sql": "INSERT INTO made VALUES ('c'); INSERT INTO made VALUES ('50%')",
        }
    )
    await asyncio.gather(*(prepare(new_postgresql, schema) for _ in range(3)))
    await prepare(new_postgresql, schema)
    assert made(new_postgresql) == ["100%", "c", "50%", "d"]


async def test_failed_change_is_repeated_later(new_postgresql: str) -> None:
    await prepare(new_postgresql, OLD)
    good = {"03_c.sql": "INSERT INTO made VALUES ('c')"}
    with pytest.raises(StoreUnavailable, match="division by zero"):
        await prepare(
            new_postgresql, newer(**good, **{"04_d.sql": "INSERT INTO made VALUES ('d'); SELECT 1/0"})
        )
    await prepare(new_postgresql, newer(**good, **{"04_d.sql": "INSERT INTO made VALUES ('d2')"}))
    assert made(new_postgresql) == ["100%", "c", "d2"]


async def test_newer_queue_is_refused(new_postgresql: str) -> None:
    await prepare(new_postgresql, Schema("SELECT 1", {"03_c.sql": ""}))
    with pytest.raises(StoreUnavailable, match="run the newer bot"):
        await prepare(new_postgresql, OLD)


async def test_queue_of_another_program_is_refused(new_postgresql: str) -> None:
    with psycopg.connect(new_postgresql.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE procrastinate_jobs (id int)")
    with pytest.raises(StoreUnavailable, match="one of its own"):
        await prepare(new_postgresql)


async def test_missing_database_is_the_reason(new_postgresql: str) -> None:
    async with Cable(new_postgresql).laid() as cable:
        cable.cut()
        with pytest.raises(StoreUnavailable, match="queue not prepared"):
            await prepare(cable.url)


async def test_wait_for_a_stuck_change_is_bounded(
    new_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.worker.schema.WAITS_SECONDS", 1)
    with psycopg.connect(new_postgresql.replace("+psycopg", "")) as hanging:
        hanging.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await prepare(new_postgresql)
    await prepare(new_postgresql)


def test_shipped_changes_are_in_order() -> None:
    schema = Schema.installed()
    assert "CREATE TABLE procrastinate_jobs" in schema.whole
    assert schema.newest == max(schema.changes) and len(schema.changes) > 30
    assert not any("CONCURRENTLY" in change for change in schema.changes.values()), "not within a transaction"
