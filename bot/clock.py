"""The time by which the bot keeps everything: it goes on evenly, also while the machine's clock is set.

Ages, budgets and waits are kept as times of day, many of them in the database. A clock that is set by a day would let
all follows look a day old, all budgets full and all questions abandoned.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

log = structlog.get_logger()

STEP_SECONDS = 1.0
"""A step of the wall clock up to this one is followed: NTP and leap seconds make such, and no budget notices. The
jitter that `budget.Rate` allows for is as large."""

_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux CLOCK_MONOTONIC stands still while the machine sleeps; elsewhere it does not."""


def wall_now() -> datetime:
    """The time that the machine's clock shows, aware UTC. For what is compared with other machines' clocks."""
    return datetime.now(UTC)


def _elapsed_seconds() -> float:
    return time.clock_gettime(_ELAPSED)


class SteadyClock:
    """The time by the wall clock, without the steps that it has made since this clock was made."""

    def __init__(
        self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = _elapsed_seconds
    ) -> None:
        """`wall`: seconds since 1970, by a clock that can be set. `elapsed`: by one that can't."""
        self._wall = wall
        self._elapsed = elapsed
        self._ignored_seconds = 0.0
        self._last = self._read()

    def __call__(self) -> datetime:
        """The time, aware UTC."""
        (wall_before, elapsed_before), self._last = self._last, self._read()
        wall, elapsed = self._last
        step_seconds = (wall - wall_before) - (elapsed - elapsed_before)
        if abs(step_seconds) > STEP_SECONDS:
            self._ignored_seconds += step_seconds
            log.warning(
                "clock set", by_seconds=round(step_seconds), ignored_seconds=round(self._ignored_seconds)
            )
        return datetime.fromtimestamp(wall - self._ignored_seconds, UTC)

    def _read(self) -> tuple[float, float]:
        """Both clocks at the same moment. Read again where the process was stopped in between."""
        while True:
            elapsed, wall = self._elapsed(), self._wall()
            if self._elapsed() - elapsed < STEP_SECONDS / 2:
                return wall, elapsed
