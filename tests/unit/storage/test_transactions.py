"""Transactions are whole, in bounded time, and refused in words that tell nothing of what they were about."""

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.engine import make_url

from bot.domain.cards import CardFailure, CardId, MessageTs, ReplyKind
from bot.domain.errors import StoreUnavailable, WriteConflict
from bot.domain.jobs import JobId
from bot.storage import database as database_module
from bot.storage import transactions
from bot.storage.cards import SqlCardRepository
from bot.storage.rate_limits import SqlRateLimitStore
from bot.storage.tables import budgets
from bot.storage.transactions import TRACE, Transactions
from tests.support.databases import (
    ADA,
    GRACE,
    HERE,
    JOB,
    LINUS,
    NOON,
    TEAM,
    THERE,
    Clock,
    Opened,
    given_ups_of,
    opened,
    steps,
    taken_up,
    watch,
)
from tests.support.fakes import FakeGivenUps, FakeWatches
from tests.support.postgres import Cable
from tests.support.rates import RATE

SECRET = watch(name="secret")


CALLS: dict[str, Callable[[SqlCardRepository], Coroutine[Any, Any, object]]] = {
    "add": lambda store: store.add(watch()),
    "get": lambda store: store.get(SECRET.id),
    "newest": lambda store: store.reload(SECRET),
    "claim": lambda store: store.claim(JOB),
    "open_watches": taken_up,
    "open_jobs": lambda store: store.open_jobs(),
    "open_watches_of": lambda store: store.followed_cards(TEAM, ADA),
    "ended_watches_of": lambda store: store.ended_cards(TEAM, ADA, 20),
    "first_of": lambda store: store.first_card(JOB),
    "in_thread": lambda store: store.in_thread(THERE, MessageTs("1.1")),
    "leave_thread": lambda store: store.leave_thread(SECRET),
    "set_canceller": lambda store: store.set_canceller(JOB, ADA, instead_of=None),
    "unfollow": lambda store: store.unfollow(SECRET.id, ADA),
    "card_tried": lambda store: store.mark_post_started(SECRET, NOON),
    "card_posted": lambda store: store.mark_posted(SECRET.id, NOON, MessageTs("1.1"), "look"),
    "card_shows": lambda store: store.mark_shown(SECRET, MessageTs("1.1"), "look"),
    "doubt_last_look": lambda store: store.mark_stale(SECRET.id, MessageTs("1.1")),
    "card_is_gone": lambda store: store.mark_message_gone(SECRET.id, MessageTs("1.1")),
    "notice_tried": lambda store: store.mark_completion_reply_started(SECRET, NOON),
    "notice_posted": lambda store: store.mark_completion_reply_posted(
        SECRET.id, NOON, MessageTs("1.1"), None
    ),
    "replies": lambda store: store.replies(SECRET.id),
    "reply_tried": lambda store: store.mark_reply_started(SECRET, ReplyKind("1"), NOON),
    "reply_posted": lambda store: store.mark_reply_posted(
        SECRET.id, ReplyKind("1"), NOON, MessageTs("1.1"), None
    ),
    "move": lambda store: store.move(SECRET, [watch()]),
    "start_over": lambda store: store.forget_message(SECRET.id, MessageTs("1.1")),
    "resume": lambda store: store.resume(SECRET.id, ADA, NOON),
    "close": lambda store: store.close(SECRET, NOON),
    "close_if_deserted": lambda store: store.close_if_unfollowed(SECRET, NOON),
    "remove": lambda store: store.remove(SECRET),
    "forget_closed": lambda store: store.delete_closed(NOON),
    "give_up": lambda store: given_ups_of(store).add(SECRET, CardFailure.NOWHERE, NOON),
    "left": lambda store: given_ups_of(store).pending(NOON),
    "telling": lambda store: given_ups_of(store).mark_reporting(SECRET, NOON),
    "told": lambda store: given_ups_of(store).mark_reported(SECRET.id, ADA),
    "take": lambda store: SqlRateLimitStore(store.transactions, Clock()).take("secret", RATE),
    "pause": lambda store: SqlRateLimitStore(store.transactions, Clock()).pause("secret", RATE, 1.0),
}
"""Everything that the database is asked for."""


def test_every_call_of_the_table_of_watches_is_tried_here() -> None:
    methods = {
        name
        for table in (FakeWatches, FakeGivenUps)
        for name, method in vars(table).items()
        if name[0] != "_" and callable(method)
    }
    assert methods - {"let_follow"} == set(CALLS) - {"take", "pause"}


@pytest.fixture
async def process(database: Opened) -> Transactions:
    return await database.process()


# Whole


async def test_what_breaks_in_the_middle_changes_nothing(process: Transactions) -> None:
    store = SqlCardRepository(process, TEAM)
    mine = await store.add(watch())

    async def break_down() -> None:
        async with process.begin() as connection:
            await connection.execute(text("DELETE FROM watches"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_down()
    assert await store.get(mine.id) == mine


@pytest.mark.parametrize("after_steps", [*range(12), 20, 40, 80, 160])
async def test_a_cancelled_caller_tears_no_transaction(database: Opened, after_steps: int) -> None:
    store = await database.store()
    mine = watch(HERE, ADA, GRACE)
    adding = asyncio.create_task(store.add(mine))
    await steps(after_steps)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    other = watch(THERE, LINUS)
    assert await asyncio.wait_for(store.add(other), 5.0) == other
    await database.close()
    kept = await (await database.store()).get(mine.id)
    assert kept == (mine if after_steps else None)


async def test_settling_waits_for_what_is_under_way_and_lets_nothing_begin_after_it(
    process: Transactions,
) -> None:
    store = SqlCardRepository(process, TEAM)
    adding = [asyncio.create_task(store.add(watch(HERE, person))) for person in (ADA, GRACE)]
    await steps(1)
    for task in adding:
        task.cancel()
    await asyncio.gather(*adding, return_exceptions=True)
    async with process.database.engine.connect() as connection:
        await process.drain()
        assert (await connection.execute(text("SELECT count(*) FROM followers"))).scalar_one() in (1, 2)
    with pytest.raises(StoreUnavailable, match="the process ends"):
        await store.add(watch(THERE))


# Refused


async def test_a_database_that_is_well_answers(process: Transactions) -> None:
    await process.answers()


async def test_a_row_that_must_be_there_once_is_told_apart(process: Transactions) -> None:
    insert = text("INSERT INTO budgets (name, arrival, paused_until) VALUES ('twice', 0, 0)")
    async with process.begin() as connection:
        await connection.execute(insert)
    with pytest.raises(WriteConflict):
        async with process.begin() as connection:
            await connection.execute(insert)


@pytest.fixture(params=["sqlite", "new_postgresql"], ids=["sqlite", "postgresql"])
def own(request: pytest.FixtureRequest) -> str:
    """The address of a database that no other test sees."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def without_tables(own: str) -> AsyncIterator[SqlCardRepository]:
    """A database whose tables somebody has removed."""
    async with opened(own) as database:
        store = await database.store()
        async with store.transactions.begin() as connection:
            for table in ("followers", "replies", "watches", "budgets", "schema_version"):
                await connection.execute(text(f"DROP TABLE {table}"))
        yield store


async def test_a_broken_database_is_unavailable_and_no_statement_is_told(
    without_tables: SqlCardRepository,
) -> None:
    for name, call in CALLS.items():
        with pytest.raises(StoreUnavailable, match=r"no such table|does not exist") as error:
            await call(without_tables)
        told = str(error.value)
        assert not [word for word in ("secret", "SELECT", "UPDATE", "FROM", "\n") if word in told], name


async def test_a_database_without_its_tables_does_not_answer(without_tables: SqlCardRepository) -> None:
    with pytest.raises(StoreUnavailable):
        await without_tables.transactions.answers()
    with pytest.raises(StoreUnavailable):
        await without_tables.transactions.writes(NOON)


async def test_a_database_that_is_well_takes_a_write_as_often_as_wanted(process: Transactions) -> None:
    for second in range(3):
        await process.writes(NOON + timedelta(seconds=second))
    async with process.begin() as connection:
        (left,) = (await connection.execute(select(budgets).where(budgets.c.name == TRACE))).all()
    assert left.arrival == NOON.timestamp() + 2


async def test_a_database_that_can_be_read_only_does_not_pass_for_one_that_can_be_written(own: str) -> None:
    async with opened(own) as database:
        process = (await database.store()).transactions
        if process.database.is_shared:
            name = make_url(own).database
            await _do(process, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            await process.database.engine.dispose()
        else:
            await _do(process, "PRAGMA query_only = on")
        with pytest.raises(StoreUnavailable, match=r"read-?only"):
            await process.writes(NOON)


async def _do(process: Transactions, statement: str) -> None:
    async with process.begin() as connection:
        await connection.execute(text(statement))


async def test_a_sqlite_file_that_another_program_locks_is_unavailable_and_later_works_again(
    sqlite: str, tmp_path: Path
) -> None:
    async with opened(sqlite) as database:
        store = await database.store()
        await store.add(watch(HERE, ADA))
        async with store.transactions.database.engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA busy_timeout=50")
        with closing(sqlite3.connect(tmp_path / "bot.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await store.add(watch(HERE, GRACE))
            other.execute("ROLLBACK")
        assert (await store.add(watch(HERE, GRACE))).followers == (ADA, GRACE)


@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
async def test_sqlite_file_that_is_gone_is_noticed(sqlite: str, tmp_path: Path, is_replaced: bool) -> None:
    path, elsewhere = tmp_path / "bot.sqlite3", tmp_path / "elsewhere"
    async with opened(sqlite) as database:
        store = await database.store()
        path.rename(elsewhere)
        if is_replaced:
            path.write_bytes(elsewhere.read_bytes())
        with pytest.raises(StoreUnavailable, match=r"bot\.sqlite3 was deleted or replaced"):
            await store.add(watch())
        with pytest.raises(StoreUnavailable):
            await store.transactions.writes(NOON)
        elsewhere.rename(path)
        await store.add(watch())


# More at once than the database can take


BURST = 1_500


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage collection: it would close what was forgotten."""
    gc.disable()
    yield
    gc.enable()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.usefixtures("uncollected")
async def test_burst_neither_locks_nor_leaks(database: Opened) -> None:
    store = await database.store()
    await asyncio.gather(*(store.open_jobs() for _ in range(10)))
    before, stored, refused = descriptors(), 0, 0

    async def call() -> None:
        nonlocal stored, refused
        try:
            for _ in range(2):
                await store.add(watch(job=JobId(str(uuid4()))))
                stored += 1
        except StoreUnavailable:
            refused += 1

    await asyncio.gather(*(call() for _ in range(BURST)))
    assert descriptors() <= before
    await asyncio.wait_for(store.transactions.writes(NOON), 1.0)
    assert refused > BURST / 2, "a burst fails fast"
    assert len(await store.open_jobs()) == stored, "what was refused is not done later"


async def test_transaction_waits_only_so_long(process: Transactions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "WAITS_WITHIN_SECONDS", 0.1)
    store = SqlCardRepository(process, TEAM)
    async with AsyncExitStack() as busy:
        for _ in range(process.database.connections):
            await busy.enter_async_context(process.begin())
        with pytest.raises(StoreUnavailable, match="no connection free"):
            await store.add(watch())
    assert await store.open_jobs() == []


async def test_sqlite_transaction_outlasts_its_caller(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "WITHIN_SECONDS", 0.05)
    async with opened(sqlite) as database:
        process = await database.process()

        async def slow() -> None:
            async with process.begin() as connection:
                await connection.execute(insert(budgets).values(name="slow", arrival=0.0, paused_until=0.0))
                await asyncio.sleep(0.2)

        with pytest.raises(StoreUnavailable, match="no answer within"):
            await process.run(slow())
        async with process.begin() as connection:
            assert (await connection.execute(select(budgets.c.name))).scalars().all() == ["slow"]


async def test_sqlite_transaction_locks_from_its_beginning(sqlite: str, tmp_path: Path) -> None:
    async with opened(sqlite) as database:
        process = await database.process()
        async with process.begin() as connection:
            await connection.execute(select(budgets))
            with closing(sqlite3.connect(tmp_path / "bot.sqlite3", timeout=0.0)) as other:
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute("DELETE FROM budgets")


# PostgreSQL: waits that end


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transactions give up sooner than they do."""
    monkeypatch.setattr(transactions, "WITHIN_SECONDS", 1.0)
    monkeypatch.setattr(database_module, "GETS_CONNECTION_WITHIN_SECONDS", 0.5)


@pytest.mark.usefixtures("soon")
async def test_a_row_that_another_process_keeps_is_waited_for_only_so_long(postgresql: str) -> None:
    async with opened(postgresql) as database:
        store, other = await database.store(), await database.process()
        mine = await store.add(watch())
        async with other.database.engine.begin() as connection:
            await connection.execute(text("SELECT * FROM watches FOR UPDATE"))
            with pytest.raises(StoreUnavailable, match="no answer within"):
                await store.add(watch(HERE, GRACE))
        assert (await store.add(watch(HERE, GRACE))).followers == (ADA, GRACE)
        assert (await store.unfollow(mine.id, ADA)) == 1


@pytest.mark.usefixtures("soon")
async def test_with_every_connection_busy_the_wait_ends_and_later_all_is_well(postgresql: str) -> None:
    async with opened(postgresql) as database:
        store = await database.store()
        engine = store.transactions.database.engine
        busy = [await engine.connect() for _ in range(database_module.CONNECTIONS)]
        with pytest.raises(StoreUnavailable):
            await store.get(CardId("any"))
        for connection in busy:
            await connection.close()
        assert await store.get(CardId("any")) is None


async def test_more_calls_at_once_than_connections_are_all_served(postgresql: str) -> None:
    async with opened(postgresql) as database:
        store = await database.store()
        mine = await store.add(watch())
        found = await asyncio.gather(*(store.get(mine.id) for _ in range(10 * database_module.CONNECTIONS)))
    assert set(found) == {mine}


@pytest.mark.usefixtures("soon")
async def test_a_database_that_was_cut_off_is_unavailable_and_answers_at_once_when_it_is_back(
    postgresql: str,
) -> None:
    async with Cable(postgresql.replace("+psycopg", "")).laid() as cable:
        async with opened(cable.url.replace("postgresql://", "postgresql+psycopg://")) as database:
            store = await database.store()
            mine = await store.add(watch())
            cable.cut()
            for _ in range(3):
                with pytest.raises(StoreUnavailable) as error:
                    await store.add(watch(HERE, GRACE))
                assert "\n" not in str(error.value)
            with pytest.raises(StoreUnavailable):
                await store.transactions.answers()
            cable.mend()
            assert await store.get(mine.id) == mine


async def test_connections_that_broke_while_nobody_used_them_are_no_reason_to_fail(postgresql: str) -> None:
    async with Cable(postgresql.replace("+psycopg", "")).laid() as cable:
        async with opened(cable.url.replace("postgresql://", "postgresql+psycopg://")) as database:
            store = await database.store()
            mine = await store.add(watch())
            await asyncio.gather(*(store.get(mine.id) for _ in range(8)))
            cable.cut()
            cable.mend()
            found = await asyncio.gather(*(store.get(mine.id) for _ in range(8)))
    assert set(found) == {mine}


@pytest.mark.usefixtures("soon")
async def test_a_database_that_falls_silent_is_unavailable_just_as_soon_each_time(postgresql: str) -> None:
    loop = asyncio.get_running_loop()
    async with Cable(postgresql.replace("+psycopg", "")).laid() as cable:
        async with opened(cable.url.replace("postgresql://", "postgresql+psycopg://")) as database:
            store = await database.store()
            mine = await store.add(watch())
            cable.fall_silent()
            for _ in range(3):
                began = loop.time()
                with pytest.raises(StoreUnavailable):
                    await store.get(mine.id)
                assert loop.time() - began < 3.0
            cable.mend()
            assert await store.get(mine.id) == mine


async def test_a_paused_process_keeps_no_row_from_the_others(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PAUSED_AT_MOST_SECONDS", 1)
    async with opened(postgresql) as database:
        store, paused = await database.store(), await database.process()
        await store.add(watch())

        async def pause_in_the_middle() -> None:
            async with paused.begin() as connection:
                await connection.execute(text("SELECT * FROM watches FOR UPDATE"))
                assert (await store.add(watch(HERE, GRACE))).followers == (ADA, GRACE)
                await connection.execute(text("UPDATE watches SET card_gone = 1"))

        with pytest.raises(StoreUnavailable):
            await pause_in_the_middle()
        assert (await store.add(watch(HERE, LINUS))).followers == (ADA, GRACE, LINUS)
        assert await SqlCardRepository(paused, TEAM).open_jobs() == [JOB]
