"""Keeps the cards in Slack up to date, within the workspace's limit of edits.

Cards change faster than Slack accepts edits, so each card has one pending update: a newer one replaces one that was not
sent. The queue therefore grows with the number of cards, never with time.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from bot.delivery.fallback import LONGEST_BACKOFF_SECONDS, BlockSupport, Variants
from bot.domain import (
    Card,
    CardId,
    JobState,
    Message,
    MessageGone,
    MessageTs,
    NotAllowedHere,
    OutcomeUnknown,
    OwnershipLost,
    PayloadRefused,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    StoreUnavailable,
)
from bot.domain.ports import NO_METRICS, CardRepository, Metrics, SlackMessages
from bot.log import bind_job
from bot.ratelimit import RateLimiter
from bot.tasks import backoff_seconds, loop_time, retry_until_stored

log = structlog.get_logger()

BETWEEN_EDITS_SECONDS = 3.0
"""The shortest pause between progress updates of a card: Slack advises at most one edit of a message in 3 s. Source:
docs.slack.dev/ai/developing-agents."""


@dataclass(slots=True)
class _PendingUpdate:
    """One card: what it shows, what it should show, and when it may be edited next."""

    card: Card
    ts: MessageTs
    shown: str | None
    """The fingerprint of what Slack holds; None if unknown."""
    wanted: Variants | None = None
    """The newest content; None when the card is up to date."""
    sent: Variants | None = None
    """The content of the edit in flight, or of the last one."""
    final: asyncio.Future[bool] | None = None
    """Set for a final update; resolved when Slack has accepted it."""
    outcome: JobState | None = None
    """How the job ended, if that final update says so."""
    is_optional: bool = False
    """Whether it is given up if Slack refuses it, and the card stays as it is."""
    not_before: float = 0.0
    """When it may be tried again after a failure."""
    progress_not_before: float = 0.0
    """When a progress update may follow the last edit. A final update doesn't wait for that."""
    failures: int = 0
    in_flight: bool = False
    is_unanswered: bool = False
    """Whether an edit may have been accepted, or may still be on its way."""
    are_ends_unanswered: bool = False
    """Whether each edit without an answer says how the job ended."""

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before progress updates."""
        return self.final is not None and not self.is_optional

    @property
    def due_at(self) -> float:
        """From when the pending update may be sent."""
        return self.not_before if self.final else max(self.not_before, self.progress_not_before)

    def set_pending(self, messages: tuple[Message, ...]) -> bool:
        """Replace the pending content. Returns whether that drops an update which was never sent."""
        new = Variants(messages)
        if self.wanted is not None and new.fingerprints == self.wanted.fingerprints:
            return False
        is_one_dropped = self.wanted is not None and self.wanted is not self.sent
        self.wanted = new
        self.clear_if_shown()
        return is_one_dropped

    def clear_if_shown(self) -> None:
        """Drop the pending content if Slack holds it; unknown while an edit is in flight."""
        if not self.in_flight and self.wanted is not None and self.shown in self.wanted.fingerprints:
            self.wanted = None

    def mark_unanswered(self, *, ends: bool) -> None:
        self.shown = None
        self.are_ends_unanswered = ends and (self.are_ends_unanswered or not self.is_unanswered)
        self.is_unanswered = True

    def resolve(self, accepted: bool) -> None:
        if self.final is not None and not self.final.done():
            self.final.set_result(accepted)


class MessageUpdater:
    """Sends progress updates, which a later one may replace, and final updates, which are retried until accepted."""

    def __init__(
        self,
        messages: SlackMessages,
        cards: CardRepository,
        limiter: RateLimiter,
        block_support: BlockSupport,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._messages = messages
        self._cards = cards
        self._limiter = limiter
        self._block_support = block_support
        self._metrics = metrics
        self._updates: dict[CardId, _PendingUpdate] = {}
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many cards are not up to date."""
        return sum(1 for update in self._updates.values() if update.wanted)

    def schedule_update(self, card: Card, ts: MessageTs, messages: tuple[Message, ...]) -> None:
        """Let the card show the first of `messages` that Slack accepts. Costs nothing if it does already."""
        update = self._updates.get(card.id)
        if update is None or update.ts != ts:
            update = self._updates[card.id] = _PendingUpdate(card, ts, card.shown_fingerprint)
        update.card = card  # with the newest fencing token
        if card.is_stale and not update.in_flight:
            update.shown = None
        if update.final is None:
            if update.set_pending(messages):
                self._metrics.edit_coalesced()
            self._changed.set()

    async def show_final(
        self,
        card: Card,
        ts: MessageTs,
        messages: tuple[Message, ...],
        *,
        outcome: JobState | None = None,
        is_optional: bool = False,
    ) -> bool:
        """Send a final update and wait, however long, until Slack has accepted it.

        `outcome`: how the job ended, if it says so. Stored before it is sent, because Omni may have deleted the job
        when the card has to be drawn again. `is_optional`: it goes after all
        other final updates, and is given up if Slack refuses it; the card is then as before. If the caller cancels an
        optional one, the card may show either until the next final update.

        Returns whether the card shows it; False if it was refused or the card can't be edited anymore. Raises
        OwnershipLost.
        """
        # Retry can be pressed before Slack has answered an earlier final update.
        while (
            (earlier := self._updates.get(card.id)) is not None
            and earlier.ts == ts
            and earlier.final is not None
        ):
            await asyncio.wait({earlier.final})
            self._forget(earlier)
        self.schedule_update(card, ts, messages)
        update = self._updates[card.id]
        if not update.wanted:
            self._forget(update)
            return True
        update.final, update.outcome = asyncio.get_running_loop().create_future(), outcome
        update.is_optional = is_optional
        self._changed.set()
        try:
            return await update.final
        except asyncio.CancelledError:
            # A progress update from now on: only the next try finds out whether an edit came too late.
            update.final, update.outcome = None, None
            if is_optional:
                update.wanted = None
            raise
        finally:
            if not (update.in_flight or update.is_unanswered):
                self._forget(update)

    def _forget(self, update: _PendingUpdate) -> None:
        if self._updates.get(update.card.id) is update:
            del self._updates[update.card.id]

    async def run(self) -> None:
        """Send updates until cancelled; pending ones are scheduled again after the next start."""
        async with asyncio.TaskGroup() as edits:
            while True:
                await self._wait_until_due()
                next_due = self._next_due()
                try:
                    await self._limiter.acquire(urgent=next_due is not None and next_due.is_urgent)
                except StoreUnavailable as error:
                    log.warning("edit budget not reached", reason=str(error))
                    await asyncio.sleep(1.0)
                    continue
                if (update := self._next_due()) is not None and update.wanted is not None:
                    update.in_flight = True
                    edits.create_task(self._edit(update, update.wanted), name=f"edit {update.card.id}")

    async def _wait_until_due(self) -> None:
        while self._next_due() is None:
            self._changed.clear()
            times = [u.due_at for u in self._updates.values() if u.wanted and not u.in_flight]
            wait_seconds = min(times) - loop_time() if times else None
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()

    def _next_due(self) -> _PendingUpdate | None:
        """The card to edit now: final updates first, then the card that has waited longest."""
        now = loop_time()
        due = (u for u in self._updates.values() if u.wanted and not u.in_flight and u.due_at <= now)
        return min(due, key=lambda update: (not update.is_urgent, update.due_at), default=None)

    async def _edit(self, update: _PendingUpdate, variants: Variants) -> None:
        message, outcome, update.sent = variants.current, update.outcome, variants
        ends = outcome is not None
        bind_job(update.card.job)
        try:
            # Stored first: should the outcome not be stored, no process may rely on the earlier content. It also fails
            # if another process owns the card.
            await self._cards.mark_shown(update.card, update.ts, None, outcome=outcome)
            await self._messages.update(update.card.channel, update.ts, message)
        except PayloadRefused as error:
            await self._on_refused(update, variants, error)
        except (MessageGone, NotAllowedHere) as error:
            await self._on_gone(update, error)
        except SlackBusy as error:
            await self._pause(update, error)
        except SlackUnreachable as error:
            self._back_off(update, error.code)
        except SlackError as error:
            update.mark_unanswered(ends=ends)
            self._back_off(update, error.code)
            if isinstance(error, OutcomeUnknown):
                variants.record_unknown(error)
            await self._check_ownership(update)
        except OwnershipLost as error:
            await self._on_lost(update, error, is_late=update.is_unanswered, ends=update.are_ends_unanswered)
        except StoreUnavailable as error:
            log.warning("edit not begun", card=update.card.id, reason=str(error))
            self._back_off(update, "storage")
        except Exception:
            # A defect over one card must not end the updates of all the others.
            log.exception("edit broke", card=update.card.id)
            update.mark_unanswered(ends=ends)
            self._back_off(update, "defect")
        else:
            variants.record_accepted(self._block_support)
            await self._on_accepted(update, message)
        finally:
            update.in_flight = False
            update.clear_if_shown()
            if not update.wanted:
                update.resolve(True)
            self._changed.set()

    async def _on_accepted(self, update: _PendingUpdate, message: Message) -> None:
        update.progress_not_before = loop_time() + BETWEEN_EDITS_SECONDS
        update.failures = 0
        update.shown = message.fingerprint
        self._metrics.edit_sent()
        update.is_unanswered = False
        is_wanted = update.wanted is not None and update.shown in update.wanted.fingerprints
        outcome = update.outcome if is_wanted else None
        store = partial(self._cards.mark_shown, update.card, update.ts, update.shown, outcome=outcome)
        try:
            if not await retry_until_stored(store, card=update.card.id):
                update.shown = None  # a late edit of a replaced process may cover it
        except OwnershipLost as error:
            await self._on_lost(update, error, is_late=True, ends=outcome is not None)
        except StoreUnavailable as error:
            # Costs one needless edit later.
            log.warning("look not stored", card=update.card.id, reason=str(error))

    async def _on_refused(self, update: _PendingUpdate, variants: Variants, error: PayloadRefused) -> None:
        if update.is_optional:
            log.info("optional edit refused", card=update.card.id, code=error.code)
        else:
            log.warning("card refused", card=update.card.id, code=error.code)
        # Newer content that was scheduled meanwhile starts with its richest variant.
        if variants is not update.wanted or variants.try_next():
            return
        if update.is_optional:
            await self._restore(update)
            update.resolve(False)
        elif update.final is not None:
            await self._on_gone(update, error)
        update.wanted = None  # the next progress update may be accepted

    async def _restore(self, update: _PendingUpdate) -> None:
        """Store again what the card shows, after an edit that had no effect."""
        if update.shown is None:
            return
        try:
            await self._cards.mark_shown(update.card, update.ts, update.shown)
        except (OwnershipLost, StoreUnavailable) as error:
            # Costs one needless edit.
            log.warning("look not stored", card=update.card.id, reason=str(error))

    async def _on_lost(
        self, update: _PendingUpdate, error: OwnershipLost, *, is_late: bool, ends: bool
    ) -> None:
        """Leave the card to its new owner.

        `is_late`: an edit of ours may have come after the owner's final one. `ends`: it says how the job ended, so it
        covers no end.
        """
        log.info("card left to another follow", card=update.card.id)
        update.wanted = None
        if update.final is not None and not update.final.done():
            update.final.set_exception(error)
        self._forget(update)
        if not is_late:
            return
        try:
            mark_stale = partial(self._cards.mark_stale, update.card.id, update.ts, is_end=ends)
            await retry_until_stored(mark_stale, card=update.card.id)
        except StoreUnavailable as unavailable:
            log.error("late edit not mended", card=update.card.id, reason=str(unavailable))

    async def _check_ownership(self, update: _PendingUpdate) -> None:
        """After an unanswered edit: if the card has a new owner, the edit may overtake the owner's."""
        try:
            await self._cards.reload(update.card)
        except OwnershipLost as error:
            await self._on_lost(update, error, is_late=True, ends=update.are_ends_unanswered)
        except StoreUnavailable as error:
            # Checked again before the next edit.
            log.warning("claim not looked at", card=update.card.id, reason=str(error))

    async def _on_gone(self, update: _PendingUpdate, error: SlackError) -> None:
        log.info("card gone", card=update.card.id, code=error.code)
        update.wanted = None
        update.resolve(False)
        self._forget(update)
        try:
            await self._cards.mark_message_gone(update.card.id, update.ts)
        except StoreUnavailable as unavailable:
            # Slack says so again at the next edit.
            log.warning("gone card not stored", card=update.card.id, reason=str(unavailable))

    async def _pause(self, update: _PendingUpdate, error: SlackBusy) -> None:
        update.not_before = loop_time() + error.retry_after_seconds
        try:
            await self._limiter.pause(error.retry_after_seconds)
        except StoreUnavailable as unavailable:
            log.warning("edit budget not paused", reason=str(unavailable))

    def _back_off(self, update: _PendingUpdate, code: str) -> None:
        update.failures += 1
        seconds = backoff_seconds(update.failures, longest=LONGEST_BACKOFF_SECONDS)
        update.not_before = loop_time() + seconds
        log.warning("card not drawn", card=update.card.id, code=code, again_in_seconds=seconds)
