"""Keeps the cards in Slack as they should look, inside the workspace's budget of edits.

Cards are wanted faster than Slack takes edits, so this holds one wish per card: a newer one replaces an
older one that was not sent. The queue therefore grows with the number of cards, never with time.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from bot.delivery.fallback import BlockSupport
from bot.domain import (
    Card,
    CardId,
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
"""Slack advises at most one edit of a message in 3 s. Source: docs.slack.dev/ai/developing-agents."""
LONGEST_BACK_OFF_SECONDS = 60.0
FAILURES_TO_DOUBT = 3
"""After so many internal errors of Slack's in a row it may be the form that it breaks over."""


@dataclass(slots=True)
class _PendingUpdate:
    """One card: what it shows, what it should show, and when it may be edited next."""

    watch: Card
    ts: MessageTs
    shown: str | None
    """The fingerprint of what Slack holds; None if nobody can tell."""
    wanted: tuple[Message, ...] = ()
    """The forms of the newest wish, richest first; empty when the card looks as it should."""
    fingerprints: tuple[str, ...] = ()
    plainer: int = 0
    """How many of the forms Slack has refused."""
    last: asyncio.Future[bool] | None = None
    """Set once the wish is the last one; resolved when Slack has taken it."""
    ends: bool = False
    """Whether that last wish says how the job ended."""
    not_before: float = 0.0
    failures: int = 0
    in_flight: bool = False
    is_unanswered: bool = False
    """An edit may have been taken, or may be on its way still."""
    are_ends_unanswered: bool = False
    """Each edit without an answer says how the job ended."""
    sent: tuple[Message, ...] = ()
    """The forms of the wish that is under way, or was last."""

    def want(self, forms: tuple[Message, ...]) -> bool:
        """Wish for a look. Whether another wish is dropped for it that was never sent."""
        fingerprints = tuple(form.fingerprint for form in forms)
        if self.wanted and fingerprints == self.fingerprints:
            return False
        is_one_dropped = bool(self.wanted) and self.wanted is not self.sent
        self.wanted, self.fingerprints, self.plainer = forms, fingerprints, 0
        self.rest_if_right()
        return is_one_dropped

    def rest_if_right(self) -> None:
        """Drop the wish if Slack holds it; while an edit is under way nobody can tell."""
        if not self.in_flight and self.shown in self.fingerprints:
            self.wanted = ()

    def leave_unanswered(self, *, ends: bool) -> None:
        self.shown = None
        self.are_ends_unanswered = ends and (self.are_ends_unanswered or not self.is_unanswered)
        self.is_unanswered = True

    def settle(self, taken: bool) -> None:
        if self.last is not None and not self.last.done():
            self.last.set_result(taken)


class MessageUpdater:
    """Edits cards. `show` is a wish that a later one may replace, `finish` one that is seen through."""

    def __init__(
        self,
        messages: SlackMessages,
        cards: CardRepository,
        limiter: RateLimiter,
        block_support: BlockSupport,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._messages = messages
        self._watches = cards
        self._limiter = limiter
        self._block_support = block_support
        self._metrics = metrics
        self._cards: dict[CardId, _PendingUpdate] = {}
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many cards do not look as they should yet."""
        return sum(1 for card in self._cards.values() if card.wanted)

    def schedule_update(self, watch: Card, ts: MessageTs, forms: tuple[Message, ...]) -> None:
        """Wish the card to look like the first of `forms` that Slack takes. Costs nothing if it does already."""
        card = self._cards.get(watch.id)
        if card is None or card.ts != ts:
            card = self._cards[watch.id] = _PendingUpdate(watch, ts, watch.shown_fingerprint)
        card.watch = watch  # with the claim of the follow that wishes
        if watch.is_stale and not card.in_flight:
            card.shown = None
        if card.last is None:
            if card.want(forms):
                self._metrics.edit_coalesced()
            self._changed.set()

    async def show_final(
        self, watch: Card, ts: MessageTs, forms: tuple[Message, ...], *, ended: bool = False
    ) -> bool:
        """Give the card its last look and wait, however long, until Slack has taken it.

        `ended`: the look says how the job ended, which is stored together with it.

        Returns whether the card shows it; False if the card can't be edited any more. Raises ClaimLost.
        """
        await self._see_last_look_through(watch, ts)
        self.schedule_update(watch, ts, forms)
        card = self._cards[watch.id]
        if not card.wanted:
            self._forget(card)
            return True
        card.last, card.ends = asyncio.get_running_loop().create_future(), ended
        try:
            return await card.last
        except asyncio.CancelledError:
            # Like any other wish from now on: only the next try finds out whether an edit came too late.
            card.last, card.ends = None, False
            raise
        finally:
            if not (card.in_flight or card.is_unanswered):
                self._forget(card)

    async def _see_last_look_through(self, card: Card, ts: MessageTs) -> None:
        """Of two last looks the one comes after the other: Retry can be pressed before Slack has answered the first."""
        while (
            (before := self._cards.get(card.id)) is not None and before.ts == ts and before.last is not None
        ):
            await asyncio.wait({before.last})
            self._forget(before)

    def _forget(self, card: _PendingUpdate) -> None:
        if self._cards.get(card.watch.id) is card:
            del self._cards[card.watch.id]

    async def run(self) -> None:
        """Draw until cancelled; what is not drawn by then is drawn after the next start."""
        async with asyncio.TaskGroup() as edits:
            while True:
                await self._wait_for_a_due_card()
                try:
                    await self._limiter.acquire(urgent=self._is_a_last_look_due())
                except StoreUnavailable as error:
                    log.warning("edit budget not reached", reason=str(error))
                    await asyncio.sleep(1.0)
                    continue
                if (card := self._next_due()) is not None:
                    card.in_flight = True
                    edits.create_task(self._edit(card), name=f"edit {card.watch.id}")

    async def _wait_for_a_due_card(self) -> None:
        while self._next_due() is None:
            self._changed.clear()
            times = [card.not_before for card in self._cards.values() if card.wanted and not card.in_flight]
            wait_seconds = min(times) - loop_time() if times else None
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()

    def _is_a_last_look_due(self) -> bool:
        card = self._next_due()
        return card is not None and card.last is not None

    def _next_due(self) -> _PendingUpdate | None:
        """The card to edit now: last looks first, then the one that has waited longest."""
        now = loop_time()
        due = (c for c in self._cards.values() if c.wanted and not c.in_flight and c.not_before <= now)
        return min(due, key=lambda card: (card.last is None, card.not_before), default=None)

    async def _edit(self, card: _PendingUpdate) -> None:
        forms, plainer, ends = card.wanted, card.plainer, card.ends
        message, card.sent = forms[plainer], forms
        bind_job(card.watch.job)
        try:
            # Stored first: should the outcome not be stored, nobody may rely on the look before it. And nobody
            # draws whom another process has replaced.
            await self._watches.mark_shown(card.watch, card.ts, None, ended=ends)
            await self._messages.update(card.watch.channel, card.ts, message)
        except PayloadRefused as error:
            self._try_plainer(card, forms, error)
        except (MessageGone, NotAllowedHere) as error:
            await self._gone(card, error)
        except SlackBusy as error:
            await self._pause(card, error)
        except SlackUnreachable as error:
            self._back_off(card, error.code)
        except SlackError as error:
            card.leave_unanswered(ends=ends)
            self._back_off(card, error.code)
            self._doubt(card, forms, error)
            await self._find_out(card)
        except OwnershipLost as error:
            await self._lose(card, error, is_late=card.is_unanswered, ends=card.are_ends_unanswered)
        except StoreUnavailable as error:
            log.warning("edit not begun", watch=card.watch.id, reason=str(error))
            self._back_off(card, "storage")
        except Exception:
            # A defect of ours over one card must not end the drawing of all the others.
            log.exception("edit broke", watch=card.watch.id)
            card.leave_unanswered(ends=ends)
            self._back_off(card, "defect")
        else:
            if plainer:
                self._block_support.record_refusal(forms[plainer - 1], message)
            await self._taken(card, message)
        finally:
            card.in_flight = False
            card.rest_if_right()
            if not card.wanted:
                card.settle(True)
            self._changed.set()

    async def _taken(self, card: _PendingUpdate, message: Message) -> None:
        card.not_before = loop_time() + BETWEEN_EDITS_SECONDS
        card.failures = 0
        card.shown = message.fingerprint
        self._metrics.edit_sent()
        card.is_unanswered = False
        is_the_end = card.ends and card.shown in card.fingerprints
        store = partial(self._watches.mark_shown, card.watch, card.ts, card.shown, ended=is_the_end)
        try:
            if not await retry_until_stored(card.watch.id, store):
                card.shown = None  # a late edit of a process that was replaced may cover it
        except OwnershipLost as error:
            await self._lose(card, error, is_late=True, ends=is_the_end)
        except StoreUnavailable as error:
            # Costs one needless edit later.
            log.warning("look not stored", watch=card.watch.id, reason=str(error))

    async def _lose(self, card: _PendingUpdate, error: OwnershipLost, *, is_late: bool, ends: bool) -> None:
        """Leave the card to whoever follows its job by now. `is_late`: an edit of ours may have come after their last
        one. `ends`: it says how the job ended, so it covers no end."""
        log.info("card left to another follow", watch=card.watch.id)
        card.wanted = ()
        if card.last is not None and not card.last.done():
            card.last.set_exception(error)
        self._forget(card)
        if not is_late:
            return
        try:
            doubt = partial(self._watches.mark_stale, card.watch.id, card.ts, is_end=ends)
            await retry_until_stored(card.watch.id, doubt)
        except StoreUnavailable as unavailable:
            log.error("late edit not mended", watch=card.watch.id, reason=str(unavailable))

    async def _find_out(self, card: _PendingUpdate) -> None:
        """Look at once whether the card is another follow's by now, which an edit that lay on its way may overtake."""
        try:
            await self._watches.reload(card.watch)
        except OwnershipLost as error:
            await self._lose(card, error, is_late=True, ends=card.are_ends_unanswered)
        except StoreUnavailable as error:
            # Found out before the next edit.
            log.warning("claim not looked at", watch=card.watch.id, reason=str(error))

    async def _gone(self, card: _PendingUpdate, error: SlackError) -> None:
        log.info("card gone", watch=card.watch.id, code=error.code)
        card.wanted = ()
        card.settle(False)
        self._forget(card)
        try:
            await self._watches.mark_message_gone(card.watch.id, card.ts)
        except StoreUnavailable as unavailable:
            # Slack says so again at the next edit.
            log.warning("gone card not stored", watch=card.watch.id, reason=str(unavailable))

    async def _pause(self, card: _PendingUpdate, error: SlackBusy) -> None:
        card.not_before = loop_time() + error.retry_after_seconds
        try:
            await self._limiter.pause(error.retry_after_seconds)
        except StoreUnavailable as unavailable:
            log.warning("edit budget not paused", reason=str(unavailable))

    def _try_plainer(self, card: _PendingUpdate, forms: tuple[Message, ...], error: PayloadRefused) -> None:
        log.warning("card refused", watch=card.watch.id, code=error.code, form=card.plainer)
        if forms is not card.wanted:
            return  # a newer wish has come meanwhile, and starts with its richest form
        if card.plainer + 1 < len(forms):
            card.plainer += 1
        else:
            self._back_off(card, error.code)

    def _doubt(self, card: _PendingUpdate, forms: tuple[Message, ...], error: SlackError) -> None:
        """Try a plainer form once Slack has broken over this one a few times."""
        is_doubtful = isinstance(error, OutcomeUnknown) and error.may_be_the_content
        if is_doubtful and card.failures % FAILURES_TO_DOUBT == 0 and forms is card.wanted:
            card.plainer = min(card.plainer + 1, len(forms) - 1)

    def _back_off(self, card: _PendingUpdate, code: str) -> None:
        card.failures += 1
        seconds = backoff_seconds(card.failures, longest=LONGEST_BACK_OFF_SECONDS)
        card.not_before = loop_time() + seconds
        log.warning("card not drawn", watch=card.watch.id, code=code, again_in_seconds=seconds)
