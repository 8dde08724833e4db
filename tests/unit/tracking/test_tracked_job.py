"""How often a job is polled: as often as Omni advises, and less while it fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.tracking.tracked_job import FASTEST_SECONDS, LONGEST_BACKOFF_SECONDS, poll_interval_seconds


@pytest.mark.parametrize(
    "age_seconds, failures, seconds",
    [
        (-30.0, 0, 2.0),
        (0.0, 0, 2.0),
        (59.9, 0, 2.0),
        (60.0, 0, 3.0),
        (599.9, 0, 3.0),
        (600.0, 0, 5.0),
        (7 * 86_400.0, 0, 5.0),
        (0.0, 1, 4.0),
        (700.0, 1, 4.0),
        (0.0, 2, 8.0),
        (0.0, 4, 32.0),
        (0.0, 5, 60.0),
        (0.0, 1_000_000, 60.0),
    ],
)
def test_interval_follows_age_and_failures(age_seconds: float, failures: int, seconds: float) -> None:
    assert poll_interval_seconds(age_seconds, failures) == seconds


@given(st.floats(-1e7, 1e7), st.integers(0, 20), st.integers(0, 20))
def test_more_failures_never_shorten_the_backoff(age_seconds: float, some: int, others: int) -> None:
    fewer, more = sorted((some, others))
    shorter, longer = (poll_interval_seconds(age_seconds, failures) for failures in (fewer, more))
    assert FASTEST_SECONDS <= shorter <= LONGEST_BACKOFF_SECONDS
    assert shorter <= longer or fewer == 0
