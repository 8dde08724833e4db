"""Connections to PostgreSQL for the queue and the message bus: few, and with bounded waits."""

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
"""The most connections of a process for the queue. `PgNotify` listens on one more; `storage.database` has its own."""

CONNECTION_WITHIN_SECONDS = 3.0
"""How long a statement waits for a connection."""

GIVES_UP_AFTER_SECONDS = 1.0
"""How long the pool reconnects in the background. Afterwards the next statement that needs a connection does, so that
a database that is back is used at once, without the end of a long back-off."""

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
    """Convert SQLAlchemy's URL of a database to libpq's form, with timeouts.

    Parameters of the URL, such as `sslmode=verify-full`, are kept.

    Args:
        url: `postgresql://…` or `postgresql+psycopg://…`.
    """
    address = make_url(url).set(drivername="postgresql+psycopg")
    _, parameters = address.get_dialect()().create_connect_args(address)
    return make_conninfo(**{**BOUNDS, **parameters})


@asynccontextmanager
async def open_pool(url: str, *, within_seconds: float = CONNECTION_WITHIN_SECONDS) -> AsyncIterator[Pool]:
    """Open a pool for short statements, each its own transaction. Does not wait for the database."""
    # The caller that does not get a connection logs it.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    pool: Pool = AsyncConnectionPool(
        conninfo(url),
        kwargs={"autocommit": True},
        min_size=1,
        max_size=CONNECTIONS,
        timeout=within_seconds,
        reconnect_timeout=GIVES_UP_AFTER_SECONDS,
        configure=_configure,
        # Servers close idle connections.
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
    """Return the driver's message in one line, for the log."""
    error = (error.__cause__ or error) if isinstance(error, ConnectorException) else error
    return str(error).strip().partition("\n")[0] or type(error).__name__


async def _configure(connection: AsyncConnection[TupleRow]) -> None:
    """Make the planner fetch jobs by their index.

    Without statistics it sorts all waiting jobs to find the first: with 1,000 jobs, 20 to 40 ms per fetch instead of
    half a millisecond.
    """
    await connection.execute("SET enable_sort = off")
    await connection.execute("SET enable_bitmapscan = off")
    await connection.execute("SET enable_seqscan = off")


ANSWERS_WITHIN_SECONDS = 5.0
"""How long a statement waits for the database. Without any response, the driver needs up to 10 s more to close the
connection."""


class Connector(PsycopgConnector):
    """procrastinate's connector with a time limit per statement. Every failure is a ConnectorException."""

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
