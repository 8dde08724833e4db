"""Where answers may be shown, and so where a new card goes: the channel, or the user's direct messages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from bot.domain import (
    Card,
    CardId,
    ChannelRef,
    ConversationInfo,
    MessageTs,
    NotAllowedHere,
    Refused,
    SlackError,
    UserId,
    is_direct,
)
from bot.domain.ports import CardRepository, SlackDirectory, SlackMessages
from bot.log import bind_job
from bot.rendering import answer_replies, replies
from bot.services.lookups import Lookups

log = structlog.get_logger()


PRIVATE = "private"
"""The last word of a question, or a word with a job id, whose card goes to the user's direct messages."""


SHARED_KNOWN_FOR_SECONDS = 60.0
"""How long an answer of Slack counts for new cards. Slack takes about 50 `conversations.info` requests a minute
(docs.slack.dev/reference/methods/conversations.info, tier 3)."""
SHARED_FRESH_FOR_SECONDS = 5.0
"""How long it counts as fresh, so that many jobs that end together in one channel cause one request."""
SHARED_WITHIN_SECONDS = 5.0
"""How long a user waits for Slack's answer."""


class SharedChannels:
    """Answers whether a channel is shared, from a cache in front of Slack."""

    def __init__(self, directory: SlackDirectory, *, allow_shared: bool) -> None:
        """`allow_shared`: the operator allows answers in shared channels, so Slack is not asked."""
        self._lookups: Lookups[ChannelRef, ConversationInfo] = Lookups(directory.conversation)
        self._allow_shared = allow_shared

    async def is_shared(self, channel: ChannelRef, *, fresh: bool = False) -> bool:
        """Return whether no answer may be posted because the channel is shared. True if Slack refuses to say, but False
        for a channel without the bot: it can't post there either.

        `fresh`: for a message that is about to be posted. Waits until Slack answers, since nothing could be posted
        before either. Without it, False after SHARED_WITHIN_SECONDS: the post checks again.
        """
        if self._allow_shared or is_direct(channel):
            return False
        known_for = SHARED_FRESH_FOR_SECONDS if fresh else SHARED_KNOWN_FOR_SECONDS
        try:
            async with asyncio.timeout(None if fresh else SHARED_WITHIN_SECONDS):
                return (await self._lookups.get(channel, known_for_seconds=known_for)).is_shared
        except TimeoutError:
            log.info("channel not known yet", channel=channel.id)
            return False
        except NotAllowedHere:
            return False
        except SlackError as error:
            log.warning("channel not known", channel=channel.id, code=error.code)
            return True


@dataclass(frozen=True, slots=True)
class Target:
    """The channel that a new card goes to."""

    channel: ChannelRef
    say: Callable[[str | None], str] | None = None
    """Makes the reply from the card's permalink; None: the card is where the user looks."""


IsShared = Callable[[ChannelRef], Awaitable[bool]]
"""Whether a channel is shared. `SharedChannels.is_shared`, with or without `fresh`."""


class Targets:
    """Chooses between the channel and the user's direct messages."""

    def __init__(self, messages: SlackMessages, is_shared: IsShared) -> None:
        self._messages = messages
        self._is_shared = is_shared

    async def resolve(self, channel: ChannelRef, user: UserId) -> ChannelRef:
        """Return the channel, or the user's direct messages if there is none. Raises any SlackError."""
        return channel if channel.id else await self._messages.open_dm(channel, user)

    async def choose(self, channel: ChannelRef, user: UserId, *, private: bool) -> Target:
        """Return the target of a card requested in the channel: direct messages if it is private or the channel is
        shared. Raises any SlackError."""
        is_kept = not private and await self._is_shared(channel)
        if not private and not is_kept:
            return Target(channel)
        direct = await self._messages.open_dm(channel, user)
        if direct == channel:
            return Target(channel)
        if is_kept:
            return Target(direct, replies.kept_private)
        return Target(direct, replies.sent_privately)


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


async def load_clicked_answer(
    cards: CardRepository, card_id: CardId, channel: ChannelRef, message_ts: MessageTs
) -> Card:
    """As `load_clicked_card`, for what a user does with an answer.

    Raises:
        Refused: there is no such card, or its answer was removed.
        StoreUnavailable: the database did not answer.
    """
    card = await load_clicked_card(cards, card_id, channel, message_ts)
    if card is None:
        raise Refused(replies.nothing_to_show_here())
    bind_job(card.job)
    if card.removed_by is not None:
        raise Refused(answer_replies.removed_before())
    return card


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
