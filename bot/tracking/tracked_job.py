"""One job while it is followed: what is known of it, what is under way for it, and what others say of it."""

import asyncio
from collections.abc import Callable

import structlog

from bot.delivery import ChartFetcher
from bot.domain import CardId, EventKind, FencingToken, JobEvent, JobId, JobNotFound, JobState, JobStatus
from bot.tasks import loop_time
from bot.tracking.poll_schedule import UNTOLD_SECONDS, LastPoll

log = structlog.get_logger()

PATIENCE_SECONDS = 2.0
"""How long a first answer from Omni is waited for before a card is posted without one."""
WATCHED_CLOSELY_SECONDS = 10.0
"""A job that somebody asks to cancel, or that Omni says has ended, is looked at right away, and then often for so
long: people wait for it."""
BETWEEN_CLOSE_LOOKS_SECONDS = 2.0
"""How often that is."""


class TrackedJob:
    """What a follow keeps in mind. Times are the loop's."""

    def __init__(self, job: JobId, wake: asyncio.Event, chart: ChartFetcher) -> None:
        self.job = job
        self.wakeup = wake
        self.chart = chart
        self.token: FencingToken | None = None
        self.status = JobStatus()
        self.is_first_poll = True
        self.poll: asyncio.Task[JobStatus] | None = None
        self.is_urgent = False
        """Whether the next look is to be made at once."""
        self.card_tasks: dict[CardId, asyncio.Task[None]] = {}
        self.started = loop_time()
        self.last_poll = LastPoll(JobState.QUEUED, 0.0)
        self.polled_at = self.started
        """When the job was last seen; before the first time, since when somebody has waited for that."""
        self.cancel_asked_at: float | None = None
        """When the follow learned that somebody asks to cancel the job."""
        self.relies_on_events = False
        """Whether Omni is expected to tell how the job goes on, so that it is asked only where nothing is heard."""
        self.has_received_event = False
        """Whether Omni has told anything of the job."""
        self.heard_at = self.started
        """When it last did."""
        self.end_reported_at: float | None = None
        """When Omni told that the job has ended."""
        self._told_at = 0.0
        """Until when, by Omni's clock, its words are known."""
        self._stirred = asyncio.Event()

    @property
    def awaiting_first_result(self) -> bool:
        """Whether a first answer may still come before a card has to be posted."""
        unknown = self.status.job is None and self.status.error is None and not self.status.is_missing
        return unknown and loop_time() < self.started + PATIENCE_SECONDS

    @property
    def _is_watched_closely(self) -> bool:
        """Whether the job's end may come any moment, and people wait for it."""
        since = [at for at in (self.cancel_asked_at, self.end_reported_at) if at is not None]
        return bool(since) and loop_time() <= max(since) + WATCHED_CLOSELY_SECONDS

    def poll_now(self) -> None:
        """Let the next look be made at once."""
        self.is_urgent = True
        self._stirred.set()

    def fall_back_to_polling(self) -> None:
        """Rely on no event any more, until the next one is heard."""
        self.relies_on_events = False
        self._stirred.set()

    def apply_event(self, event: JobEvent) -> bool:
        """Take in what Omni tells. Whether the sight has changed by it."""
        if self.end_reported_at is not None or self.status.is_final:
            return False
        self.has_received_event, self.heard_at = True, loop_time()
        self.relies_on_events = event.kind is EventKind.PROGRESS
        if event.kind is EventKind.ENDED:
            self.end_reported_at = self.heard_at
            self.poll_now()
        self._stirred.set()
        is_news, self._told_at = event.signed_at >= self._told_at, max(event.signed_at, self._told_at)
        before = self.status
        if event.progress is not None and is_news:
            self.status = before.with_progress(event.progress)
        return self.status is not before

    async def wait_until_due(self, pause_seconds: Callable[[], float]) -> None:
        """Wait until the next look is due: after that pause, sooner where people wait, later where Omni tells by
        itself."""
        began = loop_time()
        while not self.is_urgent:
            self._stirred.clear()
            try:
                async with asyncio.timeout(max(0.0, self._due_at(began, pause_seconds()) - loop_time())):
                    await self._stirred.wait()
            except TimeoutError:
                return

    def _due_at(self, began: float, pause_seconds: float) -> float:
        if self._is_watched_closely:
            return began + min(pause_seconds, BETWEEN_CLOSE_LOOKS_SECONDS)
        if not self.relies_on_events or self.status.failures:
            return began + pause_seconds
        return max(began + pause_seconds, max(began, self.heard_at) + UNTOLD_SECONDS)


def log_change(job: JobId, before: JobStatus, after: JobStatus) -> None:
    """One line per change of state, one when trouble begins and one when it is over."""
    if after.job is not None and (before.job is None or before.job.state is not after.job.state):
        log.info("job state", job=job, state=after.job.raw_state)
    if isinstance(after.error, JobNotFound) and after.is_missing:
        log.info("no such job", job=job)
    elif after.error is not None and before.error is None:
        log.warning("omni trouble begins", job=job, error=type(after.error).__name__)
    if after.error is None and before.error is not None:
        log.info("omni trouble over", job=job)
