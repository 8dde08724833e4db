"""The life of a card: posted once, updated while the job runs, given its final update, continued in its thread."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import structlog

from bot.delivery.card_charts import CardCharts, ChartFetcher, charted, is_due
from bot.delivery.fallback import BlockSupport
from bot.delivery.outcomes import CardOutcomes, CardPlacement
from bot.delivery.posts import MessagePoster, PendingPost
from bot.delivery.removal import AnswerRemover
from bot.delivery.thread import CompletionThread, answered_job
from bot.delivery.updates import MessageUpdater
from bot.domain import (
    Card,
    CardFailure,
    CardId,
    ChannelRef,
    ContentPolicy,
    DeliveryUnknown,
    Job,
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
from bot.rendering import answer
from bot.rendering import card as card_module
from bot.rendering.markdown.links import chat_link

log = structlog.get_logger()


class CardLifecycle:
    """Posts, updates and closes cards. Each method may be repeated after a crash at any point.

    Each method that gets a job's status first reduces it to what the card's channel may show.
    """

    def __init__(
        self,
        *,
        messages: SlackMessages,
        cards: CardRepository,
        failed_cards: FailedCardRepository,
        updater: MessageUpdater,
        poster: MessagePoster,
        thread: CompletionThread,
        charts: CardCharts,
        remover: AnswerRemover,
        block_support: BlockSupport,
        outcomes: CardOutcomes,
        is_shared: Callable[[ChannelRef], Awaitable[bool]],
        content_policy: ContentPolicy,
        now: Callable[[], datetime],
        tenant: str,
        asks_feedback: bool = False,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """`is_shared`: whether a channel is shared, so that no answer may be posted there. `tenant`: Omni's address,
        for chat addresses without a host. `asks_feedback`: answers have buttons for feedback."""
        self._messages = messages
        self._cards = cards
        self._failed_cards = failed_cards
        self._updater = updater
        self._poster = poster
        self._thread = thread
        self._charts = charts
        self._remover = remover
        self._block_support = block_support
        self._outcomes = outcomes
        self._is_shared = is_shared
        self._content_policy = content_policy
        self._now = now
        self._tenant = tenant
        self._asks_feedback = asks_feedback
        self._metrics = metrics

    async def prepare(self, job: Job) -> None:
        """Render an answer in a thread, since a long one takes time, before its cards and replies need it."""
        if job.answer:
            await asyncio.to_thread(answer.prepare, job, self._tenant)

    async def post(self, card: Card, status: JobStatus) -> None:
        """Post the card with the current job status, or store why there is none."""
        status = self._content_policy.visible(card.channel, status)
        if (failure := _failure(card, status)) is not None:
            await self._fail(card, failure)
            return
        if await self._is_shared(card.channel):
            await self._move_to_direct_messages(card, CardPlacement.KEPT)
            return
        try:
            await self._poster.post_once(
                PendingPost(
                    replace(card, history=status.history),
                    self._content(card, status),
                    card.thread,
                    card.post_started_at,
                    shows_end=status.has_ended,
                )
            )
        except NotAllowedHere as error:
            log.info("place closed to the bot", card=card.id, code=error.code)
            if card.shared_by is not None:  # the answer is in the direct messages from which it was shared
                await self._fail(card, CardFailure.NOWHERE, error.code)
                return
            await self._move_to_direct_messages(card, code=error.code)
        except MessageGone as error:
            if card.thread is None:
                raise
            log.info("thread gone", card=card.id, code=error.code)
            await self._cards.leave_thread(card)
        except DeliveryUnknown:
            newest = await self._cards.reload(card)
            if newest is not None and newest.message_ts is None:
                # It may be there, and would never be updated.
                await self._fail(newest, CardFailure.UNCONFIRMED)
        else:
            if status.has_ended:
                self._charts.record_answer(card)
            self._count_the_end(card, status)
            self._outcomes.resolve(card.id, CardPlacement.POSTED)

    def schedule_update(self, card: Card, ts: MessageTs, status: JobStatus) -> None:
        """Update the card to the job status, if its content changes."""
        status = self._content_policy.visible(card.channel, status)
        if not card.is_message_gone and not card.ended:
            card = replace(card, history=status.history)
            self._updater.schedule_update(card, ts, self._content(card, status))

    async def finalize(self, card: Card, ts: MessageTs, status: JobStatus, chart: ChartFetcher) -> None:
        """Send the final update, complete the thread, and close the card. In a channel that is shared by now, the end
        goes to the followers' direct messages instead."""
        status = self._content_policy.visible(card.channel, status)
        if status.has_ended and await self._is_shared(card.channel):
            await self._withhold(card, ts, status)
            return
        if status.has_ended and status.job and chat_link(status.job.chat_url, self._tenant) is None:
            log.warning("chat not linked", job=card.job, address=(status.job.chat_url or "")[:100])
        plain, job = self._content(card, status), answered_job(status)
        replies = await self._cards.replies(card.id) if job is not None else {}
        content = charted(job, plain, replies) if job is not None else plain
        taken = not card.is_message_gone and await self._show_the_end(card, ts, status, content)
        newest = await self._cards.reload(card)
        if newest is None:
            return
        if taken and job is not None and is_due(newest, replies):
            chart.start()
        if taken and await self._thread.complete(newest, ts, status, shown_before=card.ended):
            if job is not None:
                await self._charts.deliver(newest, ts, job, plain, chart, replies)
            outcome = status.outcome or newest.outcome
            has_ended = newest.ended or status.has_ended
            outcome = outcome if has_ended else JobState.UNKNOWN
            await self._cards.close(card, self._now(), ended=has_ended, outcome=outcome)
        elif not taken or await self._is_deleted(newest, ts):
            # The card is gone, and its followers must still see the end: it is posted anew.
            await self._cards.forget_message(card.id, ts)
        else:
            # The thread of the card is closed to the bot. A new card would have no better thread.
            await self._move_to_direct_messages(newest)

    async def close_unfollowed(self, card: Card, ts: MessageTs, status: JobStatus) -> None:
        """Close a card without followers, and let it say so."""
        status = self._content_policy.visible(card.channel, status)
        if not card.is_message_gone:
            content = card_module.render_unfollowed(card, status, self._tenant)
            await self._updater.show_final(card, ts, (content,))
        await self._cards.close_if_unfollowed(card, self._now())

    async def pause(self, card: Card, ts: MessageTs, status: JobStatus) -> None:
        """Stop tracking a job that does not end; its card says so, with a button to resume."""
        status = self._content_policy.visible(card.channel, status)
        content = card_module.render_paused(card, status, self._tenant)
        if not card.is_message_gone and await self._updater.show_final(card, ts, (content,)):
            log.info("card paused", card=card.id, job=card.job)
            await self._cards.close(card, self._now())
        else:
            # The followers need the button: the card is posted anew, and then paused.
            await self._cards.forget_message(card.id, ts)

    async def remove_answer(self, card: Card, ts: MessageTs, status: JobStatus) -> None:
        """Take the answer of a card back, and close it. Raises OwnershipLost."""
        await self._remover.remove(card, ts, status)
        await self._cards.close(card, self._now(), ended=True, outcome=card.outcome)

    async def _withhold(self, card: Card, ts: MessageTs, status: JobStatus) -> None:
        log.info("end withheld", card=card.id, channel=card.channel.id)
        if not card.is_message_gone:
            content = card_module.render_withheld(card, status, self._tenant)
            await self._updater.show_final(card, ts, (content,))
        await self._move_to_direct_messages(card, CardPlacement.KEPT)

    async def mark_retried(self, card: Card, status: JobStatus) -> None:
        """Let the card of an ended job say who retried its question. Raises OwnershipLost."""
        status = self._content_policy.visible(card.channel, status)
        if card.message_ts is not None and not card.is_message_gone:
            await self._updater.show_final(
                card, card.message_ts, self._content(card, status), outcome=status.outcome
            )

    async def _show_the_end(
        self, card: Card, ts: MessageTs, status: JobStatus, content: tuple[Message, ...]
    ) -> bool:
        """Whether the card says how the job ended. If it did before Omni forgot the job, it is left as it is."""
        if card.ended and not status.has_ended and not card.is_stale:
            return True
        taken = await self._updater.show_final(card, ts, content, outcome=status.outcome)
        if taken and not card.ended:
            self._count_the_end(card, status)
            if not card.may_show_the_end:
                self._charts.record_answer(card)
        return taken

    def _count_the_end(self, card: Card, status: JobStatus) -> None:
        """Measure how long the end took to be shown, unless the job had ended before it was followed."""
        ended_at = status.job.ended_at if status.job else None
        if ended_at is not None and ended_at >= card.tracked_since:
            self._metrics.end_shown(max(0.0, (self._now() - ended_at).total_seconds()))

    def _content(self, card: Card, status: JobStatus) -> tuple[Message, ...]:
        variants = card_module.render_card(
            card, status, self._now(), self._tenant, asks_feedback=self._asks_feedback
        )
        return self._block_support.supported(variants)

    async def _fail(self, card: Card, why: CardFailure, code: str = "") -> None:
        """Close a card that can't be posted. Its followers learn why from the commands that wait for it, or else by
        direct message (`report_failed_cards`)."""
        log.info("card failed", card=card.id, job=card.job, why=why.name)
        await self._failed_cards.add(card, why, self._now())
        self._outcomes.resolve(card.id, why, code)

    async def _move_to_direct_messages(
        self, card: Card, arrival: CardPlacement = CardPlacement.MOVED, *, code: str = ""
    ) -> None:
        """Replace the card by one per follower, in their direct messages. A posted card that stays in its channel keeps
        its row, so that a late edit is found and undone. `code`: as of `CardOutcome`."""
        while (newest := await self._cards.reload(card)) is not None:
            if not newest.followers:
                await self.close(newest)
                return
            moved = [own for follower in newest.people if (own := await self._direct_card(newest, follower))]
            if not moved:
                await self._fail(newest, CardFailure.NOWHERE, code)
                return
            left_at = self._now() if arrival is CardPlacement.KEPT and newest.message_ts is not None else None
            if await self._cards.move(newest, moved, left_at=left_at):
                self._outcomes.resolve(card.id, arrival, code)
                return
            # Otherwise a follower came or left meanwhile.

    async def close(self, card: Card) -> None:
        """Close a card whose last follower has left meanwhile."""
        if card.message_ts is None:
            await self._cards.remove(card)
        else:
            await self._cards.close_if_unfollowed(card, self._now())

    async def _direct_card(self, card: Card, follower: UserId) -> Card | None:
        """A card of the same job in a follower's direct messages; None if it is there already, or they are closed."""
        try:
            direct = await self._messages.open_dm(card.channel, follower)
        except (NotAllowedHere, ScopeMissing) as error:
            log.warning("no direct message", user=follower, code=error.code)
            return None
        if direct == card.channel:
            return None
        return Card(
            id=CardId(str(uuid4())),
            job=card.job,
            channel=direct,
            requester=card.requester,
            followers=(follower,),
            requested_at=card.requested_at,
            asked_by_bot=card.asked_by_bot,
            cancelled_by=card.cancelled_by,
        )

    async def _is_deleted(self, card: Card, ts: MessageTs) -> bool:
        """Whether the card has been deleted since its final update."""
        try:
            await self._messages.permalink(card.channel, ts)
        except MessageGone:
            return True
        except NotAllowedHere:
            pass  # hidden from the bot, which is not the same as deleted
        return False


def _failure(card: Card, status: JobStatus) -> CardFailure | None:
    """Why no card should be posted at all. A job that was seen before gets its card in any case, and so does one
    that the bot began."""
    if (
        card.asked_by_bot
        or status.was_seen_before
        or card.post_started_at is not None
        or status.job is not None
    ):
        return None
    if status.is_missing:
        return CardFailure.NO_SUCH_JOB
    return CardFailure.KEY_REFUSED if isinstance(status.error, KeyRefused) else None
