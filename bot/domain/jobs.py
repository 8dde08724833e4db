"""Omni AI jobs: id, state, snapshot, webhook events, and how users refer to a job."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import NewType, Self

from bot.domain.errors import JobNotFound, NotAJobReference, OmniError
from bot.domain.progress import JobHistory, Progress

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
    cancelled_by: str | None = None
    """UUID of the Omni user who cancelled it."""
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


_UUID = re.compile(
    r"(?<![0-9a-z-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z-])", re.IGNORECASE
)

_OTHER_DASH = re.compile(r"(?<=[0-9a-fA-F])[\u2010-\u2015\u2212](?=[0-9a-fA-F])")
"""What word processors put in place of the hyphens of an id."""

_LABELED_JOB = re.compile(r"job[_ ]?id\W{1,6}$", re.IGNORECASE)
"""Names the job in the response to a submit, which has the id of the chat too."""

_BETWEEN = re.compile(r"[\s<>|]")
"""Ends a word: white space, and the marks of Slack's `<url|label>`."""

_REQUEST_WORDS = frozenset(
    "ai chat check done follow for id is job jobid me my of omni omnijob please private progress show status the this"
    " track watch".split()
)

_LONGEST_REFERENCE = 2_000


def parse_reference(text: str) -> JobId | Conversation:
    """Parse the argument of `/omni-job`: the one job id or address of an Omni chat that the text contains.

    An id may be in capitals, have other dashes, and stand in quotes, a sentence or the address of Omni's API. Any host
    is accepted, because only the UUID of an address is used.

    Raises:
        NotAJobReference: the text has none, or several. The message says what to type instead.
    """
    if len(text) > _LONGEST_REFERENCE:
        raise NotAJobReference("That is too long for a job id.")
    text = _normalized(text)
    found = dict.fromkeys(reference for _, reference in _references(text))
    labeled = dict.fromkeys(
        reference for start, reference in _references(text) if _LABELED_JOB.search(text, start - 12, start)
    )
    if len(found) == 1 or len(labeled) == 1:
        return next(iter(labeled or found))
    if found:
        raise NotAJobReference("One job at a time, please.")
    if "://" in text:
        raise NotAJobReference("That link is not an Omni chat: its links end with `/chat/` and an id.")
    raise NotAJobReference("That is not an Omni job id.")


def find_reference(text: str) -> str | None:
    """Find the first job id or chat address in a text, for `parse_reference`."""
    for _, reference in _references(_normalized(text)):
        return f"/chat/{reference.id}" if isinstance(reference, Conversation) else reference
    return None


def is_job_request(text: str) -> bool:
    """Return whether a message only names a job, or several, with words like "follow". Others are questions."""
    if find_reference(text) is None:
        return False
    words = (
        re.sub(r"\W", "", word).lower()
        for word in _BETWEEN.split(_normalized(text))
        if not _UUID.search(word)
    )
    return all(word in _REQUEST_WORDS for word in words if word)


def _normalized(text: str) -> str:
    """The text without invisible characters, and with the hyphens of an id as hyphens."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return _OTHER_DASH.sub("-", visible)


def _references(text: str) -> Iterator[tuple[int, JobId | Conversation]]:
    """The jobs and chats that a normalized text names, with their positions. An id in another address is neither."""
    for match in _UUID.finditer(text):
        start, id_ = match.start(), match.group().lower()
        address = "/" + _BETWEEN.split(text[max(0, start - _LONGEST_REFERENCE) : start])[-1].lower()
        if address.endswith("/chat/"):
            yield start, Conversation(id_)
        elif address.endswith("/jobs/") or "/" not in address[1:]:
            yield start, JobId(id_)


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
    """What was known before the snapshot."""

    @property
    def is_final(self) -> bool:
        """Whether polling can end."""
        return self.is_missing or (self.job is not None and self.job.state.is_final)

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
        """What is known with the snapshot."""
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
