"""How likely a job has ended by a certain age: what was measured elsewhere, and what this organisation's jobs teach.

A survival function as in reliability theory: the share of jobs that still run at an age. It is kept as the
cumulative hazard H, the negative logarithm of that share, on a grid of ages that grow by a constant factor; between
two of them H is taken as straight over the logarithm of the age, and beyond the last, half of what is left ends in
each doubling of the age.
"""

import math
from collections.abc import Sequence

START_DURATIONS = (20, 26, 31, 36, 40, 42, 44, 46, 48, 50, 52, 57, 65, 77, 92, 115, 150, 210, 330, 900)
"""Seconds that twenty jobs took, for a start: made up to have what is known. 267 hard questions took 51 s in the
median, and the quartiles were 40 and 92 s; Omni says 15 to 60 s; a single query may take five minutes."""
SHARPNESS = 6.0
"""How closely the curve follows each duration: it is spread as a log-logistic distribution of this shape, half of it
within 20 %. The tail of that is a power, so that no age counts as impossible."""

_YOUNGEST_SECONDS = 0.5
_GROWTH = math.log(1.04)
_AGES = tuple(_YOUNGEST_SECONDS * math.exp(step * _GROWTH) for step in range(360))
"""Half a second to a week."""


class Survival:
    """The curve. Costs some milliseconds to make and nothing to ask."""

    def __init__(self, durations: Sequence[float] = ()) -> None:
        """`durations`: seconds from the beginning to the end of jobs that have ended."""
        jobs = [max(seconds, _YOUNGEST_SECONDS) for seconds in (*START_DURATIONS, *durations)]
        self._hazard = [-math.log(_running(jobs, age) / len(jobs)) for age in _AGES]

    def ended(self, running_seconds: float, age_seconds: float) -> float:
        """How likely a job that ran at one age has ended by a later one, both in seconds: between 0 and 1."""
        return -math.expm1(
            self._cumulative(running_seconds) - self._cumulative(max(age_seconds, running_seconds))
        )

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
