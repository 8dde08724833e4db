"""Stores what has happened in Slack already, however long the database is away: nobody else knows of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.errors import StoreUnavailable
from bot.watch import WatchId

log = structlog.get_logger()

T = TypeVar("T")

STORED_WITHIN_SECONDS = 120.0
"""How long a database that is down is asked again to take the ts of what Slack holds: after that it has to be
looked for, which not every installation may do."""


async def stored(watch: WatchId, store: Callable[[], Awaitable[T]]) -> T:
    """Store what Slack holds, again and again while the database is down. Returns what `store` does.

    Raises:
        StoreUnavailable: it has been down for STORED_WITHIN_SECONDS.
    """
    give_up_at = asyncio.get_running_loop().time() + STORED_WITHIN_SECONDS
    failures = 0
    while True:
        try:
            return await store()
        except StoreUnavailable as error:
            if asyncio.get_running_loop().time() >= give_up_at:
                raise
            log.warning("not stored yet", watch=watch, reason=str(error))
            await asyncio.sleep(min(5.0, 2.0**failures))
            failures += 1
