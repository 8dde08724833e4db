"""How likely a job has ended: by what is known for a start, and by what was learned."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.tracking.durations import SurvivalCurve

START = SurvivalCurve()
_DURATIONS = st.lists(st.floats(0, 1e6), max_size=40)
_AGES = st.floats(0, 1e8)


def by(age_seconds: float, survival: SurvivalCurve = START) -> float:
    """The share of jobs that have ended by an age."""
    return survival.ended(0.0, age_seconds)


@pytest.mark.parametrize("age, ended", [(40, 0.25), (51, 0.5), (92, 0.75)])
def test_the_start_values_have_the_measured_quartiles(age: float, ended: float) -> None:
    assert by(age) == pytest.approx(ended, abs=0.06)


def test_a_few_jobs_run_for_much_longer() -> None:
    assert 0.85 < by(300) < 0.95
    assert by(3_600) < 0.999_999_9


@pytest.mark.parametrize("typical", [5.0, 600.0, 3_000.0])
def test_an_organisation_whose_jobs_take_another_time_is_learned_from(typical: float) -> None:
    jobs = [typical * (0.7 + 0.6 * number / 100) for number in range(100)]
    assert by(typical, SurvivalCurve(jobs)) == pytest.approx(0.5, abs=0.15)
    assert abs(by(typical) - 0.5) > 0.3


def test_one_odd_job_changes_little() -> None:
    assert by(60.0, SurvivalCurve([3_600.0])) == pytest.approx(by(60.0), abs=0.05)


@given(_DURATIONS, _AGES, _AGES, _AGES)
def test_the_later_the_likelier(durations: list[float], one: float, other: float, third: float) -> None:
    young, middle, old = sorted((one, other, third))
    survival = SurvivalCurve(durations)
    assert 0.0 <= survival.ended(young, middle) <= survival.ended(young, old) <= 1.0


@given(_DURATIONS, _AGES, _AGES, _AGES)
def test_what_is_likely_in_two_steps_is_as_likely_in_one(
    durations: list[float], one: float, other: float, third: float
) -> None:
    young, middle, old = sorted((one, other, third))
    survival = SurvivalCurve(durations)
    running = (1.0 - survival.ended(young, middle)) * (1.0 - survival.ended(middle, old))
    assert running == pytest.approx(1.0 - survival.ended(young, old), abs=1e-9)


@given(_AGES)
def test_a_job_has_not_ended_before_it_was_seen_running(age: float) -> None:
    assert START.ended(age, age) == START.ended(age, age / 2.0) == 0.0


def test_no_age_is_impossible() -> None:
    for sooner, later in pairwise([0.1, 1.0, 60.0, 3_600.0, 86_400.0, 30 * 86_400.0, 3_650 * 86_400.0]):
        assert 0.0 < START.ended(sooner, later) < 1.0


@given(_DURATIONS, _AGES, _AGES)
def test_a_job_has_been_over_for_as_long_as_it_was_likely_to_have_ended(
    durations: list[float], one: float, other: float
) -> None:
    """The integral, against a sum of many small steps."""
    young, old = sorted((one, other))
    survival, steps = SurvivalCurve(durations), 2_000
    step = (old - young) / steps
    summed = step * math.fsum(survival.ended(young, young + step * (number + 0.5)) for number in range(steps))
    assert survival.unnoticed_seconds(young, old) == pytest.approx(summed, rel=0.01, abs=1e-6 + 2.0 * step)


@given(_DURATIONS, _AGES, _AGES, _AGES)
def test_what_is_unnoticed_grows_by_at_most_a_second_each_second(
    durations: list[float], one: float, other: float, third: float
) -> None:
    running, sooner, later = sorted((one, other, third))
    survival = SurvivalCurve(durations)
    grown = survival.unnoticed_seconds(running, later) - survival.unnoticed_seconds(running, sooner)
    rounding = 1e-9 * (1.0 + later)
    assert -rounding <= grown <= later - sooner + rounding
