"""Estimates how likely a job has ended by a certain age, from typical durations and this organization's own jobs.

A survival function as in reliability theory: the share of jobs that still run at an age. It is kept as the
cumulative hazard H, the negative logarithm of that share, on a grid of ages that grow by a constant factor; between
two of them H is taken as straight over the logarithm of the age, and beyond the last, half of what is left ends in
each doubling of the age.
"""

import math
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from bot.domain import Job, JobId, JobState
from bot.domain.ports import JobDurationRepository
from bot.tasks import repeat_until_cancelled

log = structlog.get_logger()


START_DURATIONS = (24, 29, 33, 36, 39, 42, 44, 46, 48, 50, 52, 57, 65, 77, 92, 115, 150, 210, 330, 900)
"""Durations of twenty typical jobs, in seconds, to start with. They were chosen to match these facts:
267 hard questions took 51 s in the median, with quartiles of 40 and 92 s; Omni says 15 to 60 s; one query may take five
minutes."""

SHARPNESS = 8.0
"""How closely the curve follows each duration: it is spread as a log-logistic distribution of this shape, half of it
within 15 %. The tail of that is a power, so that no age counts as impossible."""

_YOUNGEST_SECONDS = 0.5

_GROWTH = math.log(1.04)

_AGES = tuple(_YOUNGEST_SECONDS * math.exp(step * _GROWTH) for step in range(360))
"""Half a second to a week."""


class SurvivalCurve:
    """Share of jobs still running, by age. Takes some milliseconds to build; queries are fast."""

    def __init__(self, durations: Sequence[float] = ()) -> None:
        """`durations`: seconds that ended jobs took."""
        jobs = [max(seconds, _YOUNGEST_SECONDS) for seconds in (*START_DURATIONS, *durations)]
        self._hazard = [-math.log(_running(jobs, age) / len(jobs)) for age in _AGES]
        self._left = self._seconds_left_from_each_age()

    def ended(self, running_seconds: float, age_seconds: float) -> float:
        """The probability that a job which ran at one age has ended by a later one, both in seconds."""
        return -math.expm1(
            self._cumulative(running_seconds) - self._cumulative(max(age_seconds, running_seconds))
        )

    def unnoticed_seconds(self, running_seconds: float, age_seconds: float) -> float:
        """The mean time for which a job that ran at one age has been over at a later one: the integral of `ended`."""
        between = age_seconds - running_seconds
        if between <= 0.0:
            return 0.0
        still_running = self._left_from(running_seconds) - self._left_from(age_seconds)
        return max(0.0, between - still_running * math.exp(self._cumulative(running_seconds)))

    def _seconds_left_from_each_age(self) -> list[float]:
        """For each age of the grid, the integral of the share that still runs, from there on."""
        # Beyond the last age the share falls with the age itself, and its integral would have no end.
        left = [_AGES[-1] * math.exp(-self._hazard[-1])]
        for step in range(len(_AGES) - 2, -1, -1):
            left.append(left[-1] + self._seconds_within(step, _AGES[step], _AGES[step + 1]))
        return left[::-1]

    def _left_from(self, age_seconds: float) -> float:
        if age_seconds <= _YOUNGEST_SECONDS:
            slope = self._hazard[0] / _YOUNGEST_SECONDS
            span = _YOUNGEST_SECONDS - max(0.0, age_seconds)
            return self._left[0] + span * math.exp(-slope * (_YOUNGEST_SECONDS - span / 2.0))
        step = int(math.log(age_seconds / _YOUNGEST_SECONDS) / _GROWTH)
        if step >= len(_AGES) - 1:
            share = math.exp(-self._hazard[-1])
            return share * _AGES[-1] * (1.0 - math.log(age_seconds / _AGES[-1]))
        return self._left[step + 1] + self._seconds_within(step, age_seconds, _AGES[step + 1])

    def _seconds_within(self, step: int, begin: float, end: float) -> float:
        """The integral of the share that still runs, between two ages within one step of the grid.

        In a step the share is a power of the age, as its negative logarithm is straight over the age's.
        """
        power = 1.0 - (self._hazard[step + 1] - self._hazard[step]) / _GROWTH
        age = _AGES[step]
        at_first = math.exp(-self._hazard[step]) * age
        if abs(power) < 1e-9:
            return at_first * math.log(end / begin)
        return at_first * (math.pow(end / age, power) - math.pow(begin / age, power)) / power

    def _cumulative(self, age_seconds: float) -> float:
        if age_seconds <= _YOUNGEST_SECONDS:
            return self._hazard[0] * max(0.0, age_seconds) / _YOUNGEST_SECONDS
        place = math.log(age_seconds / _YOUNGEST_SECONDS) / _GROWTH
        step = int(place)
        if step >= len(_AGES) - 1:
            return self._hazard[-1] + math.log(age_seconds / _AGES[-1])
        return self._hazard[step] + (place - step) * (self._hazard[step + 1] - self._hazard[step])


def _running(durations: Sequence[float], age: float) -> float:
    """How many jobs of such durations still run at that age."""
    return math.fsum(1.0 / (1.0 + (age / seconds) ** SHARPNESS) for seconds in durations)


LEARN_SECONDS = 60.0
"""How often durations are stored and read. A killed process loses at most that much, which is harmless."""


class DurationModel:
    """Learns job durations; `curve` is the current estimate."""

    def __init__(self, durations: JobDurationRepository, now: Callable[[], datetime]) -> None:
        self.curve = SurvivalCurve()
        self._repository = durations
        self._now = now
        self._known: list[float] = []
        self._new: dict[JobId, float] = {}

    def record(self, job: Job) -> None:
        """Learn from a complete or failed job; a cancelled one says nothing about durations."""
        if job.state in (JobState.COMPLETE, JobState.FAILED) and job.completed_at and job.begun_at:
            self._new[job.id] = max(0.0, (job.completed_at - job.begun_at).total_seconds())

    async def run(self) -> None:
        """Store new durations and read all known ones, until cancelled."""
        await repeat_until_cancelled(
            self._exchange, every_seconds=LEARN_SECONDS, failure_event="durations not exchanged"
        )

    async def _exchange(self) -> None:
        if new := dict(self._new):
            await self._repository.add(new, self._now())
            self._new = {job: seconds for job, seconds in self._new.items() if job not in new}
        known = list(await self._repository.newest())
        if known != self._known:
            self._known, self.curve = known, SurvivalCurve(known)
