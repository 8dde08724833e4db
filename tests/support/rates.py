"""How many requests the worst minute holds."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import looptime

from bot.ratelimit import LocalRateLimitStore, Rate

RATE = Rate(interval_seconds=10.0, tolerance_seconds=30.0)
"""Four at once and then one in ten seconds: slow, because PostgreSQL's own clock goes on during a test."""

ALMOST_JITTER_SECONDS = 0.999
"""How late a request may arrive. The whole second is left to the rounding of clocks."""


class MemoryLedger(LocalRateLimitStore):
    """The ledger in memory; what was taken is kept."""

    def __init__(self, broken: Exception | None = None, answers_after_seconds: float = 0.0) -> None:
        super().__init__()
        self.taken: list[float] = []
        self.broken = broken
        self.answers_after_seconds = answers_after_seconds
        self.commits_after_seconds = 0.0

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        await asyncio.sleep(self.answers_after_seconds)
        if self.broken is not None:
            raise self.broken
        wait_seconds = await super().take(budget, rate, urgent=urgent)
        await asyncio.sleep(self.commits_after_seconds)
        if wait_seconds == 0.0:
            self.taken.append(asyncio.get_running_loop().time())
        return wait_seconds

    def free(self) -> None:
        """Another process ends its pause."""
        self._paused_until = 0.0


def worst_minute(arrivals: Sequence[float]) -> int:
    """The most requests in any 60 s, its start counted and its end not."""
    times = sorted(arrivals)
    return max(sum(start <= time < start + 60.0 for time in times[i:]) for i, start in enumerate(times))


def in_virtual_time(test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(test)
