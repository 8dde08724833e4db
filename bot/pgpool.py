"""What the queue and the messages between processes use of PostgreSQL: few connections, none that hangs unseen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.engine import make_url

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]

CONNECTIONS = 2
"""How many a process holds at most for the queue. Two more listen: the queue's worker and `pgnotify`. With those
of `database` that makes what one process takes of the plan's connections."""
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
async def open_pool(url: str) -> AsyncIterator[Pool]:
    """Connections for short statements, each its own transaction. Does not wait for the database to answer."""
    pool: Pool = AsyncConnectionPool(
        conninfo(url),
        min_size=1,
        max_size=CONNECTIONS,
        timeout=CONNECTION_WITHIN_SECONDS,
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


async def _configure(connection: AsyncConnection[TupleRow]) -> None:
    """Let a job be fetched by its index, whatever the statistics say.

    Where the planner knows little of the table, it sorts all waiting jobs to find the first: measured with
    1,000 of them, 20 to 40 ms for each fetch instead of half of one.
    """
    # Not among the pool's own arguments: procrastinate adds it itself for the connection on which it listens.
    await connection.set_autocommit(True)
    await connection.execute("SET enable_sort = off")
    await connection.execute("SET enable_bitmapscan = off")
    await connection.execute("SET enable_seqscan = off")
