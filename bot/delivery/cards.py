"""A card's life: posted once, redrawn while the job runs, given its last look, and gone on from in its thread."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import uuid4

import structlog

from bot.delivery.charts import ChartFetcher
from bot.delivery.direct_messages import report_failed_card
from bot.delivery.fallback import BlockSupport
from bot.delivery.outcomes import WAITED_FOR_SECONDS, CardOutcomes, CardPlacement
from bot.delivery.posts import MessagePoster, PendingPost
from bot.delivery.thread import CompletionThread
from bot.delivery.updates import MessageUpdater
from bot.domain import (
    Card,
    CardFailure,
    CardId,
    ChannelRef,
    DeliveryUnknown,
    JobState,
    JobStatus,
    KeyRefused,
    Message,
    MessageGone,
    MessageTs,
    NotAllowedHere,
    ScopeMissing,
    UserId,
)
from bot.domain.ports import NO_METRICS, CardRepository, FailedCardRepository, Metrics, SlackMessages
from bot.rendering import card

log = structlog.get_logger()


class CardLifecycle:
    """What can be done to the card of one watch. Each method may be repeated after a crash at any point."""

    def __init__(
        self,
        *,
        messages: SlackMessages,
        cards: CardRepository,
        failed_cards: FailedCardRepository,
        updater: MessageUpdater,
        poster: MessagePoster,
        thread: CompletionThread,
        block_support: BlockSupport,
        outcomes: CardOutcomes,
        is_shared: Callable[[ChannelRef], Awaitable[bool]],
        now: Callable[[], datetime],
        tenant: str,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """`is_shared`: whether no answer may be posted in a place. `tenant`: Omni's address; only chats on it become
        links."""
        self._messages = messages
        self._cards = cards
        self._failed_cards = failed_cards
        self._updater = updater
        self._poster = poster
        self._thread = thread
        self._block_support = block_support
        self._outcomes = outcomes
        self._is_shared = is_shared
        self._now = now
        self._tenant = tenant
        self._metrics = metrics

    async def post(self, card: Card, status: JobStatus) -> None:
        """Post the card in the look that the job has now, or tell its person why there is none."""
        if (refusal := await self._refusal(card, status)) is not None:
            await self._give_up(card, refusal)
            return
        if await self._is_shared(card.channel):
            await self._move_to_direct_messages(card, CardPlacement.KEPT)
            return
        try:
            await self._poster.post_once(
                PendingPost(
                    place=card.channel,
                    variants=self._content(card, status),
                    card=card.id,
                    thread=card.thread,
                    started_at=card.post_started_at,
                    save_start=partial(self._cards.mark_post_started, card),
                    save_ts=partial(self._store_card, card.id, status.has_ended),
                    is_card=True,
                )
            )
        except NotAllowedHere as error:
            log.info("place closed to the bot", watch=card.id, code=error.code)
            await self._move_to_direct_messages(card)
        except MessageGone as error:
            if card.thread is None:
                raise
            log.info("thread gone", watch=card.id, code=error.code)
            await self._cards.leave_thread(card)
        except DeliveryUnknown:
            newest = await self._cards.reload(card)
            if newest is not None and newest.message_ts is None:
                # Nobody knows whether it is there, and it would not be kept current.
                await self._give_up(newest, CardFailure.UNCONFIRMED)
        else:
            self._count_the_end(card, status)
            self._outcomes.resolve(card.id, CardPlacement.POSTED)

    def schedule_update(self, card: Card, ts: MessageTs, status: JobStatus) -> None:
        """Let the card show how the job stands, if that looks different from what it shows."""
        if not card.is_message_gone and not card.ended:
            self._updater.schedule_update(card, ts, self._content(card, status))

    async def finalize(self, card: Card, ts: MessageTs, status: JobStatus, chart: ChartFetcher) -> None:
        """Give the card its last look, post in its thread what belongs there, and close the watch. Where people of
        another organisation have come to read along, the end goes to its followers' direct messages."""
        if status.has_ended and await self._is_shared(card.channel):
            await self._withhold(card, ts, status)
            return
        taken = not card.is_message_gone and await self._show_the_end(card, ts, status)
        newest = await self._cards.reload(card)
        if newest is None:
            return
        if taken and await self._thread.complete(newest, ts, status, chart, shown_before=card.ended):
            outcome = status.job.state if status.has_ended and status.job else None
            has_ended = newest.ended or status.has_ended
            outcome = outcome if has_ended else JobState.UNKNOWN
            await self._cards.close(card, self._now(), ended=has_ended, outcome=outcome)
        elif not taken or await self._is_deleted(newest, ts):
            # The card is gone, and the outcome must still reach its people: it gets a card of its own.
            await self._cards.forget_message(card.id, ts)
        else:
            # The card is there and its thread is closed to us. A new card would have no better thread.
            await self._move_to_direct_messages(newest)

    async def close_unfollowed(self, watch: Card, ts: MessageTs, status: JobStatus) -> None:
        """Close a watch that nobody follows any more, and let its card say so."""
        if not watch.is_message_gone:
            await self._updater.show_final(watch, ts, (card.render_unfollowed(watch, status, self._tenant),))
        await self._cards.close_if_unfollowed(watch, self._now())

    async def pause(self, watch: Card, ts: MessageTs, status: JobStatus) -> None:
        """Stop looking after a job that does not end; its card says so and how to go on."""
        look = (card.render_paused(watch, status, self._tenant),)
        if not watch.is_message_gone and await self._updater.show_final(watch, ts, look):
            log.info("follow rests", watch=watch.id, job=watch.job)
            await self._cards.close(watch, self._now())
        else:
            # Its people must be able to go on: they get a card of their own, which then says so.
            await self._cards.forget_message(watch.id, ts)

    async def _withhold(self, watch: Card, ts: MessageTs, status: JobStatus) -> None:
        log.info("end withheld", watch=watch.id, channel=watch.channel.id)
        if not watch.is_message_gone:
            await self._updater.show_final(watch, ts, (card.render_withheld(watch, status, self._tenant),))
        await self._move_to_direct_messages(watch, CardPlacement.KEPT)

    async def mark_retried(self, card: Card, status: JobStatus) -> None:
        """Let the card of an ended job say who has had its question asked again. Raises ClaimLost."""
        if card.message_ts is not None and not card.is_message_gone:
            await self._updater.show_final(card, card.message_ts, self._content(card, status), ended=True)

    async def _show_the_end(self, card: Card, ts: MessageTs, status: JobStatus) -> bool:
        """Whether the card says how the job ended. One that did before Omni forgot the job is left as it is."""
        if card.ended and not status.has_ended and not card.is_stale:
            return True
        taken = await self._updater.show_final(card, ts, self._content(card, status), ended=status.has_ended)
        if taken and not card.ended:
            self._count_the_end(card, status)
        return taken

    def _count_the_end(self, card: Card, status: JobStatus) -> None:
        """Let it be known how long the end took to be shown. Nobody waited for that of a job that had ended before it
        was asked for."""
        ended_at = status.job.ended_at if status.job else None
        if ended_at is not None and ended_at >= card.tracked_since:
            self._metrics.end_shown(max(0.0, (self._now() - ended_at).total_seconds()))

    async def _store_card(
        self, card_id: CardId, ended: bool, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        """Store a post of the card. One that was found, not posted just now, may show what was known earlier."""
        is_the_end = ended and fingerprint is not None
        return await self._cards.mark_posted(card_id, tried_at, ts, fingerprint, ended=is_the_end)

    def _content(self, watch: Card, status: JobStatus) -> tuple[Message, ...]:
        return self._block_support.supported(card.render_card(watch, status, self._now(), self._tenant))

    async def _refusal(self, card: Card, status: JobStatus) -> CardFailure | None:
        """Why there should be no card at all, where the person who asked can still be told so privately. A job that
        the bot has begun itself gets its card in any case, and one that several follow: not all of them can be told."""
        if card.asked_by_bot or len(card.followers) > 1:
            return None
        if status.is_missing:
            refusal = CardFailure.NO_SUCH_JOB
        elif status.job is None and isinstance(status.error, KeyRefused):
            refusal = CardFailure.KEY_REFUSED
        else:
            return None
        is_untried = card.post_started_at is None
        return refusal if is_untried and await self._outcomes.has_waiter(card.id) else None

    async def _give_up(self, card: Card, why: CardFailure) -> None:
        """Let those who wait with a command be told in answer to it, and see to it that all others are told as well."""
        is_awaited = await self._outcomes.has_waiter(card.id)
        log.info("watch given up", watch=card.id, job=card.job, why=why.name)
        at = self._now()
        await self._failed_cards.add(card, why, at)
        self._outcomes.resolve(card.id, why)
        if not is_awaited:
            await self._tell_after_the_wait(replace(card, closed_at=at, completion_reply_started_at=None))

    async def _tell_after_the_wait(self, card: Card) -> None:
        """Tell all that were not told by the time by which nobody waits with a command any more: somebody may do so in
        another process, of which no word has come."""
        waited_seconds = (self._now() - card.tracked_since).total_seconds()
        await asyncio.sleep(max(0.0, min(WAITED_FOR_SECONDS, WAITED_FOR_SECONDS - waited_seconds)))
        if (mine := await self._failed_cards.mark_reporting(card, self._now())) is not None:
            await report_failed_card(self._failed_cards, self._messages, mine)

    async def _move_to_direct_messages(
        self, card: Card, arrival: CardPlacement = CardPlacement.MOVED
    ) -> None:
        """Put a watch per follower, each in that person's direct messages, in the place of this one. A card that stays
        where it can still be edited keeps its watch, so that an edit that comes late is found and undone."""
        while (newest := await self._cards.reload(card)) is not None:
            if not newest.followers:
                await self.close(newest)
                return
            moved = [own for follower in newest.followers if (own := await self._own_watch(newest, follower))]
            if not moved:
                await self._give_up(newest, CardFailure.NOWHERE)
                return
            left_at = self._now() if arrival is CardPlacement.KEPT and newest.message_ts is not None else None
            if await self._cards.move(newest, moved, left_at=left_at):
                self._outcomes.resolve(card.id, arrival)
                return
            # Otherwise somebody has come or gone meanwhile, and all of them count.

    async def close(self, card: Card) -> None:
        """Close a watch whose last follower has stopped following meanwhile."""
        if card.message_ts is None:
            await self._cards.remove(card)
        else:
            await self._cards.close_if_unfollowed(card, self._now())

    async def _own_watch(self, card: Card, follower: UserId) -> Card | None:
        """A watch of the same job in a follower's direct messages; None if those are closed to the bot, or tried."""
        try:
            place = await self._messages.open_dm(card.channel, follower)
        except (NotAllowedHere, ScopeMissing) as error:
            log.warning("no direct message", user=follower, code=error.code)
            return None
        if place == card.channel:
            return None
        return Card(
            id=CardId(str(uuid4())),
            job=card.job,
            channel=place,
            requester=card.requester,
            followers=(follower,),
            requested_at=card.requested_at,
            asked_by_bot=card.asked_by_bot,
            cancelled_by=card.cancelled_by,
        )

    async def _is_deleted(self, card: Card, ts: MessageTs) -> bool:
        """Whether the card has been deleted since Slack took its last look."""
        try:
            await self._messages.permalink(card.channel, ts)
        except MessageGone:
            return True
        except NotAllowedHere:
            pass  # not for us to see any more, which is not the same as deleted
        return False
