"""Durations of the jobs of a benchmark, from a known distribution or between two bounds.

The distribution has the quartiles that were measured for 267 hard questions (40, 51 and 92 s) and a long tail: a
log-normal one on each side of the median.
"""

import math
from collections.abc import Callable
from random import Random

MEDIAN_SECONDS = 51.0
_QUARTILE = 0.674_489_75
"""Of the standard normal distribution."""
_BELOW = math.log(MEDIAN_SECONDS / 40.0) / _QUARTILE
_ABOVE = math.log(92.0 / MEDIAN_SECONDS) / _QUARTILE

Takes = Callable[[Random], float]
"""Draws the seconds that a job takes."""


def as_measured(random: Random) -> float:
    """Seconds with the measured quartiles."""
    normal = random.gauss(0.0, 1.0)
    return MEDIAN_SECONDS * math.exp(normal * (_BELOW if normal < 0.0 else _ABOVE))


def five_to_fifteen(random: Random) -> float:
    """Seconds between 5 and 15, all equally likely."""
    return random.uniform(5.0, 15.0)


def thirty_five_to_seventy_five(random: Random) -> float:
    """Seconds between 35 and 75, all equally likely."""
    return random.uniform(35.0, 75.0)


def minutes(random: Random) -> float:
    """Between 4 and 15 minutes, all equally likely."""
    return random.uniform(240.0, 900.0)


def unnoticed_seconds(running_seconds: float, age_seconds: float) -> float:
    """For how long a job of `as_measured` that ran at one age has been over unnoticed at a later one, on average.

    Source of the index: C. Olston and S. Pandey, "Recrawl scheduling based on information longevity", WWW 2008,
    equation 4.
    """
    between = age_seconds - running_seconds
    return max(0.0, between - (_left(running_seconds) - _left(age_seconds)) / _running(running_seconds))


def _running(age: float) -> float:
    """The share of jobs that still run at an age."""
    if age <= 0.0:
        return 1.0
    normal = math.log(age / MEDIAN_SECONDS)
    return 0.5 * math.erfc(normal / (_BELOW if normal < 0.0 else _ABOVE) / math.sqrt(2.0))


_STEP_SECONDS = 0.5
_STEPS = 40_000


def _integrals() -> list[float]:
    left, sums = 0.0, [0.0]
    for step in range(_STEPS, 0, -1):
        left += _STEP_SECONDS * (_running(step * _STEP_SECONDS) + _running((step - 1) * _STEP_SECONDS)) / 2.0
        sums.append(left)
    return sums[::-1]


_LEFT = _integrals()


def _left(age: float) -> float:
    """The integral of the share that still runs, from an age on."""
    place = min(max(0.0, age) / _STEP_SECONDS, float(_STEPS) - 1.0)
    step = int(place)
    return _LEFT[step] + (place - step) * (_LEFT[step + 1] - _LEFT[step])
