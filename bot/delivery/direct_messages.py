"""What a person is told of what they asked for: to be told first and forgotten then, and in their direct messages where
there is no other way to reach them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.delivery.posts import CLOCKS_DIFFER_BY_SECONDS
from bot.domain import (
    Card,
    ChannelRef,
    Message,
    NotAllowedHere,
    OutcomeUnknown,
    ScopeMissing,
    SlackError,
    UserId,
)
from bot.domain.ports import FailedCardRepository, SlackMessages
from bot.rendering import replies

log = structlog.get_logger()


SETTLED_AFTER_SECONDS = 12.0
"""Slack can't be busy any longer with a post that it has not answered: it can be found by then, or never arrived."""

TRIES_WITHOUT_HISTORY = 2
"""How often a line is posted that Slack does not confirm, where the bot can't look for it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a person is to be told, and what is to be done once they have been. Until then it is remembered that
    somebody waits, so that a process that dies between leaves it to another to tell."""

    message: Message
    on_delivered: Callable[[], Awaitable[None]]


class InterruptedRequest(asyncio.CancelledError):
    """The process ends before anything came of what a person asked for. Whoever catches it tells them so, and then does
    `once_told`, as for a `Reply`."""

    def __init__(self, once_told: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.on_delivered = once_told


async def send_direct_message(
    messages: SlackMessages,
    channel: ChannelRef,
    user: UserId,
    message: Message,
    *,
    mark: str,
    since: datetime,
) -> bool:
    """Send a line to the user's direct messages, in the workspace of `channel`, unless an earlier try has arrived.

    Args:
        messages: Slack.
        channel: any place of the workspace.
        user: who is to read it.
        message: the line.
        mark: the same for each try of this line, so that an earlier one can be found.
        since: when the first try may have been made.

    Returns:
        Whether Slack holds the line. False: the user can't be reached, or Slack has confirmed none of several tries
        and the bot may not look for them. Another call would not help.

    Raises:
        BoardError: Slack has not confirmed the line. The next call looks for it before it posts again; after
            `OutcomeUnknown`, wait SETTLED_AFTER_SECONDS before that.
    """
    mark = f"{mark}/told"
    since -= timedelta(seconds=CLOCKS_DIFFER_BY_SECONDS)
    try:
        direct = await messages.open_dm(channel, user)
        try:
            if await messages.find_by_metadata(direct, mark=mark, since=since) is None:
                await messages.post(direct, message, mark=mark)
        except ScopeMissing:
            return await _post_unseen(messages, direct, message, mark)
    except (NotAllowedHere, ScopeMissing) as error:
        log.warning("reply not delivered", user=user, code=error.code)
        return False
    return True


async def _post_unseen(messages: SlackMessages, direct: ChannelRef, message: Message, mark: str) -> bool:
    """Post where the history can't be read. Twice is better than never, but not again and again."""
    for _ in range(TRIES_WITHOUT_HISTORY):
        try:
            await messages.post(direct, message, mark=mark)
        except OutcomeUnknown as error:
            log.warning("private line not confirmed", channel=direct.id, code=error.code)
        else:
            return True
    return False


UNHEARD_AFTER = timedelta(minutes=3)
"""By when whoever waits with a command has been told in answer to it, however often Slack puts that off."""


async def report_failed_cards(
    failed_cards: FailedCardRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Tell the followers of what was given up. Who can't be told now is told later, and by one process at a time.

    `alone_since`: since when no other process can be telling them, if there is but this one.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    before = now() - UNHEARD_AFTER
    for card in await failed_cards.pending(before if alone_since is None else max(before, alone_since)):
        if (mine := await failed_cards.mark_reporting(card, now())) is None:
            continue
        try:
            await report_failed_card(failed_cards, messages, mine)
        except SlackError as error:
            log.warning("followers not told", watch=card.id, code=error.code)


async def report_failed_card(failed_cards: FailedCardRepository, messages: SlackMessages, card: Card) -> None:
    """Notify each follower in their direct messages that there is no card.

    Raises:
        BoardError: Slack has not confirmed a follower's line. The others are off the watch.
        StoreUnavailable: the database did not answer.
    """
    if card.failure is None or card.closed_at is None:
        return
    # A watch that is followed again can be given up again, and its followers are notified of that too.
    mark = f"{card.id}/{card.closed_at.timestamp():.6f}"
    line = Message(replies.card_failed(card.failure, card.job))
    failures: list[SlackError] = []
    for follower in card.followers:
        try:
            told = await send_direct_message(
                messages, card.channel, follower, line, mark=mark, since=card.closed_at
            )
        except SlackError as error:
            failures.append(error)
            continue
        await failed_cards.mark_reported(card.id, follower)
        if told:
            log.info("told of no card", watch=card.id, user=follower)
    if failures:
        raise failures[0]
