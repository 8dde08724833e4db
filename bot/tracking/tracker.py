"""The heart: one coroutine per Omni job asks how it stands and keeps every card of it current to the end.

follow(job) ──looks──► Omni             once per job, however many cards
    └─ tends each watch:
         no card yet ──► post it once
         running     ──► wish for the newest look (the drawing decides when)
         nobody left ──► last look, close; once the card shows the end, as below
         ended       ──► last look, what belongs into its thread, close
         too long    ──► a look that says so, with a button to go on, close
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from bot.delivery.cards import Cards
from bot.delivery.charts import Chart
from bot.domain.cards import UserId, Watch
from bot.domain.errors import (
    BoardError,
    ClaimLost,
    OmniError,
    OmniUnreachable,
    StoreUnavailable,
    WatchChanged,
)
from bot.domain.jobs import Job, JobEvent, JobId, JobState, Sight, is_untold
from bot.domain.ports.omni import Omni
from bot.domain.ports.storage import Watches
from bot.rendering import answer
from bot.tracking.durations import Learning
from bot.tracking.events import JobEvents
from bot.tracking.poll_schedule import LastLook, pause_seconds, worth
from bot.tracking.tracked_job import PATIENCE_SECONDS, Followed, log_change
from bot.user_limit import act_for

log = structlog.get_logger()

TROUBLE_SHOWS_AFTER_SECONDS = 60.0
"""How long Omni may be silent before a card that a former process drew is replaced by one that says so."""
TENDED_AT_ONCE = 25
"""How many cards of one job are rendered before others get the event loop: about 25 ms."""
RETRY_SECONDS = 5.0
"""How long a watch rests after a chore failed, and a job after the database did."""


class Follower:
    """Follows jobs. Start and stop are the runner's; the table of watches says what is to be done."""

    def __init__(
        self,
        *,
        omni: Omni,
        watches: Watches,
        cards: Cards,
        now: Callable[[], datetime],
        learning: Learning,
        follow_for_seconds: float,
        events: JobEvents | None = None,
    ) -> None:
        """`follow_for_seconds`: how long a job that does not end is looked after, unless somebody asks for more.
        `events`: what Omni tells by itself; None: nothing."""
        self._omni = omni
        self._watches = watches
        self._cards = cards
        self._now = now
        self._learning = learning
        self._follow_for_seconds = follow_for_seconds
        self._events = events or JobEvents()
        self._events.listen(self._hear, self._doubt_events)
        self._follows: dict[JobId, Followed] = {}

    def state_of(self, job: JobId) -> JobState | None:
        """How a job stood when Omni last said so; None for one that this process does not follow, or not yet."""
        follow = self._follows.get(job)
        return follow.sight.job.state if follow and follow.sight.job else None

    @property
    def states(self) -> Sequence[JobState | None]:
        """How the jobs stand that this process follows, each as `state_of` says."""
        return [self.state_of(job) for job in self._follows]

    @property
    def jobs(self) -> int:
        """How many jobs this process follows."""
        return len(self._follows)

    async def follow(self, job: JobId, wake: asyncio.Event) -> None:
        """Follow a job until none of its watches is open.

        Args:
            job: which.
            wake: set by whoever changed the job's watches; set here when something else is to be done.

        Raises:
            ClaimLost: another follow has taken the job over.
        """
        follow = self._follows[job] = Followed(job, wake, Chart(self._omni, job))
        try:
            while await self._tend_all(follow):
                await wake.wait()
                self._take_in(follow)
        finally:
            del self._follows[job]
            follow.chart.cancel()
            for task in (follow.look, *follow.chores.values()):
                if task is not None:
                    task.cancel()

    async def _tend_all(self, follow: Followed) -> bool:
        """Start what is to be done now for each open watch; False once there is nothing left."""
        follow.wake.clear()
        # Noted before the table is read: what was under way then has changed what the table says.
        busy = set(follow.chores)
        try:
            watches = await self._read(follow)
        except StoreUnavailable as error:
            log.warning("watches not read", job=follow.job, reason=str(error))
            asyncio.get_running_loop().call_later(RETRY_SECONDS, follow.wake.set)
            return True
        if not watches and not follow.chores:
            # Whoever adds a watch from here on sets the event, now or before the runner sees us return.
            return follow.wake.is_set()
        self._mind_cancelling(follow, watches)
        self._look_again(follow, watches)
        for number, watch in enumerate(watches, start=1):
            if watch.id not in busy:
                self._tend(follow, watch)
            if number % TENDED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return True

    async def _read(self, follow: Followed) -> Sequence[Watch]:
        if follow.claim is not None:
            return await self._watches.open_watches(follow.job, follow.claim)
        follow.claim, watches = await self._watches.claim(follow.job)
        return watches

    def _tend(self, follow: Followed, watch: Watch) -> None:
        sight = follow.sight
        if watch.card is None:
            if not watch.followers:
                self._start(follow, watch, self._watches.remove(watch))
            elif not follow.is_patient:
                self._start(follow, watch, self._cards.post(watch, sight))
        elif not watch.followers and not watch.ended:
            self._start(follow, watch, self._cards.retire(watch, watch.card, sight))
        elif sight.is_final or (watch.ended and self._is_followed_for_too_long(watch)):
            self._start(follow, watch, self._cards.finish(watch, watch.card, sight, follow.chart))
        elif self._is_followed_for_too_long(watch) and (
            sight.job is not None or self._silent_for_long(sight)
        ):
            self._start(follow, watch, self._cards.rest(watch, watch.card, sight))
        elif sight.job is not None or (self._silent_for_long(sight) and not watch.may_show_the_end):
            self._cards.redraw(watch, watch.card, sight)

    def _is_followed_for_too_long(self, watch: Watch) -> bool:
        return (self._now() - watch.looked_after_since).total_seconds() > self._follow_for_seconds

    def _silent_for_long(self, sight: Sight) -> bool:
        since = sight.trouble_since
        return since is not None and (self._now() - since).total_seconds() > TROUBLE_SHOWS_AFTER_SECONDS

    def _start(self, follow: Followed, watch: Watch, chore: Coroutine[Any, Any, None]) -> None:
        """Run what takes its time for one watch; it is tended again when that is done."""
        task = asyncio.create_task(self._see_through(watch, chore), name=f"tend {watch.id}")
        follow.chores[watch.id] = task

        def done(_: asyncio.Task[None]) -> None:
            follow.chores.pop(watch.id, None)
            follow.wake.set()

        task.add_done_callback(done)

    async def _see_through(self, watch: Watch, chore: Coroutine[Any, Any, None]) -> None:
        """Let no failure of one watch touch the others; the table says what is left to do after a rest."""
        try:
            await chore
        except ClaimLost:
            log.info("watch left to another follow", watch=watch.id)
        except WatchChanged:
            log.info("watch changed meanwhile", watch=watch.id)
        except (StoreUnavailable, BoardError) as error:
            log.warning("watch not tended", watch=watch.id, reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            log.exception("watch not tended", watch=watch.id)
            await asyncio.sleep(RETRY_SECONDS)

    def _mind_cancelling(self, follow: Followed, watches: Sequence[Watch]) -> None:
        if not any(watch.cancelled_by for watch in watches):
            follow.cancel_asked_at = None
        elif follow.cancel_asked_at is None:
            follow.cancel_asked_at = _loop_time()
            follow.hasten()

    def _look_again(self, follow: Followed, watches: Sequence[Watch]) -> None:
        """Plan the next question to Omni unless one is planned or none is needed."""
        if follow.look is not None or follow.sight.is_final:
            return
        is_first, follow.is_first_look = follow.is_first_look, False
        if is_first:
            self._begin_looking(follow, watches)
        at_once = is_first and follow.sight.job is None
        new = next((watch for watch in watches if watch.card is None), None) if at_once else None
        asker = None if new is None else new.requester
        look = asyncio.create_task(
            self._look(follow, at_once=at_once, asker=asker), name=f"look {follow.job}"
        )
        look.add_done_callback(lambda _: follow.wake.set())
        follow.look = look
        if asker is not None:
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, follow.wake.set)

    def _begin_looking(self, follow: Followed, watches: Sequence[Watch]) -> None:
        """Take in what is known of a job before Omni is asked for it here."""
        is_own = any(watch.is_own for watch in watches)
        # Its end may have been told while the table was read.
        follow.relies_on_events = is_own and self._events.are_relied_on and follow.end_told_at is None
        begun = self._events.first_reading(follow.job)
        if any(watch.card is not None for watch in watches):
            follow.sight = Sight(seen_before=True)
            follow.looked_at -= max((self._now() - watch.asked_at).total_seconds() for watch in watches)
        elif begun is not None and follow.relies_on_events:
            follow.sight = follow.sight.read(begun, self._now())
        elif is_own:
            follow.sight = Sight(seen_before=True)
        if (end := self._events.end_of(follow.job)) is not None:
            follow.hear(end)

    def _pause_seconds(self, follow: Followed) -> float:
        return pause_seconds(follow.last_look, follow.sight.failures, self._learning.survival)

    def _worth(self, follow: Followed) -> float:
        since = _loop_time() - follow.looked_at
        return worth(follow.last_look, max(0.0, since), self._learning.survival)

    async def _look(self, follow: Followed, *, at_once: bool, asker: UserId | None) -> Sight:
        """Ask Omni once: when it is due, as soon as no other job is worth more. `asker`: who waits for it, if any."""
        act_for(asker)
        if not at_once:
            await follow.rest(partial(self._pause_seconds, follow))
        urgent, follow.is_urgent = asker is not None or follow.is_urgent, False
        try:
            job = await self._omni.status(follow.job, urgent=urgent, worth=partial(self._worth, follow))
        except OmniError as error:
            log.info("no status", job=follow.job, error=type(error).__name__, reason=str(error))
            return follow.sight.unanswered(error, self._now(), _loop_time())
        except StoreUnavailable as error:
            trouble = OmniUnreachable(f"budget not reached: {error}")
            return follow.sight.unanswered(trouble, self._now(), _loop_time())
        if job.answer:
            await asyncio.to_thread(answer.prepare, job)
        return follow.sight.read(job, self._now())

    def _executing_seconds(self, follow: Followed, job: Job) -> float:
        """For how long, as far as Omni tells; the follow knows at least since when it looks."""
        if job.state is JobState.QUEUED:
            return 0.0
        if job.begun_at is None:
            return _loop_time() - follow.started
        return max(0.0, (self._now() - job.begun_at).total_seconds())

    def _take_in(self, follow: Followed) -> None:
        """Learn from a question that has been answered since."""
        if follow.look is None or not follow.look.done():
            return
        before, follow.sight = follow.sight, follow.look.result()
        follow.look = None
        log_change(follow.job, before, follow.sight)
        job = follow.sight.job
        if job is None or follow.sight.trouble is not None:
            return
        self._note_seen(follow, job)
        self._mind_untold(follow, before.job, job)
        if job.state.is_final:
            self._learning.ended(job)

    def _mind_untold(self, follow: Followed, before: Job | None, job: Job) -> None:
        """Ask as often as of any job where it has gone on without a word of Omni's."""
        if not follow.relies_on_events or not is_untold(before, job, self._now()):
            return
        follow.distrust()
        if job.state.is_final or not follow.has_heard:
            self._events.missed(job.id)

    def _note_seen(self, follow: Followed, job: Job) -> None:
        follow.last_look = LastLook(job.state, self._executing_seconds(follow, job))
        follow.looked_at = _loop_time()

    def _hear(self, job: JobId, event: JobEvent) -> bool:
        """Take in what Omni tells of a job. False if it is not followed here."""
        follow = self._follows.get(job)
        if follow is None:
            return False
        before = follow.sight
        if follow.hear(event) and follow.sight.job is not None:
            log_change(job, before, follow.sight)
            self._note_seen(follow, follow.sight.job)
            follow.wake.set()
        return True

    def _doubt_events(self) -> None:
        for follow in self._follows.values():
            follow.distrust()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
