"""What is known of a job at one moment: the newest reading, and what stood in the way of a newer one."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from bot.errors import JobNotFound, OmniError
from bot.job import Job, JobState, Progress

LOST_AFTER_ANSWERS = 3
LOST_AFTER_SECONDS = 300.0
"""A job that was seen counts as gone once Omni has said "not found" this often over this long: to end a follow while
a server is being replaced costs its followers the answer, to ask for longer costs some requests."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a job right now. Times are aware UTC."""

    job: Job | None = None
    """The newest reading; None before the first."""
    seen_at: datetime | None = None
    """When that reading was made."""
    trouble: OmniError | None = None
    """Why the latest question got no answer; None if it got one."""
    trouble_since: datetime | None = None
    """When the first of the questions in a row that got no answer was asked."""
    failures: int = 0
    """How many questions in a row got no answer."""
    not_found: int = 0
    """How many answers in a row said that there is no such job."""
    not_found_since: float | None = None
    """When the first of those came, in seconds of a clock that nobody sets."""
    seen_before: bool = False
    """A former process saw the job, or a card of it would not exist."""
    missing: bool = False
    """Omni says that the job does not exist, which is final."""

    @property
    def is_final(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.missing or (self.job is not None and self.job.state.is_final)

    @property
    def has_ended(self) -> bool:
        """Whether Omni says how the job ended."""
        return not self.missing and self.job is not None and self.job.state.is_final

    def read(self, job: Job, now: datetime) -> Self:
        """What is known after an answer."""
        return type(self)(job=job, seen_at=now)

    def told(self, progress: Progress) -> Self:
        """What is known after Omni has told by itself what the job does now. The first thing that is known of a job,
        and what has gone on from there, is Omni's to answer."""
        job = self.job
        if job is None or job.state not in (JobState.QUEUED, JobState.EXECUTING):
            return self
        before = None if job.progress is None else job.progress.iteration
        if before is not None and progress.iteration is not None and progress.iteration < before:
            return self  # overtaken on the way by a later one
        executing = JobState.EXECUTING
        return replace(self, job=replace(job, state=executing, raw_state=executing.value, progress=progress))

    def unanswered(self, error: OmniError, now: datetime, seconds: float) -> Self:
        """What is known after a question that failed. `seconds`: `now` by a clock that nobody sets."""
        since = self.trouble_since or now
        failed = replace(self, trouble=error, trouble_since=since, failures=self.failures + 1)
        if not isinstance(error, JobNotFound):
            return replace(failed, not_found=0, not_found_since=None)
        first = seconds if self.not_found_since is None else self.not_found_since
        answers = self.not_found + 1
        was_seen = self.seen_before or self.job is not None
        lost = answers >= LOST_AFTER_ANSWERS and seconds - first >= LOST_AFTER_SECONDS
        return replace(failed, not_found=answers, not_found_since=first, missing=lost or not was_seen)
