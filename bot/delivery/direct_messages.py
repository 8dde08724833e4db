"""Replies that are stored until they are delivered, and direct messages for users who can't get a reply otherwise."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.delivery.posts import CLOCKS_DIFFER_BY_SECONDS
from bot.domain import (
    API_CLIENT,
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


REPORT_FAILURE_AFTER = timedelta(seconds=30)
"""When a waiting command has had its reply, and a direct message has been sent or has failed. If Slack takes longer to
accept the reply, the user may be notified twice."""


async def report_failed_cards(
    failed_cards: FailedCardRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Send a direct message to each follower whose card could not be posted and who got no reply to the command.

    If Slack does not confirm a message, the next call tries again.

    `alone_since`: since when no other process can be replying, if this is the only one.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    before = now() - REPORT_FAILURE_AFTER
    if alone_since is not None:
        before = max(before, alone_since)
    while (card := await failed_cards.take_unreported(before, now())) is not None:
        if card.failure is None or card.closed_at is None:
            continue  # a newer version of the bot stored the reason
        # A card that is followed again can fail again, and its followers are notified again.
        mark = f"{card.id}/{card.closed_at.timestamp():.6f}"
        message = Message(replies.card_failed(card.failure, card.job))
        if API_CLIENT in card.followers:
            log.warning("announced job has no card", card=card.id, job=card.job, why=card.failure.name)
            await failed_cards.mark_reported(card.id, API_CLIENT)
        for follower in card.people:
            try:
                is_sent = await send_direct_message(
                    messages, card.channel, follower, message, mark=mark, since=card.closed_at
                )
            except SlackError as error:
                log.warning("card failure not reported", card=card.id, user=follower, code=error.code)
                continue
            await failed_cards.mark_reported(card.id, follower)
            if is_sent:
                log.info("card failure reported", card=card.id, user=follower)
