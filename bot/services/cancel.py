"""What the button `Cancel job` does: asks Omni to cancel, and tells apart what may come of it.

That somebody asks is stored before Omni is asked: however fast the job then ends, its cards say who it was. It is taken
back where Omni certainly does nothing, or does not answer: the card must not promise an end that nobody has ordered.

While Omni is asked about a job, later clicks wait for the same answer, so a hundred clicks cost one request.
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
    StoreUnavailable,
    UserId,
)
from bot.domain.ports import CardRepository, OmniQuestions
from bot.log import Act, audit, bind_job
from bot.rendering import ask_replies, replies
from bot.services.targets import load_clicked_card

log = structlog.get_logger()


class CancelService:
    """Takes clicks from people. Returns the line to tell them privately, and raises nothing that a person or the
    world around can cause."""

    def __init__(
        self,
        *,
        omni: OmniQuestions,
        cards: CardRepository,
        authorization: Authorization,
        start: Callable[[JobId], Awaitable[None]],
    ) -> None:
        """`start` sees that a job is followed."""
        self._asking = omni
        self._cards = cards
        self._authorization = authorization
        self._start = start
        self._under_way: dict[JobId, asyncio.Task[str]] = {}

    async def cancel(
        self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId
    ) -> Message | None:
        """Cancel the job of a card. The watch, named by a button, must be the one of that card."""
        try:
            return Message(await self._cancel(card_id, channel, message_ts, user))
        except StoreUnavailable as error:
            log.error("cancel not stored", watch=card_id, reason=str(error))
            return Message(replies.storage_down())

    async def _cancel(self, card_id: CardId, channel: ChannelRef, message_ts: MessageTs, user: UserId) -> str:
        if (line := await self._authorization.deny_reason(user, channel)) is not None:
            return line
        known = await load_clicked_card(self._cards, card_id, channel, message_ts)
        if known is None:
            audit(Act.CANCEL, user, channel, "refused: no such card")
            return replies.nothing_to_show_here()
        bind_job(known.job)
        if not self._authorization.can_manage(user, await self._cards.first_card(known.job) or known):
            audit(Act.CANCEL, user, channel, "refused: not theirs", job=known.job)
            return replies.not_yours()
        if known.ended:
            return ask_replies.already_ended()
        under_way = self._under_way.get(known.job)
        if under_way is not None:
            audit(Act.CANCEL, user, channel, "joined a cancel under way", job=known.job)
        # A click that is given up must not end the request that others wait for.
        return await asyncio.shield(under_way or self._begin(known, user))

    def _begin(self, known: Card, user: UserId) -> "asyncio.Task[str]":
        task = asyncio.create_task(self._ask_omni(known, user), name=f"cancel {known.job}")
        self._under_way[known.job] = task

        def done(_: object) -> None:
            del self._under_way[known.job]
            if not task.cancelled():
                # Retrieve it: asyncio would log an error that every caller has given up on.
                task.exception()

        task.add_done_callback(done)
        return task

    async def _ask_omni(self, known: Card, user: UserId) -> str:
        await self._cards.set_canceller(known.job, user, instead_of=None)
        try:
            state = await self._asking.cancel(known.job)
        except OmniError as error:
            log.info("not cancelled", job=known.job, error=type(error).__name__)
            await self._take_back(known, user, f"failed: {type(error).__name__}")
            is_unknown = isinstance(error, OmniUnreachable)
            return ask_replies.cancel_unconfirmed() if is_unknown else ask_replies.not_cancelled(error)
        except StoreUnavailable:
            # The budget of requests is in the database too: Omni was not asked.
            await self._take_back(known, user, "failed: StoreUnavailable")
            raise
        if state.is_final and state is not JobState.CANCELLED:
            await self._take_back(known, user, "had ended")
            return ask_replies.already_ended()
        is_over = state is JobState.CANCELLED
        outcome = "cancelled" if is_over else "stops after its step"
        audit(Act.CANCEL, user, known.channel, outcome, job=known.job)
        await self._start(known.job)
        return ask_replies.cancelled() if is_over else ask_replies.stops_after_current_step()

    async def _take_back(self, known: Card, user: UserId, outcome: str) -> None:
        """Let the cards promise no end any more, unless they did before this click; and see how the job stands."""
        audit(Act.CANCEL, user, known.channel, outcome, job=known.job)
        if known.cancelled_by is None:
            try:
                await self._cards.set_canceller(known.job, None, instead_of=user)
            except StoreUnavailable as error:
                log.warning("cancel not taken back", job=known.job, reason=str(error))
        await self._start(known.job)
