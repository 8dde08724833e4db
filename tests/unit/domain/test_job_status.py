"""A job that Omni does not find counts as missing only after a while."""

from datetime import timedelta

from bot.domain.errors import JobNotFound, OmniUnreachable
from bot.domain.jobs import JobStatus
from tests.support.fakes import START, a_job

SEEN = JobStatus().with_snapshot(a_job(), START)
NOT_FOUND = JobNotFound("404")


def after(status: JobStatus, *seconds: float) -> JobStatus:
    """The status after "not found" at these seconds."""
    for second in seconds:
        status = status.with_error(NOT_FOUND, START + timedelta(seconds=second), second)
    return status


def test_unseen_job_is_missing_at_once() -> None:
    assert after(JobStatus(), 0).is_missing


def test_seen_job_is_missing_after_five_minutes() -> None:
    assert after(SEEN, 0, 150, 300).is_missing


def test_two_not_found_answers_are_not_enough() -> None:
    assert not after(SEEN, 0, 600).is_missing


def test_not_found_within_five_minutes_is_not_enough() -> None:
    assert not after(SEEN, 0, 60, 120, 180, 240, 299).is_missing


def test_wall_clock_jump_does_not_count() -> None:
    status = after(SEEN, 0, 10)
    assert not status.with_error(NOT_FOUND, START + timedelta(hours=1), 20).is_missing


def test_other_error_restarts_the_count() -> None:
    between = after(SEEN, 0, 150).with_error(OmniUnreachable("500"), START + timedelta(seconds=200), 200)
    assert not after(between, 300, 400, 500).is_missing


def test_snapshot_clears_all_errors() -> None:
    assert after(SEEN, 0, 30).with_snapshot(a_job(), START) == SEEN


def test_errors_are_dated_and_counted() -> None:
    status = after(SEEN, 10, 20, 30)
    assert status.failing_since == START + timedelta(seconds=10)
    assert status.failures == 3
