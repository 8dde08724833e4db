"""Transactions are atomic, bounded in time, and their errors contain no statements."""

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
from sqlalchemy import Connection, TextClause, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.util import await_only

from bot.domain.cards import CardFailure, CardId, FencingToken, MessageTs, ReplyKind
from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import JobId
from bot.domain.ports import CardRepository, FailedCardRepository
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
    failed_cards_of,
    new_card,
    opened,
    steps,
)
from tests.support.postgres import Cable
from tests.support.rates import RATE

SECRET = new_card(name="secret")

COUNTS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :most)"
"""Begins a query of SQLite that takes a while."""


CALLS: dict[str, Callable[[SqlCardRepository], Coroutine[Any, Any, object]]] = {
    "add": lambda store: store.add(new_card()),
    "get": lambda store: store.get(SECRET.id),
    "reload": lambda store: store.reload(SECRET),
    "claim": lambda store: store.claim(JOB),
    "open_cards": lambda store: store.open_cards(JOB, FencingToken("any")),
    "open_jobs": lambda store: store.open_jobs(),
    "followed_cards": lambda store: store.followed_cards(TEAM, ADA),
    "ended_cards": lambda store: store.ended_cards(TEAM, ADA, 20),
    "first_card": lambda store: store.first_card(JOB),
    "in_channel": lambda store: store.in_channel(JOB, THERE),
    "in_thread": lambda store: store.in_thread(THERE, MessageTs("1.1")),
    "leave_thread": lambda store: store.leave_thread(SECRET),
    "set_canceller": lambda store: store.set_canceller(JOB, ADA, instead_of=None),
    "unfollow": lambda store: store.unfollow(SECRET.id, ADA),
    "mark_post_started": lambda store: store.mark_post_started(SECRET, NOON),
    "mark_posted": lambda store: store.mark_posted(SECRET.id, NOON, MessageTs("1.1"), "look"),
    "mark_shown": lambda store: store.mark_shown(SECRET, MessageTs("1.1"), "look"),
    "mark_stale": lambda store: store.mark_stale(SECRET.id, MessageTs("1.1")),
    "mark_message_gone": lambda store: store.mark_message_gone(SECRET.id, MessageTs("1.1")),
    "mark_completion_reply_started": lambda store: store.mark_completion_reply_started(SECRET, NOON),
    "mark_completion_reply_posted": lambda store: store.mark_completion_reply_posted(
        SECRET.id, NOON, MessageTs("1.1"), None
    ),
    "replies": lambda store: store.replies(SECRET.id),
    "mark_reply_started": lambda store: store.mark_reply_started(SECRET, ReplyKind("1"), NOON),
    "mark_reply_posted": lambda store: store.mark_reply_posted(
        SECRET.id, ReplyKind("1"), NOON, MessageTs("1.1"), None
    ),
    "move": lambda store: store.move(SECRET, [new_card()]),
    "forget_message": lambda store: store.forget_message(SECRET.id, MessageTs("1.1")),
    "resume": lambda store: store.resume(SECRET.id, ADA, NOON),
    "close": lambda store: store.close(SECRET, NOON),
    "close_if_unfollowed": lambda store: store.close_if_unfollowed(SECRET, NOON),
    "lost_jobs": lambda store: store.lost_jobs(NOON),
    "settle_lost": lambda store: store.settle_lost(JOB, found=True),
    "remove": lambda store: store.remove(SECRET),
    "delete_closed": lambda store: store.delete_closed(NOON),
    "failed add": lambda store: failed_cards_of(store).add(SECRET, CardFailure.NOWHERE, NOON),
    "failed take_unreported": lambda store: failed_cards_of(store).take_unreported(NOON, NOON),
    "failed mark_reported": lambda store: failed_cards_of(store).mark_reported(SECRET.id, ADA),
    "take": lambda store: SqlRateLimitStore(store.transactions, Clock()).take("secret", RATE),
    "pause": lambda store: SqlRateLimitStore(store.transactions, Clock()).pause("secret", RATE, 1.0),
}
"""Every call of the repositories of cards and of the rate limit store."""


def test_every_repository_method_is_called_here() -> None:
    methods = {
        f"{prefix}{name}"
        for prefix, protocol in (("", CardRepository), ("failed ", FailedCardRepository))
        for name, method in vars(protocol).items()
        if name[0] != "_" and callable(method)
    }
    assert methods == set(CALLS) - {"take", "pause"}


@pytest.fixture
async def process(database: Opened) -> Transactions:
    return await database.process()


# Atomic


async def test_failed_transaction_changes_nothing(process: Transactions) -> None:
    store = SqlCardRepository(process, TEAM)
    mine = await store.add(new_card())

    def break_down(connection: Connection) -> None:
        connection.execute(text("DELETE FROM watches"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await process.run(break_down)
    assert await store.get(mine.id) == mine


@pytest.mark.parametrize("after_steps", [*range(12), 20, 40, 80, 160])
async def test_cancelled_caller_does_not_break_a_transaction(database: Opened, after_steps: int) -> None:
    store = await database.store()
    mine = new_card(HERE, ADA, GRACE)
    adding = asyncio.create_task(store.add(mine))
    await steps(after_steps)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    other = new_card(THERE, LINUS)
    assert await asyncio.wait_for(store.add(other), 5.0) == other
    await database.close()
    kept = await (await database.store()).get(mine.id)
    assert kept == (mine if after_steps else None)


async def test_drain_waits_and_refuses_new_transactions(process: Transactions) -> None:
    store = SqlCardRepository(process, TEAM)
    adding = [asyncio.create_task(store.add(new_card(HERE, person))) for person in (ADA, GRACE)]
    await steps(1)
    for task in adding:
        task.cancel()
    await asyncio.gather(*adding, return_exceptions=True)
    async with process.database.engine.connect() as connection:
        await process.drain()
        assert (await connection.execute(text("SELECT count(*) FROM followers"))).scalar_one() in (1, 2)
    with pytest.raises(StoreUnavailable, match="the process ends"):
        await store.add(new_card(THERE))


# Unavailable


async def test_duplicate_row_is_refused(process: Transactions) -> None:
    insert = text("INSERT INTO budgets (name, arrival, paused_until) VALUES ('twice', 0, 0)")
    await _do(process, insert)
    with pytest.raises(StoreUnavailable, match=r"UNIQUE|unique"):
        await _do(process, insert)


async def test_transaction_is_repeated_after_a_conflict(process: Transactions) -> None:
    insert = text("INSERT INTO budgets (name, arrival, paused_until) VALUES (:name, 0, 0)")
    await process.run(lambda connection: connection.execute(insert, {"name": "a"}))
    tries: list[str] = []

    def work(connection: Connection) -> None:
        tries.append("ab"[len(tries)])
        connection.execute(insert, {"name": f"{tries[-1]} more"})
        connection.execute(insert, {"name": tries[-1]})

    await process.run(work)
    async with process.database.engine.begin() as connection:
        names = (await connection.execute(select(budgets.c.name).order_by(budgets.c.name))).scalars().all()
    assert (tries, names) == (["a", "b"], ["a", "b", "b more"])


@pytest.fixture(params=["sqlite", "new_postgresql"], ids=["sqlite", "postgresql"])
def own(request: pytest.FixtureRequest) -> str:
    """The address of a database that no other test sees."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def without_tables(own: str) -> AsyncIterator[SqlCardRepository]:
    """A database whose tables were dropped."""
    async with opened(own) as database:
        store = await database.store()
        async with store.transactions.database.engine.begin() as connection:
            for table in ("followers", "replies", "ratings", "watches", "budgets", "schema_version"):
                await connection.execute(text(f"DROP TABLE {table}"))
        yield store


async def test_error_contains_no_statement(without_tables: SqlCardRepository) -> None:
    for name, call in CALLS.items():
        with pytest.raises(StoreUnavailable, match=r"no such table|does not exist") as error:
            await call(without_tables)
        text_of_error = str(error.value)
        assert not [word for word in ("secret", "SELECT", "UPDATE", "FROM", "\n") if word in text_of_error], (
            name
        )


async def test_database_without_tables_is_unavailable(without_tables: SqlCardRepository) -> None:
    with pytest.raises(StoreUnavailable):
        await without_tables.transactions.ping()
    with pytest.raises(StoreUnavailable):
        await without_tables.transactions.writes(NOON)


async def test_write_check_can_be_repeated(process: Transactions) -> None:
    for second in range(3):
        await process.writes(NOON + timedelta(seconds=second))
    async with process.database.engine.begin() as connection:
        (left,) = (await connection.execute(select(budgets).where(budgets.c.name == TRACE))).all()
    assert left.arrival == NOON.timestamp() + 2


async def test_read_only_database_fails_the_write_check(own: str) -> None:
    async with opened(own) as database:
        process = (await database.store()).transactions
        if process.database.is_shared:
            name = make_url(own).database
            await _do(process, text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
            await process.database.engine.dispose()
        else:
            await _do(process, text("PRAGMA query_only = on"))
        with pytest.raises(StoreUnavailable, match=r"read-?only"):
            await process.writes(NOON)


async def _do(process: Transactions, statement: TextClause) -> None:
    await process.run(lambda connection: connection.execute(statement))


async def test_sqlite_recovers_from_another_programs_lock(sqlite: str, tmp_path: Path) -> None:
    async with opened(sqlite) as database:
        store = await database.store()
        await store.add(new_card(HERE, ADA))
        async with store.transactions.database.engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA busy_timeout=50")
        with closing(sqlite3.connect(tmp_path / "bot.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="database is locked"):
                await store.add(new_card(HERE, GRACE))
            other.execute("ROLLBACK")
        assert (await store.add(new_card(HERE, GRACE))).followers == (ADA, GRACE)


@pytest.mark.parametrize("is_replaced", [False, True], ids=["deleted", "replaced"])
async def test_missing_sqlite_file_is_unavailable(sqlite: str, tmp_path: Path, is_replaced: bool) -> None:
    path, elsewhere = tmp_path / "bot.sqlite3", tmp_path / "elsewhere"
    async with opened(sqlite) as database:
        store = await database.store()
        path.rename(elsewhere)
        if is_replaced:
            path.write_bytes(elsewhere.read_bytes())
        with pytest.raises(StoreUnavailable, match=r"bot\.sqlite3 was deleted or replaced"):
            await store.add(new_card())
        with pytest.raises(StoreUnavailable):
            await store.transactions.writes(NOON)
        elsewhere.rename(path)
        await store.add(new_card())


# Overload


BURST = 1_500


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage collection, which would close leaked descriptors."""
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
                await store.add(new_card(job=JobId(str(uuid4()))))
                stored += 1
        except StoreUnavailable:
            refused += 1

    await asyncio.gather(*(call() for _ in range(BURST)))
    assert descriptors() <= before
    await asyncio.wait_for(store.transactions.writes(NOON), 1.0)
    assert refused > BURST / 2, "a burst fails fast"
    assert len(await store.open_jobs()) == stored, "what was refused is not done later"


async def test_wait_for_a_connection_is_bounded(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "CONNECTION_WITHIN_SECONDS", 0.1)
    async with opened(own) as database:
        store = await database.store()
        engine = store.transactions.database.engine
        async with AsyncExitStack() as busy:
            for _ in range(database_module.CONNECTIONS if database.is_shared else 1):
                await busy.enter_async_context(engine.connect())
            with pytest.raises(StoreUnavailable, match="no connection free"):
                await store.add(new_card())
        assert await store.open_jobs() == []


async def test_sqlite_transaction_outlasts_its_caller(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "WITHIN_SECONDS", 0.05)
    async with opened(sqlite) as database:
        process = await database.process()

        def slow(connection: Connection) -> None:
            connection.execute(insert(budgets).values(name="slow", arrival=0.0, paused_until=0.0))
            connection.execute(text(f"{COUNTS} SELECT count(*) FROM numbers"), {"most": 2_000_000})

        with pytest.raises(StoreUnavailable, match="no answer within"):
            await process.run(slow)
        async with process.database.engine.begin() as connection:
            assert (await connection.execute(select(budgets.c.name))).scalars().all() == ["slow"]


async def test_sqlite_transaction_locks_from_its_beginning(sqlite: str, tmp_path: Path) -> None:
    async with opened(sqlite) as database:
        process = await database.process()
        async with process.database.engine.begin() as connection:
            await connection.execute(select(budgets))
            with closing(sqlite3.connect(tmp_path / "bot.sqlite3", timeout=0.0)) as other:
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute("DELETE FROM budgets")


# PostgreSQL: bounded waits


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time limits of transactions."""
    monkeypatch.setattr(transactions, "WITHIN_SECONDS", 1.0)
    monkeypatch.setattr(database_module, "CONNECTION_WITHIN_SECONDS", 0.5)


@pytest.mark.usefixtures("soon")
async def test_wait_for_a_locked_row_is_bounded(postgresql: str) -> None:
    async with opened(postgresql) as database:
        store, other = await database.store(), await database.process()
        mine = await store.add(new_card())
        async with other.database.engine.begin() as connection:
            await connection.execute(text("SELECT * FROM watches FOR UPDATE"))
            with pytest.raises(StoreUnavailable, match="no answer within"):
                await store.add(new_card(HERE, GRACE))
        assert (await store.add(new_card(HERE, GRACE))).followers == (ADA, GRACE)
        assert (await store.unfollow(mine.id, ADA)) == 1


@pytest.mark.usefixtures("soon")
async def test_busy_connections_are_unavailable_only_meanwhile(postgresql: str) -> None:
    async with opened(postgresql) as database:
        store = await database.store()
        engine = store.transactions.database.engine
        busy = [await engine.connect() for _ in range(database_module.CONNECTIONS)]
        with pytest.raises(StoreUnavailable):
            await store.get(CardId("any"))
        for connection in busy:
            await connection.close()
        assert await store.get(CardId("any")) is None


async def test_more_calls_than_connections_are_served(postgresql: str) -> None:
    async with opened(postgresql) as database:
        store = await database.store()
        mine = await store.add(new_card())
        found = await asyncio.gather(*(store.get(mine.id) for _ in range(10 * database_module.CONNECTIONS)))
    assert set(found) == {mine}


@pytest.mark.usefixtures("soon")
async def test_database_is_used_again_after_an_outage(postgresql: str) -> None:
    async with Cable(postgresql.replace("+psycopg", "")).laid() as cable:
        async with opened(cable.url.replace("postgresql://", "postgresql+psycopg://")) as database:
            store = await database.store()
            mine = await store.add(new_card())
            cable.cut()
            for _ in range(3):
                with pytest.raises(StoreUnavailable) as error:
                    await store.add(new_card(HERE, GRACE))
                assert "\n" not in str(error.value)
            with pytest.raises(StoreUnavailable):
                await store.transactions.writes(NOON)
            cable.mend()
            assert await store.get(mine.id) == mine


async def test_broken_idle_connections_are_replaced(postgresql: str) -> None:
    async with Cable(postgresql.replace("+psycopg", "")).laid() as cable:
        async with opened(cable.url.replace("postgresql://", "postgresql+psycopg://")) as database:
            store = await database.store()
            mine = await store.add(new_card())
            await asyncio.gather(*(store.get(mine.id) for _ in range(8)))
            cable.cut()
            cable.mend()
            found = await asyncio.gather(*(store.get(mine.id) for _ in range(8)))
    assert set(found) == {mine}


@pytest.mark.usefixtures("soon")
async def test_silent_database_is_unavailable_in_time(postgresql: str) -> None:
    loop = asyncio.get_running_loop()
    async with Cable(postgresql.replace("+psycopg", "")).laid() as cable:
        async with opened(cable.url.replace("postgresql://", "postgresql+psycopg://")) as database:
            store = await database.store()
            mine = await store.add(new_card())
            cable.fall_silent()
            for _ in range(3):
                began = loop.time()
                with pytest.raises(StoreUnavailable):
                    await store.get(mine.id)
                assert loop.time() - began < 3.0
            cable.mend()
            assert await store.get(mine.id) == mine


async def test_paused_process_blocks_no_row(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "PAUSED_AT_MOST_SECONDS", 1)
    async with opened(postgresql) as database:
        store, paused = await database.store(), await database.process()
        await store.add(new_card())

        def pause_in_the_middle(connection: Connection) -> None:
            connection.execute(text("SELECT * FROM watches FOR UPDATE"))
            assert await_only(store.add(new_card(HERE, GRACE))).followers == (ADA, GRACE)
            connection.execute(text("UPDATE watches SET card_gone = 1"))

        with pytest.raises(StoreUnavailable):
            await paused.run(pause_in_the_middle)
        assert (await store.add(new_card(HERE, LINUS))).followers == (ADA, GRACE, LINUS)
        assert await SqlCardRepository(paused, TEAM).open_jobs() == [JOB]
