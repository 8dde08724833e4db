"""The history of a job has each report once, in order, and is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.jobs import LONGEST_REPORT, MOST_REPORTS, JobHistory, Progress

SEARCHING, RUNNING = Progress("Searching", 1), Progress("Running query", 2)


def of(*reports: Progress) -> JobHistory:
    """The history after these reports."""
    history = JobHistory()
    for report in reports:
        history = history.with_report(report)
    return history


def test_new_iterations_are_added_in_order() -> None:
    assert of(SEARCHING, RUNNING) == JobHistory((SEARCHING, RUNNING))


def test_repeated_report_changes_nothing() -> None:
    assert of(SEARCHING, RUNNING, RUNNING) == of(SEARCHING, RUNNING)
    assert of(Progress("Thinking"), Progress("Thinking")) == of(Progress("Thinking"))


def test_same_iteration_replaces_its_report() -> None:
    returned = Progress("Query returned 42 rows", 2)
    assert of(SEARCHING, RUNNING, returned) == of(SEARCHING, returned)


def test_reports_without_number_are_added() -> None:
    assert len(of(Progress("Searching"), RUNNING, Progress("Thinking")).recent) == 3


def test_earlier_iteration_begins_anew() -> None:
    assert of(SEARCHING, RUNNING, Progress("Thinking", 3), Progress("Again", 2)) == of(
        SEARCHING, Progress("Again", 2)
    )
    assert of(*(Progress("Thinking", number) for number in range(1, 20)), SEARCHING) == of(SEARCHING)


def test_older_reports_are_only_counted() -> None:
    history = of(*(Progress("Thinking", number) for number in range(1, 21)))
    assert [report.iteration for report in history.recent] == list(range(21 - MOST_REPORTS, 21))
    assert history.earlier == 20 - MOST_REPORTS


@given(st.lists(st.builds(Progress, st.text(max_size=3), st.none() | st.integers(-2, 9)), max_size=30))
def test_history_is_bounded_and_ends_with_the_newest(reports: list[Progress]) -> None:
    history = of(*reports)
    assert len(history.recent) <= MOST_REPORTS
    assert history.earlier + len(history.recent) <= len(reports)
    assert history.recent[-1:] == tuple(reports[-1:])
    assert all(history.with_report(report) == history for report in history.recent[-1:])


def test_long_report_is_cut() -> None:
    assert len(of(Progress("x" * 5_000, 1)).recent[0].message) == LONGEST_REPORT
