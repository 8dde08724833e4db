"""Chooses the target of a new card: the channel, or the user's direct messages."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelRef,
    MessageTs,
    NotAllowedHere,
    ScopeMissing,
    SlackError,
    UserId,
)
from bot.domain.ports import CardRepository, SlackMessages
from bot.rendering import replies

log = structlog.get_logger()


PRIVATE = "private"
"""The last word of a question, or a word with a job id, whose card goes to the user's direct messages."""


@dataclass(frozen=True, slots=True)
class Target:
    """The channel that a new card goes to."""

    place: ChannelRef
    say: Callable[[str | None], str] | None = None
    """Makes the reply from the card's permalink; None: the card is where the user looks."""


class Targets:
    """Chooses between the channel and the user's direct messages."""

    def __init__(self, messages: SlackMessages, authorization: Authorization, bot_user: UserId) -> None:
        self._messages = messages
        self._authorization = authorization
        self._bot_user = bot_user

    async def resolve(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        """Return the channel, or the user's direct messages if there is none. Raises any SlackError."""
        return channel if channel.id else await self._messages.open_dm(channel, user)

    async def choose(self, channel: ChannelRef, user: UserId, *, private: bool) -> Target:
        """Return the target of a card requested in the channel: direct messages if it is private or the channel is
        shared. Raises any SlackError."""
        is_kept = not private and await self._authorization.is_shared(channel)
        if not private and not is_kept:
            return Target(channel)
        direct = await self._messages.open_dm(channel, user)
        if direct == channel:
            return Target(channel)
        if is_kept:
            return Target(direct, partial(replies.kept_private, bot_user=self._bot_user))
        return Target(direct, replies.sent_privately)

    def not_had(self, error: SlackError) -> str:
        """Return the reply to a user whose direct messages can't be opened."""
        log.warning("no direct message", code=error.code)
        if isinstance(error, NotAllowedHere | ScopeMissing):
            return replies.not_allowed_anywhere(self._bot_user)
        return replies.slack_busy()


def parse_private_flag(text: str) -> tuple[str, bool]:
    """Split the last word `private` off a question. Return the rest, and whether the word was there."""
    words = text.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].lower() == PRIVATE:
        return words[0], True
    return text, False


def has_private_flag(text: str) -> bool:
    """Return whether `private` is a word of a text that names a job."""
    return PRIVATE in (word.strip(".,;:!()[]*_`'\"").lower() for word in text.split())


LOOKS_AGAIN_AFTER_SECONDS = (0.2, 0.4, 0.8)
"""When to read a card again that can be clicked already but is not stored yet."""


async def load_clicked_card(
    cards: CardRepository, card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> Card | None:
    """Load the card a button belongs to. The id in the button is untrusted: channel and ts must match.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    known = await cards.get(card_id)
    for seconds in LOOKS_AGAIN_AFTER_SECONDS:
        if (
            known is None
            or known.channel != channel
            or known.message_ts is not None
            or known.post_started_at is None
        ):
            break
        await asyncio.sleep(seconds)
        known = await cards.get(card_id)
    return known if known is not None and known.is_message(channel, message_ts) else None
