"""Rate limiter with a queue: interactive requests, then jobs known to have moved, then the job polled longest ago.

The algorithm is the generic cell rate algorithm (ITU-T I.371, GCRA): one number, the theoretical arrival time, decides
whether a request may be sent now. A `RateLimitStore` outside this process keeps it across restarts; this module keeps
the queue.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Protocol, Self

from bot.domain import Credentials, TeamId
from bot.domain.ports import QueuePosition
from bot.tasks import loop_time

WINDOW_SECONDS = 60.0

JITTER_SECONDS = 1.0
"""Margin added to the window, since the network may bunch requests."""

LATE_SECONDS = 0.5
"""If the store takes longer to answer, the next request keeps its distance from the time this one was sent."""

LONGEST_SLEEP_SECONDS = 1.0
"""The longest wait before the store is read again, since another process may have paused or freed the budget."""

SHORTEST_SLEEP_SECONDS = 0.001
"""The shortest wait, since rounding may leave one near zero."""

PLACES_LEFT = 2
"""How many places of a burst background requests leave: to a user, and to the list of conversations with the poll that
follows from it."""

POLLS_PER_CHART = 3
"""While polls wait, a chart is fetched after so many of them."""

MOVED_IN_A_ROW = 5
"""How many requests about moved jobs go before the others in a row, so that the others keep a sixth of the budget."""

SHARING_SLACK = 0.1
"""How much more than its share a process may use."""

SMALLEST_SHARE = 0.01

STARVED_AFTER = 1.5
"""A process that waits so many times its own interval counts as starved."""

LEFT_FOR = 1.75
"""For how many intervals after a request the place left to other processes' background requests stays free."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A generic cell rate: on average one request per `interval_seconds`, `tolerance_seconds` of it ahead."""

    interval_seconds: float
    tolerance_seconds: float

    @property
    def background_tolerance_seconds(self) -> float:
        """The tolerance of background requests: they leave the last places of a burst to interactive requests and to
        jobs known to have moved. This costs two requests in a busy period, and none of the rate."""
        return max(0.0, self.tolerance_seconds - PLACES_LEFT * self.interval_seconds)

    @classmethod
    def within(cls, limit: int, *, burst: int) -> Self:
        """Return the fastest rate that never puts more than `limit` requests into any 60 s.

        A window of W seconds holds at most `W / interval + burst` requests, so the interval follows from the limit. A
        burst reduces the steady rate: it is smaller for small limits, so that at least 85 % of any limit is usable.
        """
        if limit < 1:
            raise ValueError("a budget needs at least one request a minute")
        burst = max(1, min(burst, limit // 8))
        interval = (WINDOW_SECONDS + JITTER_SECONDS) / (limit - burst + 1)
        return cls(interval, (burst - 1) * interval)


class RateLimitStore(Protocol):
    """Keeps the theoretical arrival time of each budget, shared by all its users."""

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        """Take one request if it fits now. Returns 0.0, or the seconds until the next try.

        `urgent`: an interactive request. Others leave room, see `Rate.background_tolerance_seconds`.
        """
        ...

    async def pause(self, budget: str, rate: Rate, seconds: float) -> None:
        """Let no request through for so many seconds."""
        ...


class LocalRateLimitStore:
    """`RateLimitStore` in memory, for limits that a restart may reset."""

    def __init__(self) -> None:
        self._arrival = 0.0
        self._paused_until = 0.0

    async def take(self, _budget: str, rate: Rate, *, urgent: bool = True) -> float:
        """See `RateLimitStore.take`."""
        now = loop_time()
        ahead = rate.tolerance_seconds if urgent else rate.background_tolerance_seconds
        due = max(self._paused_until, self._arrival - ahead)
        if now < due:
            return due - now
        self._arrival = max(self._arrival, now) + rate.interval_seconds
        return 0.0

    async def pause(self, _budget: str, _rate: Rate, seconds: float) -> None:
        """See `RateLimitStore.pause`."""
        self._paused_until = max(self._paused_until, loop_time() + seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """A waiting request."""

    position: QueuePosition
    granted: asyncio.Future[None]

    @property
    def is_waiting(self) -> bool:
        """Whether it was neither let through nor cancelled."""
        return not self.granted.done()


_Queue = dict[_Request, None]
"""Requests in the order in which they came; some may be cancelled."""


class RateLimiter:
    """Rate limiter of one budget, shared by all processes.

    Interactive requests go first, in their order. Of background requests, those about moved jobs go first, but no more
    than MOVED_IN_A_ROW in a row; among them and among the others, the job polled longest ago.

    Nothing is reserved ahead, so an interactive request never waits for more than one background request.

    With `background_every`, neither class starves: the last of so many requests is left to a background request. If
    none waits here and other processes use the budget too, an interactive request takes that place a moment later, so
    that their background requests come first.
    """

    def __init__(
        self, store: RateLimitStore, budget: str, rate: Rate, *, background_every: int | None = None
    ) -> None:
        """`background_every`: None if interactive requests always go first."""
        self.budget = budget
        self.rate = rate
        self._background_every = background_every or inf
        self._interactive_in_a_row = 0
        self._moved_in_a_row = 0
        self._polls_in_a_row = 0
        self._last_interactive = -inf
        self._store = store
        self._interactive: _Queue = {}
        self._background: _Queue = {}
        self._sender: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._share = 1.0
        self._last_background = -inf
        self._background_since = -inf
        """Since when background requests have waited without one being sent."""
        self._not_before = -inf

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return sum(request.is_waiting for queue in (self._interactive, self._background) for request in queue)

    async def acquire(self, *, urgent: bool = False, position: QueuePosition | None = None) -> None:
        """Wait until one request may be sent. Raises the errors of the store.

        `urgent`: an interactive request. `position`: where a background request waits; at the end by default.
        """
        request = _Request(position or QueuePosition(loop_time()), asyncio.get_running_loop().create_future())
        queue = self._interactive if urgent else self._background
        if not (urgent or queue):
            self._background_since = loop_time()
        queue[request] = None
        if urgent or request.position.has_moved:
            self.reconsider()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._run(), name=f"rate limiter {self.budget}")
        try:
            await request.granted
        finally:
            queue.pop(request, None)

    def reconsider(self) -> None:
        """Take note that a position has changed."""
        self._changed.set()

    def seconds_for(self, requests: float) -> float:
        """For how long so many background requests of this process use up its share of the budget."""
        return requests * self.rate.interval_seconds / max(self._share, SMALLEST_SHARE)

    def set_share(self, part: float) -> None:
        """Set this process's part of the budget for background requests, between 0 and 1."""
        self._share = part

    async def pause(self, seconds: float) -> None:
        """Let no request through for so many seconds, after the service answered 429."""
        await self._store.pause(self.budget, self.rate, seconds)

    async def close(self) -> None:
        """Cancel all waiting requests."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        for request in (*self._interactive, *self._background):
            request.granted.cancel()

    async def _run(self) -> None:
        while self._has_waiting():
            self._changed.clear()
            asked_at = loop_time()
            try:
                wait_seconds = await self._wait_seconds()
                late_seconds = loop_time() - asked_at
                is_late = wait_seconds <= 0.0 and late_seconds > LATE_SECONDS
                if is_late:
                    # Stored before it is sent, in case this process dies: only it knows when the request was sent.
                    # Storing may take as long as the late answer did.
                    await self._store.pause(self.budget, self.rate, self.rate.interval_seconds + late_seconds)
            except Exception as error:  # noqa: BLE001 - every waiting caller gets the error
                self._fail_all(error)
                return
            if wait_seconds > 0.0:
                wait_seconds = min(max(wait_seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)
                # Shorter if a request arrives or moves that may take the last place of a burst.
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_seconds):
                        await self._changed.wait()
            elif self._has_waiting():
                self._send_next()
                if is_late:
                    self._not_before = loop_time() + self.rate.interval_seconds

    async def _wait_seconds(self) -> float:
        """Take one request. Returns 0.0, or the seconds until the next try."""
        now, is_urgent = loop_time(), self._is_next_interactive()
        early = self._not_before - now
        if not is_urgent:
            early = max(early, self._share_wait_seconds())
        if early > 0.0:
            return early
        takes_last_at = self._interactive_takes_last_at() if is_urgent else self._background_takes_last_at()
        wait_seconds = await self._store.take(self.budget, self.rate, urgent=now >= takes_last_at)
        return wait_seconds if now >= takes_last_at else min(wait_seconds, takes_last_at - now)

    def _is_next_interactive(self) -> bool:
        """Whether the next request to send is interactive. Some request waits."""
        if not self._interactive or not self._background:
            return bool(self._interactive)
        return not self._is_left or self._share_wait_seconds() > 0.0

    @property
    def _is_left(self) -> bool:
        """Whether the next place is left to a background request."""
        return self._interactive_in_a_row + 1 >= self._background_every

    def _interactive_takes_last_at(self) -> float:
        """From when an interactive request may take the last place of a burst: at once, unless the place is left to
        background requests, which may wait in another process."""
        if not self._is_left or self._share >= 1.0:
            return -inf
        return self._last_interactive + LEFT_FOR * self.rate.interval_seconds

    @property
    def _is_moved_waiting(self) -> bool:
        """Whether a request about a moved job goes next, of the background requests."""
        return self._moved_in_a_row < MOVED_IN_A_ROW and any(
            request.position.has_moved and request.is_waiting for request in self._background
        )

    def _background_takes_last_at(self) -> float:
        """From when a background request may take the last place: at once if it is left to one or about a moved job,
        later if this process is starved by faster ones."""
        if self._is_left or self._is_moved_waiting:
            return -inf
        starved_seconds = STARVED_AFTER * self._share_interval_seconds()
        if self._background_every < inf:
            # Half an interval before the place itself, so that no rounding makes it the next one.
            left_seconds = (self._background_every - 0.5) * self.rate.interval_seconds
            return self._background_since + max(starved_seconds, left_seconds)
        return self._background_since + starved_seconds if self._share < 1.0 else inf

    def _share_wait_seconds(self) -> float:
        """How long the next background request has to wait so that other processes have their share."""
        if self._share >= 1.0:
            return 0.0
        return self._last_background + self._share_interval_seconds() - loop_time()

    def _share_interval_seconds(self) -> float:
        """The interval of background requests that use this process's share."""
        return self.rate.interval_seconds * (1.0 - SHARING_SLACK) / max(self._share, SMALLEST_SHARE)

    def _send_next(self) -> None:
        if self._is_next_interactive():
            request = next(request for request in self._interactive if request.is_waiting)
            del self._interactive[request]
            # If another process may have used the place that was left, this request is the first after it.
            after_left = 0 if self._share >= 1.0 else 1
            self._interactive_in_a_row = after_left if self._is_left else self._interactive_in_a_row + 1
            self._last_interactive = loop_time()
        else:
            request = self._first_background()
            del self._background[request]
            self._interactive_in_a_row = 0
            self._last_background = self._background_since = loop_time()
        request.position.passed_at = loop_time()
        request.granted.set_result(None)

    def _first_background(self) -> _Request:
        """The background request to send; one waits."""
        now = loop_time()
        waiting = [request for request in self._background if request.is_waiting]
        polls = [request for request in waiting if not request.position.is_chart]
        charts = [r for r in waiting if r.position.is_chart and (r.position.since <= now or not polls)]
        if charts and (not polls or self._polls_in_a_row >= POLLS_PER_CHART):
            self._polls_in_a_row = 0
            return min(charts, key=_since)
        self._polls_in_a_row += 1
        moved: list[_Request] = []
        if self._moved_in_a_row < MOVED_IN_A_ROW:
            moved = [request for request in polls if request.position.has_moved]
        self._moved_in_a_row = self._moved_in_a_row + 1 if moved else 0
        return min(moved or polls, key=_since)

    def _has_waiting(self) -> bool:
        """Drop cancelled requests. Returns whether any are left."""
        for queue in (self._interactive, self._background):
            for request in [request for request in queue if not request.is_waiting]:
                del queue[request]
        return bool(self._interactive or self._background)

    def _fail_all(self, error: Exception) -> None:
        for request in (*self._interactive, *self._background):
            if request.is_waiting:
                request.granted.set_exception(error)


def _since(request: _Request) -> float:
    return request.position.since


@dataclass(slots=True, eq=False)
class _Used:
    limiter: RateLimiter
    users: int = 0


class OmniRateLimiters:
    """The rate limiters of the Omni keys in use."""

    def __init__(self, store: RateLimitStore) -> None:
        self._store = store
        self._used: dict[tuple[str, int], _Used] = {}

    @asynccontextmanager
    async def of(self, credentials: Credentials) -> AsyncIterator[RateLimiter]:
        """Share a key's rate limiter during the context; close it after the last user."""
        name = (credentials.omni_budget, credentials.requests_per_minute)
        used = self._used.setdefault(name, _Used(omni_limiter(self._store, credentials)))
        used.users += 1
        try:
            yield used.limiter
        finally:
            used.users -= 1
            if used.users == 0:
                del self._used[name]
                await used.limiter.close()


EDITS_PER_MINUTE = 50
"""Slack's tier 3, per method and workspace. Source: docs.slack.dev/apis/web-api/rate-limits."""

EDITS_AT_ONCE = 5

REQUESTS_AT_ONCE = 4
"""The burst of requests to Omni after a silence, so that a user's first answer does not wait. A larger burst slows down
the rest of the minute."""

POLLS_EVERY = 3
"""One of so many requests to Omni is left to polls while interactive requests exceed the budget."""


def omni_limiter(store: RateLimitStore, credentials: Credentials) -> RateLimiter:
    """Return the rate limiter of one Omni key."""
    rate = omni_rate(credentials.requests_per_minute)
    return RateLimiter(store, credentials.omni_budget, rate, background_every=POLLS_EVERY)


def omni_rate(requests_per_minute: int) -> Rate:
    """Return the rate of requests to Omni."""
    return Rate.within(requests_per_minute, burst=REQUESTS_AT_ONCE)


def edit_limiter(store: RateLimitStore, team: TeamId) -> RateLimiter:
    """Return the rate limiter of edits in one Slack workspace."""
    return RateLimiter(store, f"chat.update {team}", Rate.within(EDITS_PER_MINUTE, burst=EDITS_AT_ONCE))
