"""Short transactions on the database: atomic, bounded in time, and with our own errors."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from bot.domain import StoreUnavailable
from bot.storage.database import Database, reason
from bot.storage.tables import budgets, schema_version
from bot.tasks import ShieldedTasks

WITHIN_SECONDS = 5.0
"""How long a caller waits, and how long a transaction on PostgreSQL may take. Without it, a silent network would hold a
caller for minutes. `database.CONNECTION_WITHIN_SECONDS` is shorter, so that no refused transaction runs later."""

MOST_AT_ONCE = 500
"""How many transactions may wait or run. More could not be served in time and are refused at once."""

TRACE = "trace of a write"
"""The name of an unused budget, whose row is written to check that the database is writable."""

P = ParamSpec("P")
T = TypeVar("T")


class Transactions:
    """Runs each transaction in a task of its own, which goes on if its caller is cancelled or times out.

    On SQLite a transaction that is cut short would leave unfinished statements, which lock the file for all others.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tasks = ShieldedTasks()
        self._is_ending = False

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and commit it. `work` may run twice, and changes nothing if it raises.

        Raises:
            StoreUnavailable: the database refuses or does not answer, its file is missing, too many transactions wait,
                or the process ends. After a timeout the transaction may still succeed.
        """
        if self._is_ending:
            raise StoreUnavailable("the process ends")
        if self.tasks.running >= MOST_AT_ONCE:
            raise StoreUnavailable("too many transactions at once")
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                return await self.tasks.run(self._commit(work))
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {WITHIN_SECONDS:.0f} s") from error

    async def _commit(self, work: Callable[[Connection], T]) -> T:
        # Only PostgreSQL undoes a transaction whose connection is closed in the middle.
        within_seconds = WITHIN_SECONDS if self.database.is_shared else None
        try:
            self.database.make_sure_of_file()
            async with asyncio.timeout(within_seconds):
                try:
                    async with self.database.engine.begin() as connection:
                        return await connection.run_sync(work)
                except IntegrityError:
                    # Another process may just have inserted the row. Then `work` finds it now.
                    async with self.database.engine.begin() as connection:
                        return await connection.run_sync(work)
        except SQLAlchemyError as error:
            raise StoreUnavailable(reason(error)) from error

    async def drain(self) -> None:
        """Let running transactions end and refuse new ones. For the end of the process."""
        self._is_ending = True
        await self.tasks.drain()

    async def ping(self) -> None:
        """Run a query. Raises StoreUnavailable if the database can't be read."""
        await self.run(lambda connection: connection.scalar(select(schema_version.c.version)))

    async def writes(self, at: datetime) -> None:
        """Write a row to check the database. Raises StoreUnavailable if that fails."""
        # A new value each time: a database may skip a write that changes nothing.
        row = {"name": TRACE, "arrival": at.timestamp(), "paused_until": 0.0}

        def write(connection: Connection) -> None:
            if not connection.execute(update(budgets).where(budgets.c.name == TRACE).values(row)).rowcount:
                connection.execute(insert(budgets).values(row))

        await self.run(write)


class _HasTransactions(Protocol):
    transactions: Transactions


S = TypeVar("S", bound=_HasTransactions)


def transactional(
    method: Callable[Concatenate[S, Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[None, None, T]]:
    """Run the method in a transaction, by `Transactions.run`. The caller leaves out `connection`."""

    @wraps(method)
    async def run(owner: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await owner.transactions.run(lambda connection: method(owner, connection, *args, **kwargs))

    return run
