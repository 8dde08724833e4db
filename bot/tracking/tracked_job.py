"""State of one tracked job: its status, its tasks in progress, the webhook events about it, and when it is polled."""

import asyncio
from datetime import UTC, datetime

import structlog

from bot.delivery import ChartFetcher
from bot.domain import (
    CardId,
    EventKind,
    FencingToken,
    JobEvent,
    JobId,
    JobNotFound,
    JobStatus,
)
from bot.domain.ports import QueuePosition
from bot.tasks import backoff_seconds, loop_time

log = structlog.get_logger()

PATIENCE_SECONDS = 2.0
"""How long to wait for the first poll before a card is posted without a status."""
ENDS_WITHIN_SECONDS = 5.0
"""How long to wait for the end of a job that is DELIVERING before a card shows that state: the edit would delay that of
the end. Omni doesn't document how long the state lasts."""
WATCHED_CLOSELY_SECONDS = 10.0
"""A job whose cancellation was requested, or whose end was reported by a webhook, is polled at once and then often for
this long: users wait for it."""
FASTEST_SECONDS = 2.0
"""The interval in a job's first minute, and while its users wait for it to end."""
LONGEST_BACKOFF_SECONDS = 60.0
"""The longest pause after failed polls."""
MAX_SILENCE_SECONDS = 30.0
"""How long after the last webhook a job is polled. Progress events come every few seconds, so polls are rare; during a
single query of minutes there are two per minute. It is also how much later an end is noticed whose webhook was lost."""


def poll_interval_seconds(age_seconds: float, failures: int = 0) -> float:
    """Seconds from one poll of a job to the next, if the budget allows. Otherwise the rate limiter decides.

    Omni advises 2 to 5 seconds. Source: its OpenAPI document, `GET /api/v1/ai/jobs/{jobId}`.

    Args:
        age_seconds: for how long the job has been executing, or queued if it has not begun.
        failures: number of consecutive failed polls; each doubles the pause.
    """
    if failures:
        return backoff_seconds(failures, first=FASTEST_SECONDS, longest=LONGEST_BACKOFF_SECONDS)
    if age_seconds < 60.0:
        return FASTEST_SECONDS
    return 3.0 if age_seconds < 600.0 else 5.0


class TrackedJob:
    """The tracker's state of one job. Times are monotonic."""

    def __init__(self, job: JobId, wake: asyncio.Event, chart: ChartFetcher) -> None:
        self.job = job
        self.wakeup = wake
        self.chart = chart
        self.token: FencingToken | None = None
        self.status = JobStatus()
        self.is_first_poll = True
        self.poll: asyncio.Task[JobStatus] | None = None
        self.is_urgent = False
        """Whether the next poll is to be made at once."""
        self.has_moved = False
        """Whether the list of conversations showed that the job has moved since its last poll."""
        self._position: QueuePosition | None = None
        """The position of the pending or latest poll in the queue of the rate limiter."""
        self.card_tasks: dict[CardId, asyncio.Task[None]] = {}
        self.removing: set[CardId] = set()
        """The cards whose task takes the answer back."""
        self.started = loop_time()
        self.polled_at = self.started
        """When the last poll was sent; before the first poll, since when users have waited for it."""
        self.cancel_asked_at: float | None = None
        """When the tracker learned that a user asked to cancel the job."""
        self.relies_on_events = False
        """Whether webhooks are expected, so that the job is polled only if none arrives."""
        self.has_received_event = False
        """Whether a webhook about the job has arrived."""
        self.last_event_at = self.started
        """When the last one arrived."""
        self.end_reported_at: float | None = None
        """When a webhook reported the end of the job."""
        self.delivering_since: float | None = None
        """Since when the job has been seen DELIVERING."""
        self._newest_signed_at = 0.0
        """The newest signature time of an event, by Omni's clock."""
        self._schedule_changed = asyncio.Event()

    @property
    def awaiting_first_result(self) -> bool:
        """Whether to wait for the first poll before a card is posted."""
        unknown = self.status.job is None and self.status.error is None and not self.status.is_missing
        return unknown and loop_time() < self.started + PATIENCE_SECONDS

    def cancel_card_task(self, card_id: CardId) -> None:
        """Cancel a card's task, if one still runs."""
        if (task := self.card_tasks.get(card_id)) is not None:
            task.cancel()

    def next_position(self) -> QueuePosition:
        """Return the position of the next poll in the queue of the rate limiter."""
        is_first = self.has_moved or self._is_watched_closely
        self._position = QueuePosition(self.polled_at, has_moved=is_first)
        return self._position

    @property
    def sent_at(self) -> float:
        """When the latest poll was sent, which may still be unanswered."""
        passed_at = self._position.passed_at if self._position else None
        return self.polled_at if passed_at is None else max(self.polled_at, passed_at)

    def mark_moved(self) -> None:
        """Make the next poll before those of jobs that may not have moved."""
        self.has_moved = True
        self._go_first()
        self._schedule_changed.set()

    def clear_moved(self) -> None:
        """Take note of a successful poll. If it was sent before the job was marked as moved, the next one counts."""
        if self._position is None or self._position.has_moved:
            self.has_moved = False

    def _go_first(self) -> None:
        if self._position is not None and self._position.passed_at is None:
            self._position.has_moved = True

    @property
    def is_about_to_end(self) -> bool:
        """Whether the job has just been seen DELIVERING, so that its end is worth waiting for."""
        since = self.delivering_since
        return since is not None and loop_time() < since + ENDS_WITHIN_SECONDS

    @property
    def _is_watched_closely(self) -> bool:
        """Whether the job may end any moment and users wait for it."""
        since = [at for at in (self.cancel_asked_at, self.end_reported_at) if at is not None]
        return bool(since) and loop_time() <= max(since) + WATCHED_CLOSELY_SECONDS

    def poll_now(self) -> None:
        """Make the next poll at once; one that waits in the queue goes before the others."""
        self.is_urgent = True
        self._go_first()
        self._schedule_changed.set()

    def fall_back_to_polling(self) -> None:
        """Rely on no webhook until the next one arrives."""
        self.relies_on_events = False
        self._schedule_changed.set()

    def apply_event(self, event: JobEvent) -> bool:
        """Take over a webhook event. Returns whether it changes the status."""
        if self.end_reported_at is not None or self.status.is_final:
            return False
        self.has_received_event, self.last_event_at = True, loop_time()
        self.relies_on_events = event.kind is EventKind.PROGRESS
        if event.kind is EventKind.ENDED:
            self.end_reported_at = self.last_event_at
            self.poll_now()
        self._schedule_changed.set()
        is_newest = event.signed_at >= self._newest_signed_at
        self._newest_signed_at = max(event.signed_at, self._newest_signed_at)
        before = self.status
        if event.progress is not None and is_newest:
            self.status = before.with_progress(event.progress, datetime.fromtimestamp(event.signed_at, UTC))
        return self.status is not before

    async def wait_until_due(self, now: datetime) -> None:
        """Wait until the next poll is due: after the interval, sooner if users wait, later if webhooks are expected.

        `now`: aware UTC.
        """
        job = self.status.job
        if job is None or job.begun_at is None:
            age_seconds = loop_time() - self.started
        else:
            age_seconds = (now - job.begun_at).total_seconds()
        interval_seconds = poll_interval_seconds(age_seconds, self.status.failures)
        while not self.is_urgent:
            self._schedule_changed.clear()
            try:
                async with asyncio.timeout(max(0.0, self._due_at(interval_seconds) - loop_time())):
                    await self._schedule_changed.wait()
            except TimeoutError:
                return

    def _due_at(self, interval_seconds: float) -> float:
        if self._is_watched_closely or (self.has_moved and not self.status.failures):
            return self.polled_at + min(interval_seconds, FASTEST_SECONDS)
        if not self.relies_on_events or self.status.failures:
            return self.polled_at + interval_seconds
        heard_at = max(self.polled_at, self.last_event_at)
        return max(self.polled_at + interval_seconds, heard_at + MAX_SILENCE_SECONDS)


def log_change(job: JobId, before: JobStatus, after: JobStatus) -> None:
    """Log each change of state, and when errors begin and end."""
    if after.job is not None and (before.job is None or before.job.state is not after.job.state):
        log.info("job state", job=job, state=after.job.raw_state)
    if isinstance(after.error, JobNotFound) and after.is_missing:
        log.info("no such job", job=job)
    elif after.error is not None and before.error is None:
        log.warning("omni trouble begins", job=job, error=type(after.error).__name__)
    if after.error is None and before.error is not None:
        log.info("omni trouble over", job=job)
