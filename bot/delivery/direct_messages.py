"""Replies that are stored until they are delivered, and direct messages for users who can't get a reply otherwise."""

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
"""When an unanswered post can be found in Slack, or has never arrived."""

TRIES_WITHOUT_HISTORY = 2
"""How often an unconfirmed message is posted if the bot can't look for it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply and a callback to run once it is delivered.

    Until then the request stays in the database, so that another process can reply after a crash.
    """

    message: Message
    on_delivered: Callable[[], Awaitable[None]]


class InterruptedRequest(asyncio.CancelledError):
    """The process stops before a request had an effect. The caller replies so, and then runs `on_delivered`."""

    def __init__(self, on_delivered: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.on_delivered = on_delivered


async def send_direct_message(
    messages: SlackMessages,
    channel: ChannelRef,
    user: UserId,
    message: Message,
    *,
    mark: str,
    since: datetime,
) -> bool:
    """Send the user a direct message, unless an earlier try has arrived.

    Args:
        messages: Slack.
        channel: any channel of the workspace.
        user: the recipient.
        message: the text.
        mark: the same for each try, so that an earlier one can be found.
        since: when the first try may have been made.

    Returns:
        Whether Slack has the message. False: the user can't be reached, or Slack has confirmed none of several
        tries and the bot may not look for them. Another call would not help.

    Raises:
        SlackError: Slack has not confirmed the message. The next call looks for it before it posts again; after
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
            log.warning("reply not confirmed", channel=direct.id, code=error.code)
        else:
            return True
    return False


UNHEARD_AFTER = timedelta(minutes=3)
"""When a waiting command has certainly had its reply."""


async def report_failed_cards(
    failed_cards: FailedCardRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Send followers a direct message about cards that could not be posted. Failed messages are retried later.

    `alone_since`: since when no other process can be sending them, if this is the only one.

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
            log.warning("followers not told", card=card.id, code=error.code)


async def report_failed_card(failed_cards: FailedCardRepository, messages: SlackMessages, card: Card) -> None:
    """Notify each follower in their direct messages that there is no card.

    Raises:
        SlackError: Slack has not confirmed a follower's message. The others are done.
        StoreUnavailable: the database did not answer.
    """
    if card.failure is None or card.closed_at is None:
        return
    # A card that is followed again can fail again, and its followers are notified again.
    mark = f"{card.id}/{card.closed_at.timestamp():.6f}"
    line = Message(replies.card_failed(card.failure, card.job))
    failures: list[SlackError] = []
    for follower in card.followers:
        try:
            is_sent = await send_direct_message(
                messages, card.channel, follower, line, mark=mark, since=card.closed_at
            )
        except SlackError as error:
            failures.append(error)
            continue
        await failed_cards.mark_reported(card.id, follower)
        if is_sent:
            log.info("card failure reported", card=card.id, user=follower)
    if failures:
        raise failures[0]
