"""Polls one Omni job and keeps all of its Slack cards up to date until it ends.

track(job) ── polls ──► Omni            once per job, for any number of cards
    └─ for each card:
         removed      ──► take the answer back, close
         not posted   ──► post it once
         running      ──► schedule an update
         no followers ──► final update, close; if the card shows the end already, as below
         ended        ──► final update, complete the thread, close
         too long     ──► final update with a Resume button, close
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from bot.delivery import CardLifecycle, ChartFetcher
from bot.domain import (
    Card,
    CardChanged,
    Job,
    JobEvent,
    JobId,
    JobState,
    JobStatus,
    OmniBusy,
    OmniError,
    OmniUnreachable,
    OwnershipLost,
    SlackError,
    StoreUnavailable,
    UserId,
    was_missed_by_webhooks,
)
from bot.domain.ports import CardRepository, OmniJobs, QueuePosition
from bot.tasks import RecentKeys, loop_time
from bot.tracking.conversation_list import ListHint
from bot.tracking.durations import TypicalDurations
from bot.tracking.events import JobEventBus
from bot.tracking.tracked_job import ENDS_WITHIN_SECONDS, PATIENCE_SECONDS, TrackedJob, log_change
from bot.user_limit import acting_user

log = structlog.get_logger()

TROUBLE_SHOWS_AFTER_SECONDS = 60.0
"""How long Omni may fail before a card that an earlier process updated says so."""
SYNCED_AT_ONCE = 25
"""How many cards of one job are rendered before other tasks get the event loop: about 25 ms."""
RETRY_SECONDS = 5.0
"""How long a card waits after its task failed, and a job after the database did."""
LONGEST_QUESTION = 400
"""How many characters of a question the lists of jobs can show."""
MOST_QUESTIONS = 2_000
"""How many ended jobs' questions are remembered."""
MAX_RESULT_FAILURES = 3
"""After so many failed polls a job ends without the answer that only its result has."""


class JobTracker:
    """Tracks jobs. The runner starts and stops it; the table of cards says what is to be done."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        cards: CardRepository,
        lifecycle: CardLifecycle,
        now: Callable[[], datetime],
        durations: TypicalDurations,
        follow_for_seconds: float,
        events: JobEventBus | None = None,
        list_hint: ListHint | None = None,
    ) -> None:
        """`follow_for_seconds`: how long a job that does not end is tracked, unless a user resumes it.
        `events`: Omni's webhook events; None: there are none. `list_hint`: learns the ends that polls find."""
        self._omni = omni
        self._cards = cards
        self._lifecycle = lifecycle
        self._now = now
        self._durations = durations
        self._follow_for_seconds = follow_for_seconds
        self._events = events or JobEventBus()
        self._list_hint = list_hint or ListHint()
        self._events.listen(self._on_event, self._fall_back_to_polling)
        self._tracked: dict[JobId, TrackedJob] = {}
        self._ended_questions: RecentKeys[JobId, str] = RecentKeys(MOST_QUESTIONS)
        """The beginnings of the questions of jobs that are no longer tracked here."""

    def question_of(self, job: JobId) -> str:
        """The beginning of a job's question, as far as this process has seen it; empty if it has not. Never stored."""
        tracked = self._tracked.get(job)
        if tracked is not None and tracked.status.job is not None:
            return tracked.status.job.prompt[:LONGEST_QUESTION]
        return self._ended_questions.get(job, "")

    def state_of(self, job: JobId) -> JobState | None:
        """The last known state of a job; None if it is unknown, or not tracked by this process."""
        tracked = self._tracked.get(job)
        return tracked.status.job.state if tracked and tracked.status.job else None

    @property
    def states(self) -> Sequence[JobState | None]:
        """The last known state of each job that this process tracks."""
        return [self.state_of(job) for job in self._tracked]

    def polled_jobs(self) -> Sequence[TrackedJob]:
        """The running jobs that are polled in turn, since no webhooks are expected about them."""
        return [
            tracked
            for tracked in self._tracked.values()
            if not tracked.relies_on_events and not tracked.status.is_final
        ]

    @property
    def jobs(self) -> int:
        """How many jobs this process tracks."""
        return len(self._tracked)

    async def track(self, job: JobId, wake: asyncio.Event) -> None:
        """Track a job until none of its cards is open.

        `wake`: set by callers that changed the job's cards; set here when something else is to be done.

        Raises:
            OwnershipLost: another tracker has taken the job over.
        """
        tracked = self._tracked[job] = TrackedJob(job, wake, ChartFetcher(self._omni, job))
        try:
            while await self._sync_cards(tracked):
                await wake.wait()
                self._on_poll_result(tracked)
        finally:
            if question := self.question_of(job):
                self._ended_questions[job] = question
            del self._tracked[job]
            tracked.chart.cancel()
            for task in (tracked.poll, *tracked.card_tasks.values()):
                if task is not None:
                    task.cancel()

    async def _sync_cards(self, tracked: TrackedJob) -> bool:
        """Start what is to be done now for each open card; False once there is nothing left."""
        tracked.wakeup.clear()
        # Noted before the table is read: tasks that run now may change what it says.
        busy = set(tracked.card_tasks)
        try:
            cards = await self._load_cards(tracked)
        except StoreUnavailable as error:
            log.warning("cards not read", job=tracked.job, reason=str(error))
            asyncio.get_running_loop().call_later(RETRY_SECONDS, tracked.wakeup.set)
            return True
        if not cards and not tracked.card_tasks:
            # A caller that adds a card from here on sets the event, now or before the runner sees this return.
            return tracked.wakeup.is_set()
        self._on_cancel_request(tracked, cards)
        self._schedule_poll(tracked, cards)
        for number, card in enumerate(cards, start=1):
            if card.id not in busy:
                self._sync_card(tracked, card)
            elif card.removed_by is not None and card.id not in tracked.removing:
                # The task may wait for the chart for minutes, and can go on no further than its next write.
                tracked.cancel_card_task(card.id)
            if number % SYNCED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return True

    async def _load_cards(self, tracked: TrackedJob) -> Sequence[Card]:
        if tracked.token is not None:
            return await self._cards.open_cards(tracked.job, tracked.token)
        tracked.token, cards = await self._cards.claim(tracked.job)
        return cards

    def _sync_card(self, tracked: TrackedJob, card: Card) -> None:
        status = tracked.status
        if card.removed_by is not None and card.message_ts is not None:
            if not tracked.awaiting_first_result:
                removing = self._lifecycle.remove_answer(card, card.message_ts, status)
                self._start_card_task(tracked, card, removing)
                tracked.removing.add(card.id)
        elif card.message_ts is None:
            if not card.followers:
                self._start_card_task(tracked, card, self._cards.remove(card))
            elif not tracked.awaiting_first_result:
                self._start_card_task(tracked, card, self._lifecycle.post(card, status))
        elif not card.followers and not card.ended:
            self._start_card_task(
                tracked, card, self._lifecycle.close_unfollowed(card, card.message_ts, status)
            )
        elif status.is_final or (card.ended and self._is_followed_for_too_long(card)):
            self._start_card_task(
                tracked, card, self._lifecycle.finalize(card, card.message_ts, status, tracked.chart)
            )
        elif self._is_followed_for_too_long(card) and (
            status.job is not None or self._silent_for_long(status)
        ):
            self._start_card_task(tracked, card, self._lifecycle.pause(card, card.message_ts, status))
        elif tracked.is_about_to_end:
            return
        elif status.job is not None or (self._silent_for_long(status) and card.outcome is None):
            self._lifecycle.schedule_update(card, card.message_ts, status)

    def _is_followed_for_too_long(self, card: Card) -> bool:
        return (self._now() - card.tracked_since).total_seconds() > self._follow_for_seconds

    def _silent_for_long(self, status: JobStatus) -> bool:
        since = status.failing_since
        return since is not None and (self._now() - since).total_seconds() > TROUBLE_SHOWS_AFTER_SECONDS

    def _start_card_task(self, tracked: TrackedJob, card: Card, step: Coroutine[Any, Any, None]) -> None:
        """Run a step that takes time in the background; the card is synced again when it is done."""
        task = asyncio.create_task(self._run_card_task(card, step), name=f"sync {card.id}")
        tracked.card_tasks[card.id] = task

        def done(_: asyncio.Task[None]) -> None:
            tracked.card_tasks.pop(card.id, None)
            tracked.removing.discard(card.id)
            tracked.wakeup.set()

        task.add_done_callback(done)

    async def _run_card_task(self, card: Card, step: Coroutine[Any, Any, None]) -> None:
        """Keep a failure from affecting other cards; after a pause the table says what is left to do."""
        try:
            await step
        except OwnershipLost:
            log.info("card left to another tracker", card=card.id)
        except CardChanged:
            log.info("card changed meanwhile", card=card.id)
        except (StoreUnavailable, SlackError) as error:
            log.warning("card not synced", card=card.id, reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            log.exception("card not synced", card=card.id)
            await asyncio.sleep(RETRY_SECONDS)

    def _on_cancel_request(self, tracked: TrackedJob, cards: Sequence[Card]) -> None:
        if not any(card.cancelled_by for card in cards):
            tracked.cancel_asked_at = None
        elif tracked.cancel_asked_at is None:
            tracked.cancel_asked_at = loop_time()
            tracked.poll_now()

    def _schedule_poll(self, tracked: TrackedJob, cards: Sequence[Card]) -> None:
        """Start the next poll unless one is pending or none is needed."""
        if tracked.poll is not None or tracked.status.is_final:
            return
        is_first, tracked.is_first_poll = tracked.is_first_poll, False
        if is_first:
            self._init_status(tracked, cards)
        at_once = is_first and tracked.status.job is None
        new = next((card for card in cards if card.message_ts is None), None) if at_once else None
        asker = None if new is None else new.requester
        tracked.poll = asyncio.create_task(
            self._poll(tracked, at_once=at_once, asker=asker), name=f"poll {tracked.job}"
        )
        tracked.poll.add_done_callback(lambda _: tracked.wakeup.set())
        if asker is not None or any(card.removed_by for card in cards):
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, tracked.wakeup.set)

    def _init_status(self, tracked: TrackedJob, cards: Sequence[Card]) -> None:
        """Set what is known about a job before its first poll here."""
        is_own = any(card.asked_by_bot for card in cards)
        # A webhook may have reported its end while the table was read.
        tracked.relies_on_events = is_own and self._events.is_trusted and tracked.end_reported_at is None
        begun = self._events.submitted_job(tracked.job)
        if any(card.message_ts is not None for card in cards):
            # A card that joined late may have none.
            history = max((card.history for card in cards), key=lambda history: len(history.recent))
            tracked.status = JobStatus(was_seen_before=True, past=history)
            tracked.polled_at -= max((self._now() - card.requested_at).total_seconds() for card in cards)
        elif begun is not None and tracked.relies_on_events:
            tracked.status = tracked.status.with_snapshot(begun, self._now(), self._durations.quartiles)
        elif is_own:
            tracked.status = JobStatus(was_seen_before=True)
        if (end := self._events.reported_end(tracked.job)) is not None:
            tracked.apply_event(end)

    async def _poll(self, tracked: TrackedJob, *, at_once: bool, asker: UserId | None) -> JobStatus:
        """Poll once, when due and let through by the rate limiter. `asker`: the user who waits, if any."""
        acting_user.set(asker)
        if not at_once:
            await tracked.wait_until_due(self._now())
        urgent, tracked.is_urgent = asker is not None or tracked.is_urgent, False
        position = tracked.next_position()
        asked_at = loop_time()
        try:
            job = await self._omni.status(tracked.job, urgent=urgent, position=position)
            if job.state is JobState.COMPLETE and job.answer is None:
                is_patient = tracked.status.failures < MAX_RESULT_FAILURES
                job = await self._with_result(job, urgent=urgent, is_patient=is_patient)
        except OmniError as error:
            log.info("no status", job=tracked.job, error=type(error).__name__, reason=str(error))
            return tracked.status.with_error(error, self._now(), loop_time())
        except StoreUnavailable as error:
            trouble = OmniUnreachable(f"budget not reached: {error}")
            return tracked.status.with_error(trouble, self._now(), loop_time())
        finally:
            tracked.polled_at = asked_at if position.passed_at is None else position.passed_at
        await self._lifecycle.prepare(job)
        return tracked.status.with_snapshot(job, self._now(), self._durations.quartiles)

    async def _with_result(self, job: Job, *, urgent: bool, is_patient: bool) -> Job:
        """Read the answer from the job's result, where its status has none. Raises OmniUnreachable or OmniBusy while
        patient; any other failure leaves the job without an answer."""
        try:
            position = QueuePosition(loop_time(), has_moved=True)
            result = await self._omni.result(job.id, urgent=urgent, position=position)
        except OmniError as error:
            if is_patient and isinstance(error, OmniUnreachable | OmniBusy):
                raise
            log.info("no result", job=job.id, error=type(error).__name__, reason=str(error))
            return job
        return replace(job, answer=result.message, answer_is_cut=result.message_is_cut)

    def _on_poll_result(self, tracked: TrackedJob) -> None:
        """Take over the result of a finished poll."""
        if tracked.poll is None or not tracked.poll.done():
            return
        before, tracked.status = tracked.status, tracked.poll.result()
        tracked.poll = None
        log_change(tracked.job, before, tracked.status)
        job = tracked.status.job
        if job is None or tracked.status.error is not None:
            return
        self._note_delivering(tracked, job)
        self._detect_missed_webhook(tracked, before.job, job)
        tracked.clear_moved()
        if job.state.is_final:
            self._durations.record(job)
            was_running = before.job is not None and not before.job.state.is_final
            if was_running and not tracked.relies_on_events:
                self._list_hint.record_end(job)

    def _detect_missed_webhook(self, tracked: TrackedJob, before: Job | None, job: Job) -> None:
        """Poll normally again if the job has progressed without a webhook."""
        if not tracked.relies_on_events or not was_missed_by_webhooks(before, job, self._now()):
            return
        tracked.fall_back_to_polling()
        if job.state.is_final or not tracked.has_received_event:
            self._events.record_missed(job.id)

    def _note_delivering(self, tracked: TrackedJob, job: Job) -> None:
        if job.state is not JobState.DELIVERING:
            tracked.delivering_since = None
        elif tracked.delivering_since is None:
            tracked.delivering_since = loop_time()
            asyncio.get_running_loop().call_later(ENDS_WITHIN_SECONDS, tracked.wakeup.set)

    def _on_event(self, job: JobId, event: JobEvent) -> bool:
        """Take over a webhook event. False if this process does not track the job."""
        tracked = self._tracked.get(job)
        if tracked is None:
            return False
        before = tracked.status
        if tracked.apply_event(event) and tracked.status.job is not None:
            log_change(job, before, tracked.status)
            tracked.wakeup.set()
        return True

    def _fall_back_to_polling(self) -> None:
        for tracked in self._tracked.values():
            tracked.fall_back_to_polling()
