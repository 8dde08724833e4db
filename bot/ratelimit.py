"""A budget of requests: how many fit into a minute, and who goes next when there are not enough.

The rate is a generic cell rate (ITU-T I.371, GCRA): one number, the theoretical arrival time, tells
whether a request may go now. It is kept by a `RateLimitStore` outside this process, so that the budget holds
across restarts; this module decides what fits and keeps the queue.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Protocol, Self

from bot.domain import Credentials, TeamId
from bot.domain.ports import Priority
from bot.tasks import loop_time

WINDOW_SECONDS = 60.0

JITTER_SECONDS = 1.0
"""Requests leave here evenly but arrive bunched by the network; the window is reckoned longer by this."""

LATE_SECONDS = 0.5
"""A ledger that takes longer to answer has given a place in the past; the next request keeps its distance from
the moment in which this one really went."""

LONGEST_NAP_SECONDS = 1.0
"""How long the queue sleeps before it asks the ledger again: another process may have paused or freed it."""

SHORTEST_NAP_SECONDS = 0.001
"""A wait that rounding left over must still let time pass."""

CLOSE_ENOUGH = 0.95
"""Which part of the greatest worth is as good as the greatest. Of 10,000 that wait and are worth about the same, only
some have to be asked then how much exactly, and not all each second."""

SHARING_SLACK = 0.1
"""How much more than its share a process may take: what others leave, and what changes between two counts."""

SMALLEST_SHARE = 0.01

OUTRUN_AFTER = 1.5
"""After so many times as long as its share lasts for one request, a process has been left without it."""

LEFT_FOR = 1.75
"""A place that is left to unhurried requests of other processes is kept free for them until so many intervals have
passed since the request before it: three quarters of an interval longer than the rate asks for."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A generic cell rate: on average one request per `interval_seconds`, `tolerance_seconds` of it ahead."""

    interval_seconds: float
    tolerance_seconds: float

    @property
    def background_tolerance_seconds(self) -> float:
        """What requests that nobody waits for may use: they leave the last place of a burst to one that
        somebody does wait for, in this process or another."""
        return max(0.0, self.tolerance_seconds - self.interval_seconds)

    @classmethod
    def within(cls, limit: int, *, burst: int) -> Self:
        """The fastest rate of which no window of 60 s ever holds more than `limit` requests.

        A window of W seconds holds at most `W / interval + burst` of a cell rate that allows `burst`
        at once, so the interval follows from the limit. What may go at once is missing from the steady stream: the
        burst is cut for small limits, so that at least 85 % of any limit is usable.
        """
        if limit < 1:
            raise ValueError("a budget needs at least one request a minute")
        burst = max(1, min(burst, limit // 8))
        interval = (WINDOW_SECONDS + JITTER_SECONDS) / (limit - burst + 1)
        return cls(interval, (burst - 1) * interval)


class RateLimitStore(Protocol):
    """Where the theoretical arrival times are kept, one per budget name, shared by all who spend."""

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        """Take one request if it fits now. Returns 0.0, or the seconds until it is worth trying again.

        `urgent`: whether somebody waits for it. Others leave room, see `Rate.background_tolerance_seconds`.
        """
        ...

    async def pause(self, budget: str, rate: Rate, seconds: float) -> None:
        """Let nothing through for so long."""
        ...


class LocalRateLimitStore:
    """A ledger of this process alone, for limits that may be forgotten at a restart. Counts the loop's time."""

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
    """Somebody who waits for a place."""

    urgent: bool
    worth: Priority
    turn: asyncio.Future[None]


_Entry = tuple[float, int, _Request]
"""A request with the time at which it would have been worth nothing if it had grown by one a second, and its number."""


class RateLimiter:
    """Lets requests of one budget through one by one: urgent ones first, in the order in which they came; then one
    than which none is worth much more at that moment, and of equals the first.

    What is worth the most is found without asking all who wait: as no worth grows by more than one a second, what one
    was at an earlier time bounds what it is now.

    Nothing is reserved ahead: a request is taken from the ledger at the moment somebody can use it, and
    goes to whoever then comes first. So a person's request never waits behind more than one poll.

    With `unhurried_every`, neither class starves: of so many requests the last is left to an unhurried one. If one
    waits here, it goes. If none does and other processes use the budget too, an urgent one takes the place a moment
    later than it could, so that their unhurried requests come first.
    """

    def __init__(
        self, store: RateLimitStore, budget: str, rate: Rate, *, unhurried_every: int | None = None
    ) -> None:
        """`unhurried_every`: None if urgent requests always go first, without bound."""
        self.budget = budget
        self.rate = rate
        self._unhurried_every = unhurried_every or inf
        self._urgent_in_a_row = 0
        self._last_urgent = -inf
        self._store = store
        self._interactive: deque[_Request] = deque()
        self._background: list[_Entry] = []
        """A heap."""
        self._numbers = itertools.count()
        self._opener: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._share = 1.0
        self._last_unhurried = -inf
        self._unhurried_since = -inf
        """Since when unhurried requests have waited and none went."""
        self._not_before = -inf

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        requests = itertools.chain(self._interactive, (request for _, _, request in self._background))
        return sum(1 for request in requests if not request.turn.done())

    async def acquire(self, *, urgent: bool = False, worth: Priority | None = None) -> None:
        """Wait until one request may go. Raises what the ledger raises when it can't be asked."""
        request = _Request(urgent, worth or _nothing, asyncio.get_running_loop().create_future())
        if urgent:
            self._interactive.append(request)
            self._hurry.set()
        else:
            if not self._background:
                self._unhurried_since = loop_time()
            heapq.heappush(self._background, self._entry(next(self._numbers), request, loop_time()))
        if self._opener is None or self._opener.done():
            self._opener = asyncio.create_task(self._run(), name=f"gate {self.budget}")
        await request.turn

    def set_share(self, part: float) -> None:
        """Let unhurried requests have about this part of the budget, between 0 and 1: other processes use the rest."""
        self._share = part

    async def pause(self, seconds: float) -> None:
        """Let nothing through for so many seconds: the service said that it is too much."""
        await self._store.pause(self.budget, self.rate, seconds)

    async def close(self) -> None:
        """Stop letting requests through; whoever still waits is cancelled."""
        if self._opener is not None:
            self._opener.cancel()
            await asyncio.gather(self._opener, return_exceptions=True)
        for request in self._take_all():
            request.turn.cancel()

    async def _run(self) -> None:
        while self._does_anybody_wait():
            self._hurry.clear()
            asked_at = loop_time()
            try:
                wait_seconds = await self._wait_seconds()
                late_seconds = loop_time() - asked_at
                is_late = wait_seconds <= 0.0 and late_seconds > LATE_SECONDS
                if is_late:
                    await self._let_others_keep_distance(late_seconds)
            except Exception as error:  # noqa: BLE001 - whatever the trouble, those who wait must hear of it
                self._fail_all(error)
                return
            if wait_seconds > 0.0:
                await self._sleep(min(max(wait_seconds, SHORTEST_NAP_SECONDS), LONGEST_NAP_SECONDS))
            elif self._does_anybody_wait():
                self._let_one_through()
                if is_late:
                    self._not_before = loop_time() + self.rate.interval_seconds

    async def _wait_seconds(self) -> float:
        """Take one request. Returns 0.0, or the seconds until it is worth trying again."""
        now, is_urgent = loop_time(), self._is_next_urgent()
        early = self._not_before - now
        if not is_urgent:
            early = max(early, self._leave_to_others_seconds())
        if early > 0.0:
            return early
        takes_last_at = self._urgent_takes_last_at() if is_urgent else self._unhurried_takes_last_at()
        wait_seconds = await self._store.take(self.budget, self.rate, urgent=now >= takes_last_at)
        return wait_seconds if now >= takes_last_at else min(wait_seconds, takes_last_at - now)

    def _is_next_urgent(self) -> bool:
        """Whether the next place is an urgent request's; if not, it is an unhurried one's. Some request waits."""
        if not self._interactive or not self._background:
            return bool(self._interactive)
        return not self._is_left or self._leave_to_others_seconds() > 0.0

    @property
    def _is_left(self) -> bool:
        """Whether the next place is one of those that are left to unhurried requests."""
        return self._urgent_in_a_row + 1 >= self._unhurried_every

    def _urgent_takes_last_at(self) -> float:
        """From when on an urgent request may take the last place of a burst: at once, unless the place is left to
        unhurried requests, which may wait in another process."""
        if not self._is_left or self._share >= 1.0:
            return -inf
        return self._last_urgent + LEFT_FOR * self.rate.interval_seconds

    def _unhurried_takes_last_at(self) -> float:
        """From when on an unhurried request may take the last place: if it is left to such, or others, who were faster
        each time, have left this process without its share."""
        if self._is_left:
            return -inf
        outrun_seconds = OUTRUN_AFTER * self._apart_seconds()
        if self._unhurried_every < inf:
            # Half an interval before the place itself, so that no rounding makes it the next one.
            left_seconds = (self._unhurried_every - 0.5) * self.rate.interval_seconds
            return self._unhurried_since + max(outrun_seconds, left_seconds)
        return self._unhurried_since + outrun_seconds if self._share < 1.0 else inf

    async def _let_others_keep_distance(self, late_seconds: float) -> None:
        """Before a request goes late, tell whoever comes after this process, should it die: nobody else knows when the
        request went. The ledger may take as long to write that down as it took to answer."""
        await self._store.pause(self.budget, self.rate, self.rate.interval_seconds + late_seconds)

    def _leave_to_others_seconds(self) -> float:
        """How long the next unhurried request has to wait so that other processes have their share."""
        if self._share >= 1.0:
            return 0.0
        return self._last_unhurried + self._apart_seconds() - loop_time()

    def _apart_seconds(self) -> float:
        """How far apart unhurried requests are that use this process's share."""
        return self.rate.interval_seconds * (1.0 - SHARING_SLACK) / max(self._share, SMALLEST_SHARE)

    def _let_one_through(self) -> None:
        if self._is_next_urgent():
            self._interactive.popleft().turn.set_result(None)
            # Where others may have had the place that was left, this one is the first after it.
            after_left = 0 if self._share >= 1.0 else 1
            self._urgent_in_a_row = after_left if self._is_left else self._urgent_in_a_row + 1
            self._last_urgent = loop_time()
            return
        self._take_highest_priority().turn.set_result(None)
        self._urgent_in_a_row = 0
        self._last_unhurried = self._unhurried_since = loop_time()

    def _take_highest_priority(self) -> _Request:
        """Take a request off the heap that is worth as much as any other now; there is one that waits."""
        # Once: by a clock that goes on, each of several equals would come after the others.
        now = loop_time()
        best: _Entry | None = None
        others: list[_Entry] = []
        while self._background and (best is None or not _is_close_enough(best, self._background[0], now)):
            _, number, request = heapq.heappop(self._background)
            if request.turn.done():
                continue
            entry = self._entry(number, request, now)
            if best is not None:
                others.append(max(best, entry))
            best = entry if best is None else min(best, entry)
        for entry in others:
            heapq.heappush(self._background, entry)
        if best is None:
            raise LookupError("nobody waits")
        return best[2]

    @staticmethod
    def _entry(number: int, request: _Request, now: float) -> _Entry:
        return now - request.worth(), number, request

    async def _sleep(self, seconds: float) -> None:
        """Wait for the next place, or until somebody comes who may have an earlier one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _does_anybody_wait(self) -> bool:
        """Forget cancelled requests; whether any are left."""
        while self._interactive and self._interactive[0].turn.done():
            self._interactive.popleft()
        while self._background and self._background[0][2].turn.done():
            heapq.heappop(self._background)
        return bool(self._interactive or self._background)

    def _fail_all(self, error: Exception) -> None:
        for request in self._take_all():
            if not request.turn.done():
                request.turn.set_exception(error)

    def _take_all(self) -> list[_Request]:
        waiting = [*self._interactive, *(request for _, _, request in sorted(self._background))]
        self._interactive.clear()
        self._background.clear()
        return waiting


def _is_close_enough(entry: _Entry, best: _Entry, now: float) -> bool:
    """Whether `entry`, made now, is worth about as much as `best`, made earlier, can be worth by now at most."""
    return entry < best or now - entry[0] >= CLOSE_ENOUGH * (now - best[0]) > 0.0


def _nothing() -> float:
    return 0.0


@dataclass(slots=True, eq=False)
class _Used:
    gate: RateLimiter
    users: int = 0


class OmniRateLimiters:
    """The gates that somebody uses now."""

    def __init__(self, store: RateLimitStore) -> None:
        self._store = store
        self._used: dict[tuple[str, int], _Used] = {}

    @asynccontextmanager
    async def of(self, credentials: Credentials) -> AsyncIterator[RateLimiter]:
        """The gate of a key, as long as the context lasts; closed when the last who uses it has left."""
        name = (credentials.omni_budget, credentials.requests_per_minute)
        used = self._used.setdefault(name, _Used(omni_limiter(self._store, credentials)))
        used.users += 1
        try:
            yield used.gate
        finally:
            used.users -= 1
            if used.users == 0:
                del self._used[name]
                await used.gate.close()


EDITS_PER_MINUTE = 50
"""Slack's tier 3, per method and workspace. Source: docs.slack.dev/apis/web-api/rate-limits."""

EDITS_AT_ONCE = 5

REQUESTS_AT_ONCE = 4
"""How many of a minute's requests to Omni may go at once after a silence, so that a person's first answer does
not wait; the more, the slower the rest of that minute."""

POLLS_EVERY = 3
"""Of so many requests to Omni one is left to polls while people ask for more than the budget holds."""


def omni_limiter(store: RateLimitStore, credentials: Credentials) -> RateLimiter:
    """The budget of requests to Omni with one key."""
    rate = omni_rate(credentials.requests_per_minute)
    return RateLimiter(store, credentials.omni_budget, rate, unhurried_every=POLLS_EVERY)


def omni_rate(requests_per_minute: int) -> Rate:
    """How fast requests may go to Omni."""
    return Rate.within(requests_per_minute, burst=REQUESTS_AT_ONCE)


def edit_limiter(store: RateLimitStore, team: TeamId) -> RateLimiter:
    """The budget of edits in one Slack workspace."""
    return RateLimiter(store, f"chat.update {team}", Rate.within(EDITS_PER_MINUTE, burst=EDITS_AT_ONCE))
