"""Forgets questions that certainly were not asked, however long the database takes. A process that ends before leaves
them to `orphans`."""

from datetime import datetime
from functools import partial

import structlog

from bot.asks import Ask, Asks
from bot.errors import StoreUnavailable
from bot.storing import stored
from bot.watch import WatchId

log = structlog.get_logger()


async def withdraw(asks: Asks, ask: Ask) -> None:
    """Forget a question that is in the table."""
    try:
        await stored(WatchId(ask.id), partial(asks.withdraw, ask.id))
    except StoreUnavailable as error:
        log.warning("ask not withdrawn", reason=str(error))


async def withdraw_if_begun(asks: Asks, ask: Ask, now: datetime) -> None:
    """Forget a question of which the database did not say whether it has taken it. Another process may have taken the
    same message up, and asks it: what that one has stored is left alone."""
    try:
        is_mine = await stored(WatchId(ask.id), partial(asks.take_over, ask, now))
    except StoreUnavailable as error:
        log.warning("ask not withdrawn", reason=str(error))
        return
    if is_mine:
        await withdraw(asks, ask)
