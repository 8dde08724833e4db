"""Deletes the cards and questions of workspaces that have removed the app.

No recovery runs for such a workspace. Its rows are kept for the retention period, in case the app is installed again.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, func, select

from bot.storage.tables import cards, questions, slack_bots
from bot.storage.transactions import Transactions
from bot.tasks import repeat_until_cancelled

log = structlog.get_logger()

LOOKS_EVERY_SECONDS = 3_600.0


async def delete_uninstalled(transactions: Transactions, before: datetime) -> int:
    """Delete old cards and questions of workspaces without the app. Returns how many cards.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    installed = select(slack_bots.c.team_id).where(slack_bots.c.team_id.is_not(None))
    latest = func.coalesce(cards.c.resumed_at, cards.c.requested_at)
    old_cards = delete(cards).where(cards.c.team.not_in(installed), latest < before)
    old_questions = delete(questions).where(questions.c.team.not_in(installed), questions.c.asked_at < before)

    def delete_old(connection: Connection) -> int:
        connection.execute(old_questions)
        return connection.execute(old_cards).rowcount

    return await transactions.run(delete_old)


async def sweep_uninstalled(
    transactions: Transactions, now: Callable[[], datetime], *, retention_days: float
) -> None:
    """Delete them periodically, until cancelled."""

    async def sweep_once() -> None:
        forgotten = await delete_uninstalled(transactions, now() - timedelta(days=retention_days))
        log.debug("left workspaces swept", forgotten=forgotten)

    await repeat_until_cancelled(
        sweep_once, every_seconds=LOOKS_EVERY_SECONDS, failure_event="workspaces not read"
    )
