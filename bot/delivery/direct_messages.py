"""What a person is told of what they asked for: to be told first and forgotten then, and in their direct messages where
there is no other way to reach them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.delivery.posts import CLOCKS_DIFFER_BY_SECONDS
from bot.domain.cards import Place, UserId, Watch
from bot.domain.errors import BoardError, NotAllowedHere, ScopeMissing, Unanswered
from bot.domain.messages import Message
from bot.domain.ports.slack import Board
from bot.domain.ports.storage import GivenUps
from bot.rendering import replies

log = structlog.get_logger()


SETTLED_AFTER_SECONDS = 12.0
"""Slack can't be busy any longer with a post that it has not answered: it can be found by then, or never arrived."""

TRIES_WITHOUT_HISTORY = 2
"""How often a line is posted that Slack does not confirm, where the bot can't look for it."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a person is to be told, and what is to be done once they have been. Until then it is remembered that
    somebody waits, so that a process that dies between leaves it to another to tell."""

    message: Message
    once_told: Callable[[], Awaitable[None]]


class Interrupted(asyncio.CancelledError):
    """The process ends before anything came of what a person asked for. Whoever catches it tells them so, and then does
    `once_told`, as for a `Word`."""

    def __init__(self, once_told: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.once_told = once_told


async def tell_directly(
    board: Board, place: Place, user: UserId, message: Message, *, mark: str, since: datetime
) -> bool:
    """Send a line to the user's direct messages, in the workspace of `place`, unless an earlier try has arrived.

    Args:
        board: Slack.
        place: any place of the workspace.
        user: who is to read it.
        message: the line.
        mark: the same for each try of this line, so that an earlier one can be found.
        since: when the first try may have been made.

    Returns:
        Whether Slack holds the line. False: the user can't be reached, or Slack has confirmed none of several tries
        and the bot may not look for them. Another call would not help.

    Raises:
        BoardError: Slack has not confirmed the line. The next call looks for it before it posts again; after
            `Unanswered`, wait SETTLED_AFTER_SECONDS before that.
    """
    mark = f"{mark}/told"
    since -= timedelta(seconds=CLOCKS_DIFFER_BY_SECONDS)
    try:
        direct = await board.direct(place, user)
        try:
            if await board.find(direct, mark=mark, since=since) is None:
                await board.post(direct, message, mark=mark)
        except ScopeMissing:
            return await _post_unseen(board, direct, message, mark)
    except (NotAllowedHere, ScopeMissing) as error:
        log.warning("private line not told", user=user, code=error.code)
        return False
    return True


async def _post_unseen(board: Board, direct: Place, message: Message, mark: str) -> bool:
    """Post where the history can't be read. Twice is better than never, but not again and again."""
    for _ in range(TRIES_WITHOUT_HISTORY):
        try:
            await board.post(direct, message, mark=mark)
        except Unanswered as error:
            log.warning("private line not confirmed", channel=direct.channel, code=error.code)
        else:
            return True
    return False


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
    line = Message(replies.given_up(watch.given_up, watch.job))
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
