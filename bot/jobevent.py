"""What Omni tells of a job by itself, as far as it is believed."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from bot.job import Job, JobState, Progress

ON_ITS_WAY_SECONDS = 10.0
"""How long after a job's end the word of it may still be on its way."""


class EventKind(Enum):
    """What an event is about."""

    ENDED = auto()
    """The job has ended. How, Omni is asked."""
    PROGRESS = auto()
    """It works on something new."""
    UNCLEAR = auto()
    """Something that this version does not understand."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One word of Omni's about a job. It is a hint: how the job ended is never taken from it."""

    kind: EventKind
    told_at: float
    """When Omni signed it, in seconds since 1970 by Omni's clock."""
    progress: Progress | None = field(default=None, repr=False)
    """PROGRESS only."""


def is_untold(before: Job | None, job: Job, now: datetime) -> bool:
    """Whether a job has gone on in a way of which Omni would have told, had its word come.

    It tells of progress and of answers and failures, not of a cancelling or of the first moment of a step.
    Source: Omni's OpenAPI document, `webhookUrl` and `progressWebhookEnabled`.
    """
    if job.state in (JobState.COMPLETE, JobState.FAILED):
        return job.completed_at is None or (now - job.completed_at).total_seconds() > ON_ITS_WAY_SECONDS
    return job.progress is not None and before is not None and job.progress != before.progress
