"""Forgets the follows and questions of workspaces that have removed the app.

Nobody sweeps there any more. They are kept as long as ended ones are elsewhere: until then the app may come back.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, func, select

from bot.storage.tables import asks, slack_bots, watches
from bot.storage.transactions import Transactions
from bot.tasks import repeat_until_cancelled

log = structlog.get_logger()

LOOKS_EVERY_SECONDS = 3_600.0


async def forget_left(transactions: Transactions, before: datetime) -> int:
    """Remove what nobody has asked for since then, where the app is not installed. Returns how many follows.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    return await transactions.run(_forget(transactions, before))


async def _forget(transactions: Transactions, before: datetime) -> int:
    installed = select(slack_bots.c.team_id).where(slack_bots.c.team_id.is_not(None))
    latest = func.coalesce(watches.c.resumed_at, watches.c.asked_at)
    old = delete(watches).where(watches.c.team.not_in(installed), latest < before.timestamp())
    old_asks = delete(asks).where(asks.c.team.not_in(installed), asks.c.asked_at < before.timestamp())
    async with transactions.begin() as connection:
        await connection.execute(old_asks)
        return (await connection.execute(old)).rowcount


async def sweep_left(
    transactions: Transactions, now: Callable[[], datetime], *, retention_days: float
) -> None:
    """Do so again and again, until cancelled."""

    async def sweep_once() -> None:
        forgotten = await forget_left(transactions, now() - timedelta(days=retention_days))
        log.debug("left workspaces swept", forgotten=forgotten)

    await repeat_until_cancelled(
        sweep_once, every_seconds=LOOKS_EVERY_SECONDS, failure_event="workspaces not read"
    )
