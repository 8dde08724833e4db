"""Where a card goes that a person asks for: here, or to their direct messages, and what they are told of it."""

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
"""The last word of a command whose card is to go to the person's direct messages."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a card goes."""

    place: ChannelRef
    say: Callable[[str | None], str] | None = None
    """What to tell the person of it, given the card's permalink; None where they see for themselves."""


class Targets:
    """Chooses between the conversation and the person's direct messages."""

    def __init__(self, messages: SlackMessages, authorization: Authorization, bot_user: UserId) -> None:
        self._messages = messages
        self._authorization = authorization
        self._bot_user = bot_user

    async def resolve(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        """The place, or the person's direct messages where it is none: what is begun in no conversation belongs there.
        Raises a BoardError where those can't be had."""
        return channel if channel.id else await self._messages.open_dm(channel, user)

    async def choose(self, channel: ChannelRef, user: UserId, *, private: bool) -> Target:
        """Where the card of a person's request in that place goes: to their direct messages where they wish it, or
        where people of another organisation would read the answer. Raises a BoardError where those can't be had."""
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
        """What to tell a person whose card could go nowhere but to their direct messages."""
        log.warning("no direct message", code=error.code)
        if isinstance(error, NotAllowedHere | ScopeMissing):
            return replies.not_allowed_anywhere(self._bot_user)
        return replies.slack_busy()


def parse_private_flag(text: str) -> tuple[str, bool]:
    """What was typed without the last word `private`, and whether that word was there."""
    words = text.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].lower() == PRIVATE:
        return words[0], True
    return text, False


LOOKS_AGAIN_AFTER_SECONDS = (0.2, 0.4, 0.8)
"""When to look again for a card that can be pressed already and is not stored yet."""


async def load_clicked_card(
    cards: CardRepository, card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> Card | None:
    """The watch, if it is that card's. Raises StoreUnavailable."""
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
