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
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from bot.cadence import LastLook, pause_seconds, worth
from bot.cards import Cards
from bot.chart import Chart
from bot.errors import BoardError, ClaimLost, JobNotFound, OmniError, OmniUnreachable, StoreUnavailable
from bot.job import Job, JobId, JobState
from bot.learning import Learning
from bot.ports import Omni, Watches
from bot.sight import Sight
from bot.watch import Claim, Watch, WatchId

log = structlog.get_logger()

PATIENCE_SECONDS = 2.0
"""How long a first answer from Omni is waited for before a card is posted without one."""
TROUBLE_SHOWS_AFTER_SECONDS = 60.0
"""How long Omni may be silent before a card that a former process drew is replaced by one that says so."""
TENDED_AT_ONCE = 25
"""How many cards of one job are rendered before others get the event loop: about 25 ms."""
CANCEL_WATCHED_SECONDS = 10.0
BETWEEN_LOOKS_AT_A_CANCEL_SECONDS = 2.0
"""A job that somebody asks to cancel is looked at right away, and then this often for so long: people wait for it."""
RETRY_SECONDS = 5.0
"""How long a watch rests after a chore failed, and a job after the database did."""


class _Follow:
    """One followed job: what is known of it and what is under way for it."""

    def __init__(self, job: JobId, wake: asyncio.Event, chart: Chart) -> None:
        self.job = job
        self.wake = wake
        self.chart = chart
        self.claim: Claim | None = None
        self.sight = Sight()
        self.is_first_look = True
        self.look: asyncio.Task[Sight] | None = None
        self.hurry = asyncio.Event()
        """Set when the next look is to be made at once."""
        self.cancel_asked_at: float | None = None
        """The loop's time at which the follow learned that somebody asks to cancel the job."""
        self.chores: dict[WatchId, asyncio.Task[None]] = {}
        self.started = asyncio.get_running_loop().time()
        self.last_look = LastLook(JobState.QUEUED, 0.0)
        self.looked_at = self.started
        """The loop's time of the last look; before the first, since when somebody has waited for one."""

    @property
    def is_patient(self) -> bool:
        """Whether a first answer may still come before a card has to be posted."""
        unknown = self.sight.job is None and self.sight.trouble is None and not self.sight.missing
        return unknown and asyncio.get_running_loop().time() < self.started + PATIENCE_SECONDS


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
    ) -> None:
        """`follow_for_seconds`: how long a job that does not end is looked after, unless somebody asks for more."""
        self._omni = omni
        self._watches = watches
        self._cards = cards
        self._now = now
        self._learning = learning
        self._follow_for_seconds = follow_for_seconds
        self._follows: dict[JobId, _Follow] = {}

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
        """
        follow = self._follows[job] = _Follow(job, wake, Chart(self._omni, job))
        try:
            while await self._tend_all(follow):
                await wake.wait()
                self._take_in(follow)
        except ClaimLost:
            log.info("follow left to another", job=job)
        finally:
            del self._follows[job]
            follow.chart.cancel()
            for task in (follow.look, *follow.chores.values()):
                if task is not None:
                    task.cancel()

    async def _tend_all(self, follow: _Follow) -> bool:
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

    async def _read(self, follow: _Follow) -> Sequence[Watch]:
        if follow.claim is not None:
            return await self._watches.open_watches(follow.job, follow.claim)
        follow.claim, watches = await self._watches.claim(follow.job)
        return watches

    def _tend(self, follow: _Follow, watch: Watch) -> None:
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
        elif sight.job is not None or self._silent_for_long(sight):
            self._cards.redraw(watch, watch.card, sight)

    def _is_followed_for_too_long(self, watch: Watch) -> bool:
        return (self._now() - watch.looked_after_since).total_seconds() > self._follow_for_seconds

    def _silent_for_long(self, sight: Sight) -> bool:
        since = sight.trouble_since
        return since is not None and (self._now() - since).total_seconds() > TROUBLE_SHOWS_AFTER_SECONDS

    def _start(self, follow: _Follow, watch: Watch, chore: Coroutine[Any, Any, None]) -> None:
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
        except (StoreUnavailable, BoardError) as error:
            log.warning("watch not tended", watch=watch.id, reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            log.exception("watch not tended", watch=watch.id)
            await asyncio.sleep(RETRY_SECONDS)

    def _mind_cancelling(self, follow: _Follow, watches: Sequence[Watch]) -> None:
        if not any(watch.cancelled_by for watch in watches):
            follow.cancel_asked_at = None
        elif follow.cancel_asked_at is None:
            follow.cancel_asked_at = asyncio.get_running_loop().time()
            follow.hurry.set()

    def _look_again(self, follow: _Follow, watches: Sequence[Watch]) -> None:
        """Plan the next question to Omni unless one is planned or none is needed."""
        if follow.look is not None or follow.sight.is_final:
            return
        is_first, follow.is_first_look = follow.is_first_look, False
        urgent = is_first and any(watch.card is None for watch in watches)
        if is_first and any(watch.card is not None for watch in watches):
            follow.sight = Sight(seen_before=True)
            follow.looked_at -= max((self._now() - watch.asked_at).total_seconds() for watch in watches)
        elif is_first and any(watch.is_own for watch in watches):
            follow.sight = Sight(seen_before=True)
        pause = 0.0 if is_first else self._pause_seconds(follow)
        look = asyncio.create_task(self._look(follow, pause, urgent=urgent), name=f"look {follow.job}")
        look.add_done_callback(lambda _: follow.wake.set())
        follow.look = look
        if urgent:
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, follow.wake.set)

    def _pause_seconds(self, follow: _Follow) -> float:
        pause = pause_seconds(follow.last_look, follow.sight.failures, self._learning.survival)
        asked_at = follow.cancel_asked_at
        if asked_at is None or asyncio.get_running_loop().time() > asked_at + CANCEL_WATCHED_SECONDS:
            return pause
        return min(pause, BETWEEN_LOOKS_AT_A_CANCEL_SECONDS)

    def _worth(self, follow: _Follow) -> float:
        since = asyncio.get_running_loop().time() - follow.looked_at
        return worth(follow.last_look, max(0.0, since), self._learning.survival)

    async def _look(self, follow: _Follow, pause: float, *, urgent: bool) -> Sight:
        """Ask Omni once: after the pause, as soon as no other job is worth more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await follow.hurry.wait()
        urgent = urgent or follow.hurry.is_set()
        follow.hurry.clear()
        try:
            job = await self._omni.status(follow.job, urgent=urgent, worth=partial(self._worth, follow))
        except OmniError as error:
            log.info("no status", job=follow.job, error=type(error).__name__, reason=str(error))
            return follow.sight.unanswered(error, self._now())
        except StoreUnavailable as error:
            return follow.sight.unanswered(OmniUnreachable(f"budget not reached: {error}"), self._now())
        return follow.sight.read(job, self._now())

    def _executing_seconds(self, follow: _Follow, job: Job) -> float:
        """For how long, as far as Omni tells; the follow knows at least since when it looks."""
        if job.state is JobState.QUEUED:
            return 0.0
        if job.begun_at is None:
            return asyncio.get_running_loop().time() - follow.started
        return max(0.0, (self._now() - job.begun_at).total_seconds())

    def _take_in(self, follow: _Follow) -> None:
        """Learn from a question that has been answered since."""
        if follow.look is None or not follow.look.done():
            return
        before, follow.sight = follow.sight, follow.look.result()
        follow.look = None
        _log_change(follow.job, before, follow.sight)
        job = follow.sight.job
        if job is None or follow.sight.trouble is not None:
            return
        follow.last_look = LastLook(job.state, self._executing_seconds(follow, job))
        follow.looked_at = asyncio.get_running_loop().time()
        if job.state.is_final:
            self._learning.ended(job)


def _log_change(job: JobId, before: Sight, after: Sight) -> None:
    """One line per change of state, one when trouble begins and one when it is over."""
    if after.job is not None and (before.job is None or before.job.state is not after.job.state):
        log.info("job state", job=job, state=after.job.raw_state)
    if isinstance(after.trouble, JobNotFound) and after.missing:
        log.info("no such job", job=job)
    elif after.trouble is not None and before.trouble is None:
        log.warning("omni trouble begins", job=job, error=type(after.trouble).__name__)
    if after.trouble is None and before.trouble is not None:
        log.info("omni trouble over", job=job)
