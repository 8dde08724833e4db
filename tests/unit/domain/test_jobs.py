"""The properties of a job."""

from datetime import UTC, datetime, timedelta

from bot.domain.jobs import Job, JobId, JobState
from tests.support.tables import for_each

ID = "550e8400-e29b-41d4-a716-446655440000"
CHAT = f"https://acme.omniapp.co/chat/{ID}"


def test_three_states_are_final() -> None:
    final = {state for state in JobState if state.is_final}
    assert final == {JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED}


CREATED = datetime(2026, 5, 4, 14, 0, tzinfo=UTC)


@for_each(
    "created, completed, cancelled, seconds",
    [
        (CREATED, CREATED + timedelta(seconds=90), None, 90.0),
        (CREATED, None, CREATED + timedelta(seconds=12), 12.0),
        (CREATED, CREATED - timedelta(seconds=5), None, 0.0),
        (CREATED, None, None, None),
        (None, CREATED, None, None),
    ],
)
def test_duration_needs_creation_and_end(
    created: datetime | None, completed: datetime | None, cancelled: datetime | None, seconds: float | None
) -> None:
    job = Job(
        JobId(ID),
        JobState.COMPLETE,
        "COMPLETE",
        created_at=created,
        completed_at=completed,
        cancelled_at=cancelled,
    )
    assert job.duration_seconds == seconds


def test_repr_of_job_has_no_content() -> None:
    job = Job(JobId(ID), JobState.COMPLETE, "COMPLETE", prompt="our margins", answer="42 %", chat_url=CHAT)
    assert "margins" not in repr(job) and "42" not in repr(job) and "chat" not in repr(job)
