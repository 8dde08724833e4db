"""Questions and follows that were in the hands of a process that is gone: their people are told, and nothing is done
again."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from bot import asklines, lines
from bot.asks import Asks
from bot.errors import BoardError
from bot.ports import Board, Message
from bot.telling import tell_directly

log = structlog.get_logger()

ORPHANED_AFTER = timedelta(minutes=3)
"""For so long no process has said that it has a question in hand: several of its touches were missed."""


async def tell_orphans(
    asks: Asks, board: Board, now: Callable[[], datetime], *, alone_since: datetime | None = None
) -> None:
    """Tell in direct messages. Who can't be told now is told later, and by one process at a time.

    `alone_since`: since when no other process can have one in hand, if there is but this one.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    before = now() - ORPHANED_AFTER
    for orphan in await asks.orphans(before if alone_since is None else max(before, alone_since)):
        if not await asks.take_over(orphan, now()):
            continue
        line = Message(lines.interrupted(orphan.follow) if orphan.follow else asklines.orphaned())
        try:
            told = await tell_directly(
                board, orphan.place, orphan.user, line, mark=orphan.id, since=orphan.asked_at
            )
        except BoardError as error:
            log.warning("orphan not told", user=orphan.user, code=error.code)
            continue
        if told:
            log.info("orphan told", user=orphan.user)
        await asks.told(orphan.id)
