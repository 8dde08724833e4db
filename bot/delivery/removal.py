"""Takes an answer back: its card says who removed it, and the bot's replies and files in its thread are deleted.

That an answer is removed is stored first, so it goes on after a crash, and no other edit or reply follows. Each step
may be repeated. A reply that is deleted is forgotten; what can't be deleted stays stored, and can be counted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog

from bot.delivery.card_charts import ON_CARD
from bot.delivery.fallback import back_off
from bot.delivery.posts import COMPLETION_REPLY, MessagePoster, PendingPost
from bot.delivery.thread import CHART, FILE
from bot.delivery.updates import MessageUpdater
from bot.domain import (
    Card,
    DeliveryUnknown,
    FileId,
    JobStatus,
    MessageGone,
    MessageTs,
    NotAllowedHere,
    OutcomeUnknown,
    ReplyKind,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    ThreadReply,
    TokenRefused,
)
from bot.domain.ports import CardRepository, RemovalRepository, SlackMessages
from bot.rendering import card as card_module

log = structlog.get_logger()

CSV = "csv "
"""The prefix of the kind of a CSV file."""


class AnswerRemover:
    """Takes the answers of a workspace back."""

    def __init__(
        self,
        *,
        messages: SlackMessages,
        cards: CardRepository,
        removals: RemovalRepository,
        updater: MessageUpdater,
        poster: MessagePoster,
        tenant: str,
    ) -> None:
        """`tenant`: Omni's address, for chat addresses without a host."""
        self._messages = messages
        self._cards = cards
        self._removals = removals
        self._updater = updater
        self._poster = poster
        self._tenant = tenant

    async def remove(self, card: Card, ts: MessageTs, status: JobStatus) -> None:
        """Let the card say who removed its answer, and delete the replies. Raises OwnershipLost, StoreUnavailable."""
        content = card_module.render_removed(card, status, self._tenant)
        if card.is_message_gone or not await self._updater.show_final(card, ts, (content,)):
            # A card that can't be edited anymore may still be deleted.
            await self._delete(partial(self._messages.delete, card.channel, ts))
        await self._remove_replies(card, card.thread_of(ts))

    async def _remove_replies(self, card: Card, thread: MessageTs) -> None:
        is_gone = partial(self._is_gone, card, thread)
        if card.completion_reply_started_at is not None:
            completion = ThreadReply(card.completion_reply_started_at, card.completion_reply_ts)
            if await is_gone(COMPLETION_REPLY, completion):
                await self._removals.forget_completion_reply(card.id)
        replies = await self._cards.replies(card.id)
        # It takes some seconds to find those whose ts is not known.
        for kind, reply in sorted(replies.items(), key=lambda item: item[1].ts is None):
            if await is_gone(kind, reply):
                await self._removals.forget_replies(card.id, [kind])

    async def _is_gone(self, card: Card, thread: MessageTs, kind: ReplyKind, reply: ThreadReply) -> bool:
        """Delete a reply. False if it may still be there."""
        if kind == ON_CARD and reply.ts is None:
            return True  # a file that no message shows
        if is_file(kind):
            if reply.ts is None:
                await self._poster.wait_for_other_writer(reply.started_at)
                reply = (await self._cards.replies(card.id)).get(kind, reply)
            if reply.ts is None or not reply.ts.startswith("F"):
                log.warning("file not deleted", card=card.id, file=kind, reason="its id is not known")
                return False
            return await self._delete(partial(self._messages.delete_file, FileId(reply.ts)))
        if reply.ts is None:
            try:
                found = await self._poster.find_earlier(PendingPost(card, (), thread, reply.started_at, kind))
            except MessageGone:
                return True
            except (DeliveryUnknown, NotAllowedHere) as error:
                log.warning("reply not deleted", card=card.id, reply=kind, reason=type(error).__name__)
                return False
            if found is None:
                return True
            return await self._delete(partial(self._messages.delete, card.channel, found))
        return await self._delete(partial(self._messages.delete, card.channel, reply.ts))

    async def _delete(self, request: Callable[[], Awaitable[None]]) -> bool:
        """Delete, however long Slack takes to answer. False if it refuses."""
        failures = 0
        while True:
            try:
                await request()
            except SlackBusy as error:
                await asyncio.sleep(error.retry_after_seconds)
            except (SlackUnreachable, OutcomeUnknown, TokenRefused) as error:
                failures = await back_off(error, failures)
            except SlackError as error:
                log.warning("reply not deleted", code=error.code)
                return False
            else:
                return True


def is_file(kind: ReplyKind) -> bool:
    """Whether a reply of that kind is a file."""
    return kind in (FILE, CHART, ON_CARD) or kind.startswith(CSV)


def count_left(card: Card, replies: Mapping[ReplyKind, ThreadReply]) -> int:
    """How many replies of a removed answer may still be there."""
    return len(replies) + (card.completion_reply_started_at is not None)
