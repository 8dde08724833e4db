"""What the queue and the messages between processes use of PostgreSQL: few connections, none that hangs unseen."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.engine import make_url

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

CONNECTIONS = 2
"""How many a process holds at most for the queue. One more listens, that of `pgnotify`. With those of `database`
that makes what one process takes of the plan's connections."""

CONNECTION_WITHIN_SECONDS = 3.0
"""How long a statement waits for a connection."""

GIVES_UP_AFTER_SECONDS = 1.0
"""How long the pool tries to connect by itself. Afterwards it tries when somebody needs a connection, so that a
database that is back is found by the next statement, not at the end of a long pause."""

CLOSES_WITHIN_SECONDS = 1.0

BOUNDS = {
    "application_name": "omni-job-bot",
    "connect_timeout": 5,
    # A peer that vanished without a word is noticed within about 10 s, idle or not.
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}


def conninfo(url: str) -> str:
    """The driver's form of a database's address: the same connection as SQLAlchemy makes of it, within bounds.

    What the address itself says, `sslmode=verify-full` and the like, is kept.

    Args:
        url: `postgresql://…` or `postgresql+psycopg://…`.
    """
    address = make_url(url).set(drivername="postgresql+psycopg")
    _, said = address.get_dialect()().create_connect_args(address)
    return make_conninfo(**{**BOUNDS, **said})


@asynccontextmanager
async def open_pool(url: str, *, within_seconds: float = CONNECTION_WITHIN_SECONDS) -> AsyncIterator[Pool]:
    """Connections for short statements, each its own transaction. Does not wait for the database to answer."""
    # Who needs a connection and does not get one says so.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    pool: Pool = AsyncConnectionPool(
        conninfo(url),
        kwargs={"autocommit": True},
        min_size=1,
        max_size=CONNECTIONS,
        timeout=within_seconds,
        reconnect_timeout=GIVES_UP_AFTER_SECONDS,
        configure=_configure,
        # Servers close what is idle, and a lost connection is no lost database.
        check=AsyncConnectionPool.check_connection,
        open=False,
        name="queue",
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close(CLOSES_WITHIN_SECONDS)


def reason(error: BaseException) -> str:
    """What the driver said, in one line for the log."""
    error = (error.__cause__ or error) if isinstance(error, ConnectorException) else error
    return str(error).strip().partition("\n")[0] or type(error).__name__


async def _configure(connection: AsyncConnection[TupleRow]) -> None:
    """Let a job be fetched by its index, whatever the statistics say.

    Where the planner knows little of the table, it sorts all waiting jobs to find the first: measured with
    1,000 of them, 20 to 40 ms for each fetch instead of half of one.
    """
    await connection.execute("SET enable_sort = off")
    await connection.execute("SET enable_bitmapscan = off")
    await connection.execute("SET enable_seqscan = off")


ANSWERS_WITHIN_SECONDS = 5.0
"""How long a statement waits for the database. If that says nothing at all, the driver needs up to 10 s more to give
the connection up."""


class Connector(PsycopgConnector):
    """procrastinate's statements, each in bounded time. Every failure is a ConnectorException."""

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """See the base class."""
        async with _bounded():
            await super().execute_query_async(query, **arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """See the base class."""
        async with _bounded():
            row: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
        return row

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """See the base class."""
        async with _bounded():
            rows: list[dict[str, Any]] = await super().execute_query_all_async(query, **arguments)
        return rows


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
            yield
    except TimeoutError as error:
        raise ConnectorException(f"no answer within {ANSWERS_WITHIN_SECONDS:.0f} s") from error
