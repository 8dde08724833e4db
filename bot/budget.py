"""A budget of requests: how many fit into a minute, and who goes next when there are not enough.

The rate is a generic cell rate (ITU-T I.371, GCRA): one number, the theoretical arrival time, tells
whether a request may go now. It is kept by a `Ledger` outside this process, so that the budget holds
across restarts; this module decides what fits and keeps the queue.
"""

import asyncio
import heapq
import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Self

WINDOW_SECONDS = 60.0
JITTER_SECONDS = 1.0
"""Requests leave here evenly but arrive bunched by the network; the window is reckoned longer by this."""
LONGEST_NAP_SECONDS = 1.0
"""How long the queue sleeps before it asks the ledger again: another process may have paused or freed it."""
SHORTEST_NAP_SECONDS = 0.001
"""A wait that rounding left over must still let time pass."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A generic cell rate: on average one request per `interval_seconds`, `tolerance_seconds` of it ahead."""

    interval_seconds: float
    tolerance_seconds: float

    @property
    def unhurried_tolerance_seconds(self) -> float:
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


class Ledger(Protocol):
    """Where the theoretical arrival times are kept, one per budget name, shared by all who spend."""

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        """Take one request if it fits now. Returns 0.0, or the seconds until it is worth trying again.

        `urgent`: whether somebody waits for it. Others leave room, see `Rate.unhurried_tolerance_seconds`.
        """
        ...

    async def pause(self, budget: str, rate: Rate, seconds: float) -> None:
        """Let nothing through for so long."""
        ...


class LocalLedger:
    """A ledger of this process alone, for limits that may be forgotten at a restart. Counts the loop's time."""

    def __init__(self) -> None:
        self._arrival = 0.0
        self._paused_until = 0.0

    async def take(self, _budget: str, rate: Rate, *, urgent: bool = True) -> float:
        """See `Ledger.take`."""
        now = asyncio.get_running_loop().time()
        ahead = rate.tolerance_seconds if urgent else rate.unhurried_tolerance_seconds
        due = max(self._paused_until, self._arrival - ahead)
        if now < due:
            return due - now
        self._arrival = max(self._arrival, now) + rate.interval_seconds
        return 0.0

    async def pause(self, _budget: str, _rate: Rate, seconds: float) -> None:
        """See `Ledger.pause`."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)


class Gate:
    """Lets requests of one budget through one by one: urgent ones first, then first come first served.

    Nothing is reserved ahead: a request is taken from the ledger at the moment somebody can use it, and
    goes to whoever then comes first. So a person's request never waits behind more than one poll.
    """

    def __init__(self, ledger: Ledger, budget: str, rate: Rate) -> None:
        self._ledger = ledger
        self._budget = budget
        self._rate = rate
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._opener: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    async def turn(self, *, urgent: bool = False) -> None:
        """Wait until one request may go. Raises what the ledger raises when it can't be asked."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not urgent, next(self._order), mine))
        if urgent:
            self._hurry.set()
        if self._opener is None or self._opener.done():
            self._opener = asyncio.create_task(self._open(), name=f"gate {self._budget}")
        await mine

    async def pause(self, seconds: float) -> None:
        """Let nothing through for so many seconds: the service said that it is too much."""
        await self._ledger.pause(self._budget, self._rate, seconds)

    async def close(self) -> None:
        """Stop letting requests through; whoever still waits is cancelled."""
        if self._opener is not None:
            self._opener.cancel()
            await asyncio.gather(self._opener, return_exceptions=True)
        while self._waiting:
            heapq.heappop(self._waiting)[2].cancel()

    async def _open(self) -> None:
        while self._drop_those_who_left():
            self._hurry.clear()
            urgent = not self._waiting[0][0]
            try:
                wait_seconds = await self._ledger.take(self._budget, self._rate, urgent=urgent)
            except Exception as error:  # noqa: BLE001 - whatever the trouble, those who wait must hear of it
                self._fail_all(error)
                return
            if wait_seconds > 0.0:
                await self._nap(min(max(wait_seconds, SHORTEST_NAP_SECONDS), LONGEST_NAP_SECONDS))
            elif self._drop_those_who_left():
                heapq.heappop(self._waiting)[2].set_result(None)

    async def _nap(self, seconds: float) -> None:
        """Wait for the next place, or until somebody comes who may have an earlier one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _drop_those_who_left(self) -> bool:
        """Forget cancelled waiters at the head of the queue; whether anybody is left."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return bool(self._waiting)

    def _fail_all(self, error: Exception) -> None:
        while self._waiting:
            mine = heapq.heappop(self._waiting)[2]
            if not mine.done():
                mine.set_exception(error)
