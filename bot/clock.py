"""Clock that ignores steps of the machine's wall clock.

Ages, budgets and waits are stored as times of day. A clock that is set forward by a day would make all cards a day old
and all questions abandoned.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import structlog

log = structlog.get_logger()

STEP_SECONDS = 1.0
"""Steps up to this size are followed, as NTP and leap seconds make them; the margin of `Rate` is as large."""

# On Linux CLOCK_MONOTONIC stops while the machine sleeps.
_elapsed_seconds = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall_now() -> datetime:
    """Return the wall clock's time, aware UTC. For comparison with other machines' clocks."""
    return datetime.now(UTC)


class SteadyClock:
    """The wall clock's time, without the steps since this clock was created."""

    def __init__(
        self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = _elapsed_seconds
    ) -> None:
        """`wall`: seconds since 1970, by a clock that can be set. `elapsed`: monotonic seconds."""
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
        """Read both clocks at the same moment; again if the process was stopped in between."""
        while True:
            elapsed, wall = self._elapsed(), self._wall()
            if self._elapsed() - elapsed < STEP_SECONDS / 2:
                return wall, elapsed
