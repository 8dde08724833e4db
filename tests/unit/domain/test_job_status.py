"""When a job that Omni says it does not know counts as gone."""

from datetime import timedelta

from bot.domain.errors import JobNotFound, OmniUnreachable
from bot.domain.jobs import JobStatus
from tests.support.fakes import START, a_job

SEEN = JobStatus().with_snapshot(a_job(), START)
NOT_FOUND = JobNotFound("404")


def after(status: JobStatus, *seconds: float) -> JobStatus:
    """What is known after "not found" at these seconds."""
    for second in seconds:
        status = status.with_error(NOT_FOUND, START + timedelta(seconds=second), second)
    return status


def test_a_job_that_was_never_seen_is_missing_at_the_first_answer() -> None:
    assert after(JobStatus(), 0).is_missing


def test_a_seen_job_is_missing_after_three_answers_over_five_minutes() -> None:
    assert after(SEEN, 0, 150, 300).is_missing


def test_two_answers_are_not_enough_however_long_they_lie_apart() -> None:
    assert not after(SEEN, 0, 600).is_missing


def test_many_answers_within_five_minutes_are_not_enough() -> None:
    assert not after(SEEN, 0, 60, 120, 180, 240, 299).is_missing


def test_a_clock_that_is_set_forward_makes_no_time_pass() -> None:
    status = after(SEEN, 0, 10)
    assert not status.with_error(NOT_FOUND, START + timedelta(hours=1), 20).is_missing


def test_any_other_trouble_starts_the_count_again() -> None:
    between = after(SEEN, 0, 150).with_error(OmniUnreachable("500"), START + timedelta(seconds=200), 200)
    assert not after(between, 300, 400, 500).is_missing


def test_an_answer_ends_all_trouble_and_keeps_nothing_of_it() -> None:
    assert after(SEEN, 0, 30).with_snapshot(a_job(), START) == SEEN


def test_trouble_is_dated_from_its_first_question_and_counted() -> None:
    status = after(SEEN, 10, 20, 30)
    assert status.failing_since == START + timedelta(seconds=10)
    assert status.failures == 3
