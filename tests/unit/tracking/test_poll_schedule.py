"""When Omni is asked again, and about which job first."""

import math
from itertools import pairwise
from math import inf, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.delivery.charts import CHART_YIELDS_SECONDS, WAITED_FOR_SECONDS, chart_priority
from bot.domain.jobs import JobState
from bot.tracking.durations import SurvivalCurve
from bot.tracking.poll_schedule import (
    FASTEST_SECONDS,
    FIRST_NEWS_SECONDS,
    MIN_PRIORITY,
    SLOWEST_SECONDS,
    LastPoll,
    pause_seconds,
    priority,
)

START = SurvivalCurve()
SLOW_ORGANISATION = SurvivalCurve([1_800.0] * 200)


class Constant(SurvivalCurve):
    """Jobs that end with the same hazard at every age."""

    def __init__(self, hazard: float) -> None:
        self.hazard = hazard

    def unnoticed_seconds(self, running_seconds: float, age_seconds: float) -> float:
        between = age_seconds - running_seconds
        return between + math.expm1(-self.hazard * between) / self.hazard


def executing(age_seconds: float) -> LastPoll:
    return LastPoll(JobState.EXECUTING, age_seconds)


@pytest.mark.parametrize(
    "look, failures, survival, seconds",
    [
        (LastPoll(JobState.QUEUED, 0.0), 0, START, 6.0),
        (executing(0), 0, START, 6.0),
        (executing(6), 0, START, 11.4),
        (executing(20), 0, START, 2.0),
        (executing(30), 0, START, 2.0),
        (executing(51), 0, START, 2.0),
        (executing(92), 0, START, 2.0),
        (executing(300), 0, START, 2.2),
        (executing(3_600), 0, START, 3.0),
        (executing(86_400), 0, START, 14.7),
        (executing(7 * 86_400), 0, START, 38.9),
        (executing(70 * 86_400), 0, START, 60.0),
        (executing(51), 0, SLOW_ORGANISATION, 4.0),
        (executing(600), 0, SLOW_ORGANISATION, 57.9),
        (executing(1_800), 0, SLOW_ORGANISATION, 3.1),
        (LastPoll(JobState.DELIVERING, 300.0), 0, START, 2.0),
        (LastPoll(JobState.UNKNOWN, 51.0), 0, START, 2.0),
        (executing(51), 1, START, 4.0),
        (executing(51), 2, START, 8.0),
        (executing(51), 4, START, 32.0),
        (executing(51), 5, START, 60.0),
        (executing(51), 1_000_000, START, 60.0),
    ],
)
def test_a_pause_follows_how_likely_the_job_ends_soon(
    look: LastPoll, failures: int, survival: SurvivalCurve, seconds: float
) -> None:
    assert pause_seconds(look, failures, survival) == pytest.approx(seconds, abs=0.06)


def test_a_lone_job_of_30_seconds_costs_nine_requests_at_most() -> None:
    asked_at = [0.0]
    while asked_at[-1] < 30.0:
        asked_at.append(asked_at[-1] + pause_seconds(executing(asked_at[-1]), 0, START))
    assert len(asked_at) <= 9


_STATES = st.sampled_from([state for state in JobState if not state.is_final])
_LOOKS = st.builds(LastPoll, _STATES, st.floats(0, 1e7))
_SURVIVALS = st.sampled_from([START, SLOW_ORGANISATION, SurvivalCurve([3.0] * 50), SurvivalCurve([0.0, 1e9])])


@given(_LOOKS, st.integers(0, 100_000), _SURVIVALS)
def test_a_pause_is_neither_shorter_than_omni_advises_nor_longer_than_a_minute(
    look: LastPoll, failures: int, survival: SurvivalCurve
) -> None:
    assert FASTEST_SECONDS == 2.0
    assert SLOWEST_SECONDS == 60.0
    assert FASTEST_SECONDS <= pause_seconds(look, failures, survival) <= SLOWEST_SECONDS


@given(st.builds(LastPoll, _STATES, st.floats(0, 10)), _SURVIVALS)
def test_people_get_news_of_a_young_job_soon(look: LastPoll, survival: SurvivalCurve) -> None:
    assert pause_seconds(look, 0, survival) <= FIRST_NEWS_SECONDS + look.age_seconds


@given(_LOOKS, _SURVIVALS, st.integers(0, 20), st.integers(0, 20))
def test_failures_never_bring_the_next_question_nearer(
    look: LastPoll, survival: SurvivalCurve, some: int, others: int
) -> None:
    fewer, more = sorted((some, others))
    assert pause_seconds(look, fewer, survival) <= pause_seconds(look, more, survival)


@given(st.floats(2_000, 300_000))
def test_a_pause_is_as_long_as_asking_is_not_worth_while(age: float) -> None:
    pause = pause_seconds(executing(age), 0, START)
    assert (
        priority(executing(age), pause - 0.06, START) < MIN_PRIORITY <= priority(executing(age), pause, START)
    )


@given(_LOOKS, _SURVIVALS, st.floats(0, 1e5), st.floats(0, 1e5))
def test_the_longer_nobody_has_looked_the_more_a_question_is_worth(
    look: LastPoll, survival: SurvivalCurve, some: float, other: float
) -> None:
    sooner, later = sorted((some, other))
    assert 0.0 <= priority(look, sooner, survival) <= priority(look, later, survival) + 1e-9


@given(_LOOKS, _SURVIVALS, st.floats(1, 1e4))
def test_no_job_is_worth_little_for_ever_so_none_starves(
    look: LastPoll, survival: SurvivalCurve, others: float
) -> None:
    assert priority(look, 1e10, survival) > others


@given(_LOOKS, _SURVIVALS, st.floats(0, 1e4), st.floats(0, CHART_YIELDS_SECONDS, exclude_max=True))
def test_a_chart_that_has_not_waited_for_long_lets_every_poll_go_first(
    look: LastPoll, survival: SurvivalCurve, unseen_seconds: float, waited_seconds: float
) -> None:
    assert chart_priority(waited_seconds) < priority(look, unseen_seconds, survival) or unseen_seconds == 0.0


def test_a_chart_gets_its_turn_where_30_jobs_use_all_of_60_requests_a_minute() -> None:
    """Each of these jobs has ended with a likelihood of 2 % in each second since the last look."""
    last, asked_at = [0.0] * 30, 0
    while chart_priority(asked_at) < max(
        priority(executing(0.0), asked_at - at, Constant(0.02)) for at in last
    ):
        last[min(range(30), key=last.__getitem__)] = asked_at
        asked_at += 1
    assert 30 < asked_at < WAITED_FOR_SECONDS


@given(st.floats(1e-5, 1e-3), st.floats(1e-5, 1e-3))
def test_jobs_are_asked_in_proportion_to_the_square_root_of_their_hazard(one: float, other: float) -> None:
    """Two jobs that are worth the same have waited in inverse proportion to it, while they have hardly ended."""
    waits = 5.0, 5.0 * sqrt(one / other)
    look = executing(0.0)
    assert priority(look, waits[0], Constant(one)) == pytest.approx(
        priority(look, waits[1], Constant(other)), rel=0.02
    )


def shares(hazards: list[float], requests: int) -> list[int]:
    """How often each of some jobs is asked if always that is asked which is worth the most."""
    asked, last = [0] * len(hazards), [-1.0] * len(hazards)
    for time in range(requests):
        values = [
            priority(executing(0.0), time - at, Constant(hazard))
            for at, hazard in zip(last, hazards, strict=True)
        ]
        best = values.index(max(values))
        asked[best] += 1
        last[best] = float(time)
    return asked


def test_asking_for_what_is_worth_the_most_comes_to_the_square_root_law() -> None:
    asked = shares([1e-8] * 10 + [4e-8] * 10 + [16e-8] * 10, 7_000)
    assert sum(asked[:10]) == pytest.approx(1_000, rel=0.05)
    assert sum(asked[10:20]) == pytest.approx(2_000, rel=0.05)
    assert sum(asked[20:]) == pytest.approx(4_000, rel=0.05)


def test_the_pause_changes_smoothly_with_the_age() -> None:
    ages = [10.0 * 1.02**step for step in range(400)]
    pauses = [pause_seconds(executing(age), 0, START) for age in ages]
    assert max(abs(later - sooner) for sooner, later in pairwise(pauses)) < 1.0
    assert inf not in pauses
