"""When Omni is asked again: fast for young jobs, within the budget for many, patient after failures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cadence import FASTEST_SECONDS, POLL_SHARE, SLOWEST_SECONDS, YOUNG_SECONDS, pause_seconds


@pytest.mark.parametrize(
    "age, jobs, failures, limit, seconds",
    [
        (0, 1, 0, 60, 2.0),
        (51, 1, 0, 60, 2.0),
        (120, 1, 0, 60, 2.0),
        (300, 1, 0, 60, 5.0),
        (1_800, 1, 0, 60, 30.0),
        (3_600, 1, 0, 60, 60.0),
        (86_400, 1, 0, 60, 60.0),
        (0, 2, 0, 60, 2.22),
        (0, 3, 0, 60, 3.33),
        (0, 50, 0, 60, 55.56),
        (0, 100, 0, 60, 111.11),
        (0, 50, 0, 500, 6.67),
        (0, 1, 1, 60, 4.0),
        (0, 1, 2, 60, 8.0),
        (0, 1, 4, 60, 32.0),
        (0, 1, 5, 60, 60.0),
        (0, 1, 1_000_000, 60, 60.0),
        (0, 1, 0, 1, 66.67),
        (600, 10, 3, 60, 16.0),
        (-5, 1, 0, 60, 2.0),
    ],
)
def test_the_pause_is_the_longest_of_budget_age_and_back_off(
    age: float, jobs: int, failures: int, limit: int, seconds: float
) -> None:
    pause = pause_seconds(age_seconds=age, jobs=jobs, failures=failures, requests_per_minute=limit)
    assert pause == pytest.approx(seconds, abs=0.01)


_AGES = st.floats(0, 1e7)
_JOBS = st.integers(1, 100_000)
_FAILURES = st.integers(0, 100_000)
_LIMITS = st.integers(1, 10_000)


@given(_AGES, _JOBS, _FAILURES, _LIMITS)
def test_omni_is_never_asked_faster_than_it_advises(age: float, jobs: int, failures: int, limit: int) -> None:
    pause = pause_seconds(age_seconds=age, jobs=jobs, failures=failures, requests_per_minute=limit)
    assert pause >= FASTEST_SECONDS == 2.0


@given(_AGES, _JOBS, _FAILURES, _LIMITS)
def test_all_jobs_together_plan_with_no_more_than_their_share_of_the_budget(
    age: float, jobs: int, failures: int, limit: int
) -> None:
    pause = pause_seconds(age_seconds=age, jobs=jobs, failures=failures, requests_per_minute=limit)
    assert jobs * 60.0 / pause <= limit * POLL_SHARE * 1.000_001


@given(_AGES, _JOBS, _FAILURES, _LIMITS)
def test_nothing_but_the_budget_makes_a_job_wait_longer_than_a_minute(
    age: float, jobs: int, failures: int, limit: int
) -> None:
    pause = pause_seconds(age_seconds=age, jobs=jobs, failures=failures, requests_per_minute=limit)
    assert pause <= max(SLOWEST_SECONDS, jobs * 60.0 / (limit * POLL_SHARE))


@given(_AGES, _AGES, _JOBS, _JOBS, _FAILURES, _FAILURES, _LIMITS, _LIMITS)
def test_older_more_failing_and_dearer_never_means_sooner(
    age: float,
    other_age: float,
    jobs: int,
    other_jobs: int,
    failures: int,
    other_failures: int,
    limit: int,
    other_limit: int,
) -> None:
    easy = pause_seconds(
        age_seconds=min(age, other_age),
        jobs=min(jobs, other_jobs),
        failures=min(failures, other_failures),
        requests_per_minute=max(limit, other_limit),
    )
    hard = pause_seconds(
        age_seconds=max(age, other_age),
        jobs=max(jobs, other_jobs),
        failures=max(failures, other_failures),
        requests_per_minute=min(limit, other_limit),
    )
    assert easy <= hard


def test_growing_older_never_makes_the_pause_jump() -> None:
    before = pause_seconds(age_seconds=YOUNG_SECONDS, jobs=1, failures=0, requests_per_minute=60)
    after = pause_seconds(age_seconds=YOUNG_SECONDS + 0.001, jobs=1, failures=0, requests_per_minute=60)
    assert after == pytest.approx(before, abs=0.001)
