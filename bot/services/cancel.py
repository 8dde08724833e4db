"""Cancel a job when *Cancel job* is pressed.

The user is stored as the canceller before Omni is called, so that the cards name the user however fast the job ends. If
Omni refuses or does not answer, this is rolled back, because no cancellation may be coming.

While a request is running, later clicks wait for its response, so a hundred clicks cost one request.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.domain import (
    Authorization,
    Card,
    CardId,
    ChannelRef,
    JobId,
    JobState,
    Message,
    MessageTs,
    OmniError,
    OmniUnreachable,
    Refused,
    StoreUnavailable,
    UserId,
)
from bot.domain.ports import CardRepository, OmniQuestions
from bot.log import Act, audit, bind_job
from bot.rendering import ask_replies, replies
from bot.services.targets import load_clicked_card

log = structlog.get_logger()


class CancelService:
    """Cancels jobs for users, and returns the ephemeral reply."""

    def __init__(
        self,
        *,
        omni: OmniQuestions,
        cards: CardRepository,
        authorization: Authorization,
        start: Callable[[JobId], Awaitable[None]],
    ) -> None:
        """`start` makes sure that a job is tracked."""
        self._omni = omni
        self._cards = cards
        self._authorization = authorization
        self._start = start
        self._running: dict[JobId, asyncio.Task[str]] = {}

    async def cancel(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> Message | None:
        """Cancel the job of a card. The id in the button is untrusted: channel and ts must match."""
        try:
            return Message(await self._cancel(card_id, channel, message_ts, user))
        except Refused as error:
            return Message(error.reply)
        except StoreUnavailable as error:
            log.error("cancellation not stored", card=card_id, reason=str(error))
            return Message(replies.storage_down())

    async def _cancel(self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId) -> str:
        await self._authorization.check(user, channel)
        card = await load_clicked_card(self._cards, card_id, channel, message_ts)
        if card is None:
            audit(Act.CANCEL, user, channel, "refused: no such card")
            return replies.nothing_to_show_here()
        bind_job(card.job)
        if not self._authorization.can_manage(user, await self._cards.first_card(card.job) or card):
            audit(Act.CANCEL, user, channel, "refused: not theirs", job=card.job)
            return replies.not_yours()
        if card.ended:
            return ask_replies.already_ended()
        running = self._running.get(card.job)
        if running is not None:
            audit(Act.CANCEL, user, channel, "joined a running cancellation", job=card.job)
        # A click whose task is cancelled must not end the request that other clicks wait for.
        return await asyncio.shield(running or self._begin(card, user))

    def _begin(self, card: Card, user: UserId) -> "asyncio.Task[str]":
        task = asyncio.create_task(self._call_omni(card, user), name=f"cancel {card.job}")
        self._running[card.job] = task

        def done(_: object) -> None:
            del self._running[card.job]
            if not task.cancelled():
                # Retrieved here, so that asyncio does not log the error if every caller was cancelled.
                task.exception()

        task.add_done_callback(done)
        return task

    async def _call_omni(self, card: Card, user: UserId) -> str:
        await self._cards.set_canceller(card.job, user, instead_of=None)
        try:
            state = await self._omni.cancel(card.job)
        except OmniError as error:
            log.info("job not cancelled", job=card.job, error=type(error).__name__)
            await self._roll_back(card, user, f"failed: {type(error).__name__}")
            is_unknown = isinstance(error, OmniUnreachable)
            return ask_replies.cancel_unconfirmed() if is_unknown else ask_replies.not_cancelled(error)
        except StoreUnavailable:
            # From the rate limiter, which is in the database too: Omni was not called.
            await self._roll_back(card, user, "failed: StoreUnavailable")
            raise
        if state.is_final and state is not JobState.CANCELLED:
            await self._roll_back(card, user, "already ended")
            return ask_replies.already_ended()
        is_cancelled = state is JobState.CANCELLED
        outcome = "cancelled" if is_cancelled else "stops after current step"
        audit(Act.CANCEL, user, card.channel, outcome, job=card.job)
        await self._start(card.job)
        return ask_replies.cancelled() if is_cancelled else ask_replies.stops_after_current_step()

    async def _roll_back(self, card: Card, user: UserId, outcome: str) -> None:
        """Remove the canceller from the cards, unless an earlier click stored one, and poll the job again."""
        audit(Act.CANCEL, user, card.channel, outcome, job=card.job)
        if card.cancelled_by is None:
            try:
                await self._cards.set_canceller(card.job, None, instead_of=user)
            except StoreUnavailable as error:
                log.warning("cancellation not rolled back", job=card.job, reason=str(error))
        await self._start(card.job)
