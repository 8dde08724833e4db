"""What is known of a job over its polls: its history, whether it is slow, and when it counts as missing."""

from datetime import timedelta

from bot.domain.errors import JobNotFound, OmniUnreachable
from bot.domain.jobs import Job, JobHistory, JobState, JobStatus, Progress
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


# Its history


def at(status: JobStatus, job: Job, seconds: float = 0.0) -> JobStatus:
    """The status after one more poll, where half of the jobs take 40 to 90 s."""
    return status.with_snapshot(job, START + timedelta(seconds=seconds), (40.0, 90.0))


def reported(status: JobStatus) -> list[str]:
    return [report.message for report in status.history.recent]


def test_history_holds_reports_of_earlier_polls() -> None:
    status = JobStatus()
    for number, message in enumerate(("Searching", "Running query"), start=1):
        status = at(status, a_job(progress=Progress(message, number)))
    assert reported(at(status, a_job(JobState.DELIVERING))) == ["Searching", "Running query"]


def test_failed_poll_and_webhook_keep_history() -> None:
    status = at(JobStatus(), a_job(progress=Progress("Searching", 1)))
    status = status.with_error(NOT_FOUND, START, 0.0).with_progress(Progress("Running query", 2), START)
    assert reported(status) == ["Searching", "Running query"]


def test_queued_job_begins_anew() -> None:
    status = at(JobStatus(), a_job(progress=Progress("Searching", 1)))
    status = at(status, a_job(JobState.QUEUED))
    assert status.history == JobHistory(usual_seconds=(40.0, 90.0))


def test_usual_duration_stays_once_known() -> None:
    status = JobStatus().with_snapshot(a_job(), START)
    assert status.past.usual_seconds is None
    status = at(status, a_job()).with_snapshot(a_job(), START, (1.0, 2.0))
    assert status.past.usual_seconds == (40.0, 90.0)


def test_job_is_slow_after_upper_quartile() -> None:
    job = a_job(created_at=START)
    assert [at(JobStatus(), job, seconds).is_slow for seconds in (89.0, 91.0)] == [False, True]


def test_webhook_shows_that_a_job_is_slow() -> None:
    status = at(JobStatus(), a_job(created_at=START), 10.0)
    progress = Progress("Thinking", 1)
    assert status.with_progress(progress, START + timedelta(seconds=91)).is_slow
    assert status.with_progress(progress, START - timedelta(hours=1)).seen_at == status.seen_at


def test_without_times_no_job_is_slow() -> None:
    late = START + timedelta(hours=9)
    assert not JobStatus().with_snapshot(a_job(created_at=START), late).is_slow
    assert not at(JobStatus(), a_job(created_at=None), 9_000.0).is_slow
    assert not JobStatus(a_job(created_at=START), past=JobHistory(usual_seconds=(1.0, 2.0))).is_slow
