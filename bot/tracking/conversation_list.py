"""Lists Omni's conversations to learn which of many jobs have moved: one request looks at a hundred jobs.

The list is only a hint. A job that seems to have moved is polled before the others; its status remains the truth, and
the other jobs are still polled in turn. Omni doesn't document when a conversation's `updatedAt` moves, so the bot
measures whether the list showed the ends that it found, and stops listing where it did not.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

import structlog

from bot.domain import Job, ListRefused, OmniError, StoreUnavailable
from bot.domain.ports import OmniConversations, QueuePosition
from bot.ratelimit import RateLimiter
from bot.tasks import backoff_seconds, loop_time
from bot.tracking.tracked_job import TrackedJob

log = structlog.get_logger()

PACE_SECONDS = 2.0
"""From one list to the next, while the list is trusted."""
PACE_REQUESTS = 2.0
"""The same in requests of the budget, so that lists take at most half of a small one."""
LONG_ROUND_SECONDS = 5.0
FEWEST_JOBS = 5
"""Jobs are listed if there are so many, and polling each of them once takes longer than that."""
JUDGED_ENDS = 10
"""How many of the latest ends decide whether the list is trusted: at least half of them must have shown in it."""
FEWEST_JUDGED_ENDS = 3
"""With fewer ends the list is not given up."""
AT_THE_END = timedelta(seconds=2)
"""A conversation that was updated so long before its job ended counts as updated at the end."""
SAME_UPDATE = timedelta(seconds=0.5)
"""A conversation that was updated so soon after its job was updated for the same reason."""
WRONG_SECONDS = 1_800.0
"""How long not to list after the list did not show the ends."""
REFUSED_SECONDS = 6 * 3_600.0
"""How long not to list after Omni refused to, or answered in an undocumented form."""
LONGEST_BACKOFF_SECONDS = 60.0
TICK_SECONDS = 0.25


class ListHint:
    """Decides when to list, which jobs have moved, and whether the list is right. Does no I/O; `now` is monotonic."""

    def __init__(self) -> None:
        self.is_trusted = False
        """Whether the list has shown ends."""
        self._listed: Mapping[str, datetime] = {}
        """The newest list: when each conversation was updated."""
        self._ends: dict[str, datetime] = {}
        """When the jobs ended that were found ended since that list, by conversation."""
        self._hits: deque[bool] = deque(maxlen=JUDGED_ENDS)
        """For each of the latest ends, whether the next list after it was found showed it."""
        self._failures = 0
        self._listed_at = -math.inf
        self._not_before = -math.inf

    def wait_seconds(self, now: float, pace_seconds: float) -> float:
        """Seconds until the next list, if it is worthwhile then. Until a list has shown an end, one is only made when
        polls have found an end by which to judge it, so that a wrong list costs almost nothing."""
        if not (self.is_trusted or self._ends):
            return math.inf
        return max(self._listed_at + pace_seconds, self._not_before) - now

    def stopped_seconds(self, now: float) -> float:
        """For how long there will certainly be no list."""
        return self._not_before - now

    def record_end(self, job: Job) -> None:
        """Remember a job that was seen running, and ended when it was polled."""
        if job.conversation is not None and job.ended_at is not None:
            self._ends[job.conversation] = job.ended_at

    def compare(
        self, listed: Mapping[str, datetime], asked_at: float, jobs: Iterable[TrackedJob]
    ) -> list[TrackedJob]:
        """Take over a list that was asked for at `asked_at`, and return the jobs that have moved since their last poll.

        All times compared with each other are by Omni's clock.
        """
        before, self._listed, self._listed_at, self._failures = self._listed, listed, asked_at, 0
        self._judge(listed, asked_at)
        return [job for job in jobs if job.sent_at < asked_at and self._has_moved(job, before)]

    def _has_moved(self, tracked: TrackedJob, before: Mapping[str, datetime]) -> bool:
        job = tracked.status.job
        if job is None or job.conversation is None:
            return False
        updated = self._listed.get(job.conversation)
        if updated is None or updated == before.get(job.conversation):
            return False
        if job.updated_at is None:
            return job.conversation in before
        known = job.updated_at if job.conversation in before else job.updated_at + SAME_UPDATE
        return updated > known

    def _judge(self, listed: Mapping[str, datetime], now: float) -> None:
        """Judge the list by the ends that were found before it was asked for. A conversation that it doesn't hold, as
        with a personal token, counts as one that it didn't show: it does not help there."""
        for conversation, ended_at in self._ends.items():
            self._hits.append(conversation in listed and listed[conversation] >= ended_at - AT_THE_END)
        self._ends.clear()
        if len(self._hits) >= FEWEST_JUDGED_ENDS and 2 * sum(self._hits) < len(self._hits):
            self.stop(now, WRONG_SECONDS, f"showed {sum(self._hits)} of {len(self._hits)} ends")
        elif any(self._hits) and not self.is_trusted:
            self.is_trusted = True
            log.info("conversation list in use")

    def record_failure(self, now: float) -> None:
        """Wait before the next list: Omni did not answer."""
        self._failures += 1
        longest = LONGEST_BACKOFF_SECONDS
        self._not_before = now + backoff_seconds(self._failures, first=PACE_SECONDS, longest=longest)

    def stop(self, now: float, seconds: float, reason: str) -> None:
        """List no more for so many seconds, and begin anew then."""
        log.info("conversation list not in use", reason=reason, again_in_seconds=seconds)
        self.is_trusted = False
        self._hits.clear()
        self._ends.clear()
        self._listed = {}
        self._not_before = now + seconds


class ConversationList:
    """The list of one Omni key, for the jobs of all workspaces of this process that use the key."""

    def __init__(self) -> None:
        self.hint = ListHint()
        self._sources: list[Callable[[], Iterable[TrackedJob]]] = []
        self._lister = asyncio.Lock()

    async def run(
        self, omni: OmniConversations, limiter: RateLimiter, jobs: Callable[[], Iterable[TrackedJob]]
    ) -> None:
        """List while that is worthwhile, until cancelled. Of several workspaces with the key, one lists for all.

        `jobs`: the jobs of a workspace that can have moved, see `JobTracker.polled_jobs`.
        """
        self._sources.append(jobs)
        try:
            async with self._lister:
                while True:
                    await asyncio.sleep(max(TICK_SECONDS, self.hint.stopped_seconds(loop_time())))
                    if self._is_due(limiter):
                        await self._list(omni, limiter)
        finally:
            self._sources.remove(jobs)

    def _is_due(self, limiter: RateLimiter) -> bool:
        pace_seconds = max(PACE_SECONDS, limiter.seconds_for(PACE_REQUESTS))
        if self.hint.wait_seconds(loop_time(), pace_seconds) > 0.0:
            return False
        jobs = self._jobs()
        is_round_long = limiter.seconds_for(len(jobs)) > LONG_ROUND_SECONDS and len(jobs) >= FEWEST_JOBS
        if not is_round_long:
            # Idle requests find out whether the list can be trusted once many jobs run.
            return not self.hint.is_trusted and not limiter.waiting
        # While a moved job still waits for its poll, another list would only delay that.
        return not any(job.has_moved for job in jobs)

    def _jobs(self) -> list[TrackedJob]:
        return [job for jobs in self._sources for job in jobs()]

    async def _list(self, omni: OmniConversations, limiter: RateLimiter) -> None:
        position = QueuePosition(-math.inf, has_moved=True)
        try:
            listed = await omni.recently_updated(position=position)
        except ListRefused as error:
            self.hint.stop(loop_time(), REFUSED_SECONDS, f"refused: {error}")
        except (OmniError, StoreUnavailable) as error:
            log.debug("conversations not listed", error=type(error).__name__, reason=str(error))
            self.hint.record_failure(loop_time())
        else:
            asked_at = loop_time() if position.passed_at is None else position.passed_at
            for job in self.hint.compare(listed, asked_at, self._jobs()):
                job.mark_moved()
            limiter.reconsider()


class ConversationLists:
    """The lists of the Omni keys in use."""

    def __init__(self) -> None:
        self._lists: WeakValueDictionary[str, ConversationList] = WeakValueDictionary()

    def of(self, budget: str) -> ConversationList:
        """Return the list of the key with that budget."""
        found = self._lists.get(budget)
        if found is None:
            found = self._lists[budget] = ConversationList()
        return found
