"""How procrastinate reaches PostgreSQL: through our connections, and each statement in bounded time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException

from bot import pgpool

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


def reason(error: ConnectorException) -> str:
    """What the driver said, in one line for the log."""
    return pgpool.reason(error.__cause__ or error)
