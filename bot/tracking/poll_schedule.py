"""When to poll a job again, and which job first. Pure functions.

The schedule minimizes how late the end of a job is noticed, for a given number of requests. A job that ends with hazard
h and is polled every t seconds is noticed t/2 too late on average: it loses h t/2 seconds per second and costs 1/t
requests. For a given number of requests the loss is least when each job is polled in proportion to the square root of
its h. (Source: J. B. Keller, "Optimum checking schedules for systems subject to random failure", Management Science
21(3), 1974, doi.org/10.1287/mnsc.21.3.256.)

Polling the job with the highest `priority` first has the same effect, without solving that for all jobs together. The
priority is the number of seconds for which the job has, on average, been over unnoticed: soon after a poll it is h
t²/2, which is equal for all jobs when t is proportional to 1/√h. Once a job has most likely ended, it grows by one each
second, so no job starves. (C. Olston and S. Pandey order web pages, which keep changing, by such an index: "Recrawl
scheduling based on information longevity", WWW 2008, equation 4. Jobs end once; of the indexes tried, this one did
best.)
"""

from dataclasses import dataclass
from math import expm1

from bot.domain import JobState
from bot.tracking.durations import SurvivalCurve

FASTEST_SECONDS = 2.0
"""Omni advises a poll every 2 to 5 seconds. Source: its OpenAPI document, `GET /api/v1/ai/jobs/{jobId}`."""

SLOWEST_SECONDS = 60.0
"""The longest pause between two polls of a job, if the rate limit allows."""

MIN_PRIORITY = 0.01
"""Below this priority, in seconds, a job is not polled even if the rate limit allows. So a lone job of 30 s costs 9
requests at most, and its end is noticed 1.1 s late on average; polling every 2 s would make it 1.0 s."""

FIRST_NEWS_SECONDS = 6.0
"""The longest pause right after a job has begun to execute: its users have just asked for it."""

MAX_SILENCE_SECONDS = 30.0
"""How long after the last webhook a job is polled. Progress events come every few seconds, so polls are rare; during a
single query of minutes there are two per minute. It is also how much later an end is noticed whose webhook was lost."""

DELIVERING_SECONDS = 5.0
"""Assumed mean duration of the state DELIVERING, which Omni does not document."""


@dataclass(frozen=True, slots=True)
class LastPoll:
    """What the last poll of a job found."""

    state: JobState
    age_seconds: float
    """Seconds for which it had been executing; 0 while it was queued, as it may have begun right after."""


def priority(last_poll: LastPoll, seconds: float, survival: SurvivalCurve) -> float:
    """For how many seconds the job has, on average, been over unnoticed. `seconds`: since the last poll."""
    if last_poll.state is JobState.DELIVERING:
        return max(0.0, seconds + DELIVERING_SECONDS * expm1(-seconds / DELIVERING_SECONDS))
    return survival.unnoticed_seconds(last_poll.age_seconds, last_poll.age_seconds + seconds)


def pause_seconds(last_poll: LastPoll, failures: int, survival: SurvivalCurve) -> float:
    """Seconds to wait after a poll; doubled by each of the `failures` in a row since."""
    back_off = FASTEST_SECONDS * 2.0 ** min(failures, 10) if failures else FASTEST_SECONDS
    return max(_seconds_until_worthwhile(last_poll, survival), min(back_off, SLOWEST_SECONDS))


def _seconds_until_worthwhile(last_poll: LastPoll, survival: SurvivalCurve) -> float:
    """Seconds until the priority reaches MIN_PRIORITY: it grows with time, so bisection finds it."""
    if priority(last_poll, FASTEST_SECONDS, survival) >= MIN_PRIORITY:
        return FASTEST_SECONDS
    too_soon, late_enough = FASTEST_SECONDS, min(SLOWEST_SECONDS, FIRST_NEWS_SECONDS + last_poll.age_seconds)
    while late_enough - too_soon > 0.05:
        middle = (too_soon + late_enough) / 2.0
        if priority(last_poll, middle, survival) < MIN_PRIORITY:
            too_soon = middle
        else:
            late_enough = middle
    return late_enough
