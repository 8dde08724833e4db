"""Omni AI jobs: id, state, snapshot, webhook events, and what the bot knows about a job over time."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import NewType, Self

from bot.domain.errors import JobNotFound, OmniError

JobId = NewType("JobId", str)
"""A job's UUID, lower case with dashes."""

LONGEST_ANSWER = 200_000
"""Most characters of an answer that the bot keeps. The rest is read in Omni."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """An Omni chat of one or more jobs. `id` is its UUID, lower case with dashes."""

    id: str


class JobState(StrEnum):
    """State of a job, as Omni names it (`GET /api/v1/ai/jobs/{jobId}`, key `state`).

    QUEUED, EXECUTING and DELIVERING usually come in this order, but Omni does not promise it.
    """

    QUEUED = "QUEUED"
    """Accepted; no worker has started it yet."""
    EXECUTING = "EXECUTING"
    """A worker is thinking and querying. Only this state has progress."""
    DELIVERING = "DELIVERING"
    """The answer exists and is being finalized; too late to cancel."""
    COMPLETE = "COMPLETE"
    """Final: the answer is available. (Not `COMPLETED`.)"""
    FAILED = "FAILED"
    """Final: Omni gave up; `error` says why."""
    CANCELLED = "CANCELLED"
    """Final: a user stopped it."""
    UNKNOWN = "UNKNOWN"
    """Not Omni's: a state that this version does not know. Counts as running."""

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self in (JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress report of the AI. Omni sends it only while EXECUTING, and not from the start."""

    message: str
    iteration: int | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed. Omni promises only the message."""

    message: str
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Snapshot of a job. Times are aware UTC; a field that Omni left out or sent as null is None."""

    id: JobId
    state: JobState
    raw_state: str
    """The state as Omni spells it, at most 100 characters. Differs from `state` for UNKNOWN, and for FAILED where
    the job ended in a state that this version does not know."""
    prompt: str = field(default="", repr=False)
    chat_url: str | None = field(default=None, repr=False)
    """`omniChatUrl` as received and not validated; see `chat_link`."""
    topic: str | None = None
    conversation: str | None = None
    """UUID of the chat that the job is part of."""
    user: str | None = None
    """UUID of the Omni user who runs it."""
    model: str | None = None
    """UUID of the model."""
    branch: str | None = None
    """UUID of the model's branch; None: the main one."""
    progress: Progress | None = field(default=None, repr=False)
    answer: str | None = field(default=None, repr=False)
    """Markdown, at most LONGEST_ANSWER characters. COMPLETE only, and optional even then. `resultSummary` of the
    status, or else `message` of the result."""
    answer_is_cut: bool = False
    """Whether the answer is longer in Omni."""
    error: JobError | None = field(default=None, repr=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    execution_started_at: datetime | None = None
    completed_at: datetime | None = None
    """COMPLETE and FAILED only."""
    cancelled_at: datetime | None = None
    is_redacted: bool = False
    """Whether everything that was asked or answered was removed."""

    def redacted(self) -> Self:
        """Return the snapshot without anything that was asked or answered: state, times, and the chat's address.

        The fields that stay are listed, so that a new one is left out unless it is added here.
        """
        return type(self)(
            id=self.id,
            state=self.state,
            raw_state=self.state.value,
            chat_url=self.chat_url,
            created_at=self.created_at,
            updated_at=self.updated_at,
            execution_started_at=self.execution_started_at,
            completed_at=self.completed_at,
            cancelled_at=self.cancelled_at,
            is_redacted=True,
        )

    @property
    def begun_at(self) -> datetime | None:
        """When a worker started it or, if Omni does not say, when it was created."""
        return self.execution_started_at or self.created_at

    @property
    def ended_at(self) -> datetime | None:
        """When it ended; None while it runs, and if Omni does not say."""
        return self.completed_at or self.cancelled_at

    @property
    def duration_seconds(self) -> float | None:
        """Time from creation to the end, if both are known."""
        if self.ended_at is None or self.created_at is None:
            return None
        return max(0.0, (self.ended_at - self.created_at).total_seconds())


ON_ITS_WAY_SECONDS = 10.0
"""How long after the end of a job its webhook event may arrive."""


class EventKind(Enum):
    """Kind of a webhook event."""

    ENDED = auto()
    """The job has ended. A poll finds out how."""
    PROGRESS = auto()
    """The job has new progress."""
    UNCLEAR = auto()
    """Not understood by this version."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Webhook event about a job. Only a hint: the result is always polled."""

    kind: EventKind
    signed_at: float
    """Unix time of the signature, by Omni's clock."""
    progress: Progress | None = field(default=None, repr=False)
    """PROGRESS only."""


def was_missed_by_webhooks(before: Job | None, job: Job, now: datetime) -> bool:
    """Whether a poll found a change for which a webhook event should have arrived.

    Omni sends events about progress, answers and failures, but not about cancellations or the start of a step.
    Source: Omni's OpenAPI document, `webhookUrl` and `progressWebhookEnabled`.
    """
    if job.state in (JobState.COMPLETE, JobState.FAILED):
        return job.completed_at is None or (now - job.completed_at).total_seconds() > ON_ITS_WAY_SECONDS
    return job.progress is not None and before is not None and job.progress != before.progress


LONGEST_REPORT = 1_000
"""Most characters of a report that are kept. More are never shown."""
MOST_REPORTS = 6
"""How many reports are kept. Older ones are only counted."""


@dataclass(frozen=True, slots=True)
class JobHistory:
    """Newest reports of a running job, kept because Omni's status has only the current progress report.

    A report that came and went between two polls is not in it.
    """

    recent: tuple[Progress, ...] = ()
    """At most MOST_REPORTS, newest last. Messages have at most LONGEST_REPORT characters."""
    earlier: int = 0
    """How many older reports are no longer kept."""
    usual_seconds: tuple[float, float] | None = None
    """The quartiles of how long jobs took, as they were when the job was first seen; None: not known yet. They stay,
    because a card that says other figures would need an edit."""

    def with_report(self, progress: Progress) -> Self:
        """Add a report. One of the newest iteration replaces the report before, so that repeating it changes nothing.

        An iteration that was reported before is reached again when Omni has begun anew: the later ones are dropped.
        """
        new = replace(progress, message=progress.message[:LONGEST_REPORT])
        kept = [each for each in self.recent if not _is_superseded(each, new)]
        reports = kept if kept and kept[-1] == new else [*kept, new]
        folded = max(0, len(reports) - MOST_REPORTS)
        earlier = self.earlier + folded if kept else 0
        return replace(self, recent=tuple(reports[folded:]), earlier=earlier)

    def begun_anew(self) -> Self:
        """Drop the reports."""
        return replace(self, recent=(), earlier=0)


def _is_superseded(report: Progress, new: Progress) -> bool:
    if report.iteration is None or new.iteration is None:
        return False
    return report.iteration >= new.iteration


LOST_AFTER_ANSWERS = 3

LOST_AFTER_SECONDS = 300.0
"""A job that was seen before is missing after this many "not found" responses over this time. Giving up while
Omni's server is being replaced would cost the followers the answer; waiting longer costs only some requests."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Newest snapshot of a job, its progress before, and the errors since then. Times are aware UTC."""

    job: Job | None = None
    """Newest snapshot; None before the first."""
    seen_at: datetime | None = None
    """When the snapshot was taken, or a webhook event that changed it was signed."""
    error: OmniError | None = None
    """Why the latest poll failed; None if it succeeded."""
    failing_since: datetime | None = None
    """When the first of the consecutive failed polls was made."""
    failures: int = 0
    """Number of consecutive failed polls."""
    not_found_count: int = 0
    """Number of consecutive "not found" responses."""
    not_found_since: float | None = None
    """Monotonic time of the first of these, in seconds."""
    was_seen_before: bool = False
    """Whether an earlier process saw the job."""
    is_missing: bool = False
    """Whether Omni no longer has the job. Final."""
    past: JobHistory = field(default=JobHistory(), repr=False)
    """The history before the snapshot."""

    @property
    def is_final(self) -> bool:
        """Whether polling can end."""
        return self.is_missing or (self.job is not None and self.job.state.is_final)

    @property
    def outcome(self) -> JobState | None:
        """How the job ended; None if the snapshot does not show that."""
        return self.job.state if self.has_ended and self.job else None

    @property
    def has_ended(self) -> bool:
        """Whether the snapshot shows how the job ended."""
        return not self.is_missing and self.job is not None and self.job.state.is_final

    def redacted(self) -> Self:
        """Return the status with a redacted snapshot, and without the progress before."""
        job = self.job.redacted() if self.job else None
        return replace(self, job=job, past=self.past.begun_anew())

    @property
    def history(self) -> JobHistory:
        """The history with the report of the snapshot."""
        current = self.job.progress if self.job else None
        return self.past if current is None else self.past.with_report(current)

    @property
    def is_slow(self) -> bool:
        """Whether the job takes longer than three of four do. Only a poll or an event changes that."""
        asked_at, usual = self.job.created_at if self.job else None, self.past.usual_seconds
        if usual is None or asked_at is None or self.seen_at is None:
            return False
        return (self.seen_at - asked_at).total_seconds() > usual[1]

    def with_snapshot(
        self, job: Job, now: datetime, usual_seconds: tuple[float, float] | None = None
    ) -> Self:
        """Apply the result of a poll. `usual_seconds`: the quartiles of how long jobs take now, if known."""
        past = self.history
        if job.state is JobState.QUEUED:
            past = past.begun_anew()
        if past.usual_seconds is None:
            past = replace(past, usual_seconds=usual_seconds)
        return type(self)(job=job, seen_at=now, past=past)

    def with_progress(self, progress: Progress, signed_at: datetime) -> Self:
        """Apply the progress of a webhook event. Ignored before the first poll and in later states."""
        job = self.job
        if job is None or job.state not in (JobState.QUEUED, JobState.EXECUTING):
            return self
        before = None if job.progress is None else job.progress.iteration
        if before is not None and progress.iteration is not None and progress.iteration < before:
            return self  # a later event arrived first
        executing = JobState.EXECUTING
        job = replace(job, state=executing, raw_state=executing.value, progress=progress)
        seen_at = max(self.seen_at or signed_at, signed_at)
        return replace(self, job=job, seen_at=seen_at, past=self.history)

    def with_error(self, error: OmniError, now: datetime, seconds: float) -> Self:
        """Apply the error of a poll. `seconds`: monotonic time."""
        since = self.failing_since or now
        failed = replace(self, error=error, failing_since=since, failures=self.failures + 1)
        if not isinstance(error, JobNotFound):
            return replace(failed, not_found_count=0, not_found_since=None)
        first = seconds if self.not_found_since is None else self.not_found_since
        count = self.not_found_count + 1
        was_seen = self.was_seen_before or self.job is not None
        is_lost = count >= LOST_AFTER_ANSWERS and seconds - first >= LOST_AFTER_SECONDS
        return replace(
            failed, not_found_count=count, not_found_since=first, is_missing=is_lost or not was_seen
        )
