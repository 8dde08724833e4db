"""Those who have not heard yet that there is no card for them: they are told, and only then it is forgotten that they
asked.

Whoever waits with a command is told there, in answer to it. All others, and who could not be told there, are told here.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from bot import lines
from bot.errors import BoardError
from bot.givenups import GivenUps
from bot.ports import Board, Message
from bot.telling import tell_directly
from bot.watch import Watch

log = structlog.get_logger()

UNHEARD_AFTER = timedelta(minutes=3)
"""By when whoever waits with a command has been told in answer to it, however often Slack puts that off."""


async def tell_unheard(
    given_ups: GivenUps, board: Board, now: Callable[[], datetime], *, alone_since: datetime | None = None
) -> None:
    """Tell the followers of what was given up. Who can't be told now is told later, and by one process at a time.

    `alone_since`: since when no other process can be telling them, if there is but this one.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    before = now() - UNHEARD_AFTER
    for watch in await given_ups.left(before if alone_since is None else max(before, alone_since)):
        if (mine := await given_ups.telling(watch, now())) is None:
            continue
        try:
            await tell_followers(given_ups, board, mine)
        except BoardError as error:
            log.warning("followers not told", watch=watch.id, code=error.code)


async def tell_followers(given_ups: GivenUps, board: Board, watch: Watch) -> None:
    """Notify each follower in their direct messages that there is no card.

    Raises:
        BoardError: Slack has not confirmed a follower's line. The others are off the watch.
        StoreUnavailable: the database did not answer.
    """
    if watch.given_up is None or watch.closed_at is None:
        return
    # A watch that is followed again can be given up again, and its followers are notified of that too.
    mark = f"{watch.id}/{watch.closed_at.timestamp():.6f}"
    line = Message(lines.given_up(watch.given_up, watch.job))
    failures: list[BoardError] = []
    for follower in watch.followers:
        try:
            told = await tell_directly(board, watch.place, follower, line, mark=mark, since=watch.closed_at)
        except BoardError as error:
            failures.append(error)
            continue
        await given_ups.told(watch.id, follower)
        if told:
            log.info("told of no card", watch=watch.id, user=follower)
    if failures:
        raise failures[0]
