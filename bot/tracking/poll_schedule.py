"""When to ask Omni about a job again, and which job first. Pure functions of what is known; no clock, no chance.

What is minimised is the time between a job's end and our knowing it, with so many requests and no more. A job that
ends with hazard h and is asked every t seconds is known to have ended t/2 too late on average: it loses h t/2 seconds
a second and costs 1/t requests. For a given number of requests the loss is least when each job is asked in proportion
to the square root of its h. (Source: J. B. Keller, "Optimum checking schedules for systems subject to random failure",
Management Science 21(3), 1974, doi.org/10.1287/mnsc.21.3.256.)

Nobody has to solve that for all jobs together. Asking always for the job with the greatest `priority` comes
to the same.
The worth is the seconds for which the job has, on average, been over without our knowing: soon after a look that is
h t²/2, which is equal for all jobs when t goes with 1/√h. It goes on where the square root ends: once a job has most
likely ended, it grows by a second each second. So no job is ever left out. (An index of this kind orders web pages,
which go on changing, in C. Olston and S. Pandey, "Recrawl scheduling based on information longevity", WWW 2008,
equation 4. Jobs end once; for them this one did best of those that were tried.)
"""

from dataclasses import dataclass
from math import expm1

from bot.domain import JobState
from bot.tracking.durations import SurvivalCurve

FASTEST_SECONDS = 2.0
"""Omni advises a poll every 2 to 5 seconds. Source: its OpenAPI document, `GET /api/v1/ai/jobs/{jobId}`."""

SLOWEST_SECONDS = 60.0
"""No job waits longer for the next question, unless the budget leaves no other way."""

WORTH_ASKING = 0.01
"""Below this worth, in seconds, a job is not asked even if the budget allows it. So a lone job of 30 s costs 9 requests
at most, and its end is known about 1.1 s later on average, where asking every 2 s would make it 1.0 s."""

SIGN_OF_LIFE_SECONDS = 6.0
"""How long after a job has begun to execute people wait at most for news of it: they have just asked for it."""

UNTOLD_SECONDS = 30.0
"""How long nothing may be heard of a job of which Omni tells by itself, before it is asked for all the same. A word of
progress comes every few seconds, so that a request is seldom needed; a single query may take minutes, and costs two
requests a minute then. It is also how much later than otherwise people may learn of an end whose webhook was lost."""

DELIVERING_SECONDS = 5.0
"""How long Omni is taken to need for the last step, on average. How long it is, is not documented."""


@dataclass(frozen=True, slots=True)
class LastPoll:
    """What a job was seen to be when it was last asked for. Times are in seconds."""

    state: JobState
    age_seconds: float
    """How long it had been executing then; 0 while it was queued, as it may have begun right after."""


def priority(look: LastPoll, seconds: float, survival: SurvivalCurve) -> float:
    """What is gained by asking about a job now: for how many seconds it has been over unnoticed, on average.

    `seconds`: since the last look.
    """
    if look.state is JobState.DELIVERING:
        return max(0.0, seconds + DELIVERING_SECONDS * expm1(-seconds / DELIVERING_SECONDS))
    return survival.unnoticed_seconds(look.age_seconds, look.age_seconds + seconds)


def pause_seconds(look: LastPoll, failures: int, survival: SurvivalCurve) -> float:
    """How long to wait after a look before it is worth while to ask again.

    Args:
        look: what was seen.
        failures: how many questions about this job in a row have got no answer since.
        survival: how long such jobs run.

    Returns:
        Seconds. After failures the pause doubles each time.
    """
    back_off = FASTEST_SECONDS * 2.0 ** min(failures, 10) if failures else FASTEST_SECONDS
    return max(_worth_while_after(look, survival), min(back_off, SLOWEST_SECONDS))


def _worth_while_after(look: LastPoll, survival: SurvivalCurve) -> float:
    """After how many seconds the worth is enough: it grows with them, so it is found by halving."""
    if priority(look, FASTEST_SECONDS, survival) >= WORTH_ASKING:
        return FASTEST_SECONDS
    too_soon, late_enough = FASTEST_SECONDS, min(SLOWEST_SECONDS, SIGN_OF_LIFE_SECONDS + look.age_seconds)
    while late_enough - too_soon > 0.05:
        middle = (too_soon + late_enough) / 2.0
        if priority(look, middle, survival) < WORTH_ASKING:
            too_soon = middle
        else:
            late_enough = middle
    return late_enough
