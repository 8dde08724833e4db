"""Take an answer back: its requester, the user who shared it, or an admin removes it.

The removal is stored first. The tracker of the job carries it out, also after a crash, and this reports how it went.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.delivery import ARRIVES_WITHIN_SECONDS, count_left
from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelRef,
    JobId,
    MessageGone,
    MessageTs,
    Refused,
    SlackError,
    StoreUnavailable,
    UserId,
)
from bot.domain.ports import CardRepository, RemovalRepository, SlackMessages
from bot.log import Act, audit
from bot.rendering import answer_replies, replies
from bot.services.intents import Response, SavedRequest
from bot.services.targets import load_clicked_answer

log = structlog.get_logger()

LOOKS_AGAIN_AFTER_SECONDS = 0.5


class RemoveService:
    """Use case: remove an answer."""

    def __init__(
        self,
        *,
        messages: SlackMessages,
        cards: CardRepository,
        removals: RemovalRepository,
        authorization: Authorization,
        start: Callable[[JobId], Awaitable[None]],
    ) -> None:
        """`start` makes sure that a job is tracked."""
        self._messages = messages
        self._cards = cards
        self._removals = removals
        self._authorization = authorization
        self._start = start

    async def refusal(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> str | None:
        """Return why the user can't remove the answer of the clicked card; None: they can."""
        checked = await self._check(card_id, channel, message_ts, user)
        return checked if isinstance(checked, str) else None

    async def remove(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> SavedRequest | Response:
        """Remove the answer of a card. The ids are untrusted: channel and ts must match."""
        card = await self._check(card_id, channel, message_ts, user)
        if isinstance(card, str):
            return card
        try:
            if not await self._removals.request(card.id, user):
                return answer_replies.removed_before()  # by a click at the same time
        except StoreUnavailable as error:
            log.error("removal not stored", card=card_id, reason=str(error))
            return replies.storage_down()
        audit(Act.REMOVE, user, channel, "removed", job=card.job)
        return SavedRequest(lambda: self._outcome(card))

    async def _check(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> Card | str:
        """Users who lost access can still take back what they showed, so only the user counts."""
        try:
            card = await load_clicked_answer(self._cards, card_id, channel, message_ts)
        except Refused as error:
            return error.reply
        except StoreUnavailable as error:
            log.error("card not read", card=card_id, reason=str(error))
            return replies.storage_down()
        if not card.ended:
            return replies.nothing_to_show_here()
        if not self._authorization.can_manage(user, card):
            audit(Act.REMOVE, user, channel, "refused: not theirs", job=card.job)
            return answer_replies.not_removable()
        return card

    async def _outcome(self, card: Card) -> str:
        """Wait until the answer is removed, and return the reply."""
        await self._start(card.job)
        try:
            async with asyncio.timeout(ARRIVES_WITHIN_SECONDS):
                left = await self._count_left(await self._closed(card))
        except (TimeoutError, StoreUnavailable) as error:
            log.info("removal not seen to end", card=card.id, reason=type(error).__name__)
            return answer_replies.removing()
        if left:
            audit(Act.REMOVE, card.requester, card.channel, f"not deleted: {left}", job=card.job)
        return answer_replies.removed(left)

    async def _closed(self, card: Card) -> Card:
        """Wait until the tracker, in this process or another, has closed the card."""
        while True:
            there = await self._cards.get(card.id)
            if there is None or there.closed_at is not None:
                return there or card
            await asyncio.sleep(LOOKS_AGAIN_AFTER_SECONDS)

    async def _count_left(self, card: Card) -> int:
        """How many messages and files could not be deleted, the card among them."""
        left = count_left(card, await self._cards.replies(card.id))
        if not card.is_message_gone or card.message_ts is None:
            return left
        try:
            await self._messages.permalink(card.channel, card.message_ts)
        except MessageGone:
            return left
        except SlackError as error:
            log.info("removed card not looked up", card=card.id, code=error.code)
        return left + 1
