"""Short transactions on the database: atomic, bounded in time, and with our own errors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain import StoreUnavailable, WriteConflict
from bot.storage.database import Database, reason
from bot.storage.tables import budgets, schema_version
from bot.tasks import ShieldedTasks

WITHIN_SECONDS = 5.0
"""How long a caller waits for a step, and how long a transaction on PostgreSQL may take. Without it, a silent network
would hold a caller for minutes."""

WAITS_WITHIN_SECONDS = 3.0
"""How long a transaction waits for a connection. Shorter than a caller waits, so that no refused step runs later."""

MOST_WAITING = 500
"""How many transactions may wait for a connection. More could not be served in time and are refused at once."""

TRACE = "trace of a write"
"""The name of an unused budget, whose row is written to check that the database is writable."""

NO_ANSWER = f"no answer within {WITHIN_SECONDS:.0f} s"

NO_CONNECTION = f"no connection free within {WAITS_WITHIN_SECONDS:.0f} s"

TOO_MANY = "too many transactions at once"

P = ParamSpec("P")

T = TypeVar("T")


class Transactions:
    """Runs transactions that a cancelled caller does not interrupt."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tasks = ShieldedTasks()
        self._free = asyncio.Semaphore(database.connections)
        self._waiting = 0
        self._ending = False

    async def drain(self) -> None:
        """Let running transactions end and refuse new ones. For the end of the process."""
        self._ending = True
        await self.tasks.drain()

    async def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Run a step to its end, even if the caller is cancelled or times out.

        Raises:
            StoreUnavailable: it took too long. It may still succeed.
        """
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                return await self.tasks.run(step)
        except TimeoutError as error:
            raise StoreUnavailable(NO_ANSWER) from error

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction and commit it at the end of the context.

        Raises:
            WriteConflict: a unique row exists already.
            StoreUnavailable: the database does not answer, its file is missing, too many transactions wait, or the
                process ends.
        """
        await self._wait_for_connection()
        try:
            if self._ending:
                raise StoreUnavailable("the process ends")
            self.database.make_sure_of_file()
            async with asyncio.timeout(self._within_seconds), self.database.engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise WriteConflict(reason(error)) from error
        except SQLAlchemyError as error:
            raise StoreUnavailable(reason(error)) from error
        except TimeoutError as error:
            raise StoreUnavailable(NO_ANSWER) from error
        finally:
            self._free.release()

    @property
    def _within_seconds(self) -> float | None:
        """How long a transaction may take. On SQLite it always runs to its end: a cancelled one would leave unfinished
        statements, which lock the file. On PostgreSQL the connection is closed, and the server rolls back."""
        return WITHIN_SECONDS if self.database.is_shared else None

    async def _wait_for_connection(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise StoreUnavailable(TOO_MANY)
        self._waiting += 1
        try:
            async with asyncio.timeout(WAITS_WITHIN_SECONDS):
                await self._free.acquire()
        except TimeoutError as error:
            raise StoreUnavailable(NO_CONNECTION) from error
        finally:
            self._waiting -= 1

    async def ping(self) -> None:
        """Run a query. Raises StoreUnavailable if the database can't be read."""
        await self.run(self._ping())

    async def _ping(self) -> None:
        async with self.begin() as connection:
            await connection.execute(select(schema_version.c.version))

    async def writes(self, at: datetime) -> None:
        """Write a row to check the database. Raises StoreUnavailable if that fails."""
        await self.run(self._writes(at.timestamp()))

    async def _writes(self, at: float) -> None:
        # A new value each time: a database may skip a write that changes nothing.
        trace = update(budgets).where(budgets.c.name == TRACE).values(arrival=at)
        with suppress(WriteConflict):  # another process has just written it, so the database is writable
            async with self.begin() as connection:
                if not (await connection.execute(trace)).rowcount:
                    first = insert(budgets).values(name=TRACE, arrival=at, paused_until=0.0)
                    await connection.execute(first)


class _HasTransactions(Protocol):
    transactions: Transactions


S = TypeVar("S", bound=_HasTransactions)


def transactional(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Run the method by `Transactions.run`: shielded from cancellation, and with a bounded wait."""

    @wraps(method)
    async def run(owner: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await owner.transactions.run(method(owner, *args, **kwargs))

    return run
