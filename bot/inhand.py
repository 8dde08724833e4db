"""Says that a process has a question in hand, as long as it has: nobody shall take it for one that a dead one left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import structlog

from bot.asks import Ask, Asks
from bot.errors import StoreUnavailable

log = structlog.get_logger()

TOUCHED_EVERY_SECONDS = 30.0


@asynccontextmanager
async def in_hand(asks: Asks, ask: Ask, now: Callable[[], datetime]) -> AsyncIterator[None]:
    """Say so again and again, until the context is left."""
    touching = asyncio.create_task(_touch(asks, ask, now), name=f"touch {ask.id}")
    try:
        yield
    finally:
        touching.cancel()


async def _touch(asks: Asks, ask: Ask, now: Callable[[], datetime]) -> None:
    while True:
        await asyncio.sleep(TOUCHED_EVERY_SECONDS)
        try:
            await asks.touch(ask.id, now())
        except StoreUnavailable as error:
            log.warning("ask not touched", reason=str(error))
