"""What an Omni AI job is: its id, its states, one frozen reading of it, and how people refer to it."""

import re
import unicodedata
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import NewType, Self

from bot.domain.errors import JobNotFound, NotAJobReference, OmniError

JobId = NewType("JobId", str)
"""A job's UUID, lower case with dashes."""

LONGEST_ANSWER = 200_000
"""Characters of an answer that Slack may show, as a file at most. The rest of a longer one is left in Omni."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """An Omni chat, which holds one or more jobs. `id` is its UUID, lower case with dashes."""

    id: str


class JobState(StrEnum):
    """Where a job stands. Names and meanings are Omni's (`GET /api/v1/ai/jobs/{jobId}`, key `state`).

    QUEUED, EXECUTING and DELIVERING usually follow each other, but a poll may skip any of them and
    Omni does not promise that a job never goes back, so nothing here relies on the order.
    """

    QUEUED = "QUEUED"
    """Accepted; no worker has taken it yet."""
    EXECUTING = "EXECUTING"
    """A worker thinks and queries; only now is there progress to report."""
    DELIVERING = "DELIVERING"
    """The answer exists and is being finalised; too late to cancel."""
    COMPLETE = "COMPLETE"
    """Final: the answer is there. (Not `COMPLETED`.)"""
    FAILED = "FAILED"
    """Final: Omni gave up; `error` says why."""
    CANCELLED = "CANCELLED"
    """Final: a person stopped it."""
    UNKNOWN = "UNKNOWN"
    """Not Omni's: a state this version has never heard of. Counts as still running."""

    @property
    def is_final(self) -> bool:
        """Whether Omni will never change the job again."""
        return self in (JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the AI is doing now. Omni reports it while EXECUTING, and not from the first moment."""

    message: str
    iteration: int | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job FAILED. Only the message is promised by Omni."""

    message: str
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One reading of a job's status. Times are aware UTC; what Omni left out or sent as null is None."""

    id: JobId
    state: JobState
    raw_state: str
    """The state as Omni spelt it, at most 100 characters without controls; differs from `state` only for UNKNOWN."""
    prompt: str = field(default="", repr=False)
    chat_url: str | None = field(default=None, repr=False)
    """`omniChatUrl` as received; whether it may become a link is decided where it is rendered."""
    topic: str | None = None
    conversation: str | None = None
    """The UUID of the chat that the job is part of, and that can be gone on in."""
    user: str | None = None
    """The UUID of the Omni user in whose name it runs."""
    model: str | None = None
    """The UUID of the model that was asked; None where Omni does not know it."""
    progress: Progress | None = field(default=None, repr=False)
    answer: str | None = field(default=None, repr=False)
    """`resultSummary`, Markdown, of at most LONGEST_ANSWER characters. COMPLETE only, and even then Omni may leave it
    out."""
    answer_is_cut: bool = False
    """Whether Omni has more of the answer."""
    error: JobError | None = field(default=None, repr=False)
    created_at: datetime | None = None
    execution_started_at: datetime | None = None
    completed_at: datetime | None = None
    """COMPLETE and FAILED only."""
    cancelled_at: datetime | None = None
    cancelled_by: str | None = None
    """The Omni user id of whoever cancelled, where known."""

    @property
    def begun_at(self) -> datetime | None:
        """When a worker took it up, or if Omni does not say so, when it was created."""
        return self.execution_started_at or self.created_at

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, in whichever way; None while it runs, and where Omni does not say so."""
        return self.completed_at or self.cancelled_at

    @property
    def duration_seconds(self) -> float | None:
        """From creation to the end, or None while that is not known."""
        if self.ended_at is None or self.created_at is None:
            return None
        return max(0.0, (self.ended_at - self.created_at).total_seconds())


_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

_BARE_ID = re.compile(_UUID)

_ORIGIN = r"(?:https://[^/\s?#@<>|]+|http://(?:127\.0\.0\.1|localhost)(?::\d+)?)"
"""On loopback, where the demo runs, http will do, as in `link`."""

_CHAT_URL = re.compile(rf"{_ORIGIN}/(?:[^\s?#]*/)?chat/({_UUID})/?(?:[?#]\S*)?", re.IGNORECASE)

_ANYWHERE = re.compile(
    rf"{_ORIGIN}/(?:[^\s?#<>|]*/)?chat/{_UUID}(?![0-9a-fA-F-])|(?<![0-9a-zA-Z-]){_UUID}(?![0-9a-zA-Z-])",
    re.IGNORECASE,
)

_WRAPPING = "`'\"“”‘’<>()[]*_., \t\r\n"

_LONGEST_REFERENCE = 2_000


def parse_reference(text: str) -> JobId | Conversation:
    """Read what follows `/omni-job`: a job's UUID, or the address of an Omni chat.

    Accepts what Slack and people wrap around an id: backticks, quotes, `<…>`, `<url|label>`, capitals.
    The host of a chat address is not judged: only the UUID in it is ever used.

    Returns:
        The job's id, or the conversation where a chat address was given.

    Raises:
        NotAReference: anything else; says what to type instead.
    """
    if len(text) > _LONGEST_REFERENCE:
        raise NotAJobReference("That is too long for a job id.")
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    reference = visible.strip(_WRAPPING).split("|", 1)[0].strip(_WRAPPING)
    if _BARE_ID.fullmatch(reference):
        return JobId(reference.lower())
    if chat := _CHAT_URL.fullmatch(reference):
        return Conversation(chat.group(1).lower())
    if len(reference.split()) > 1:
        raise NotAJobReference("One job at a time, please: that was more than one word.")
    if reference.lower().startswith(("http://", "https://")):
        raise NotAJobReference(
            "That address is not an Omni chat: those begin with `https://` and have `/chat/` and an id at the end."
        )
    raise NotAJobReference("That is not an Omni job id.")


def find_reference(text: str) -> str | None:
    """The first id of a job, or address of a chat, in any text, ready to be read by `parse_reference`; None if it
    holds neither. The id in a chat's address is not taken for a job's."""
    found = _ANYWHERE.search(text)
    return found.group() if found else None


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
    signed_at: float
    """When Omni signed it, in seconds since 1970 by Omni's clock."""
    progress: Progress | None = field(default=None, repr=False)
    """PROGRESS only."""


def was_missed_by_webhooks(before: Job | None, job: Job, now: datetime) -> bool:
    """Whether a job has gone on in a way of which Omni would have told, had its word come.

    It tells of progress and of answers and failures, not of a cancelling or of the first moment of a step.
    Source: Omni's OpenAPI document, `webhookUrl` and `progressWebhookEnabled`.
    """
    if job.state in (JobState.COMPLETE, JobState.FAILED):
        return job.completed_at is None or (now - job.completed_at).total_seconds() > ON_ITS_WAY_SECONDS
    return job.progress is not None and before is not None and job.progress != before.progress


LOST_AFTER_ANSWERS = 3

LOST_AFTER_SECONDS = 300.0
"""A job that was seen counts as gone once Omni has said "not found" this often over this long: to end a follow while
a server is being replaced costs its followers the answer, to ask for longer costs some requests."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is known of a job right now. Times are aware UTC."""

    job: Job | None = None
    """The newest reading; None before the first."""
    seen_at: datetime | None = None
    """When that reading was made."""
    error: OmniError | None = None
    """Why the latest question got no answer; None if it got one."""
    failing_since: datetime | None = None
    """When the first of the questions in a row that got no answer was asked."""
    failures: int = 0
    """How many questions in a row got no answer."""
    not_found_count: int = 0
    """How many answers in a row said that there is no such job."""
    not_found_since: float | None = None
    """When the first of those came, in seconds of a clock that nobody sets."""
    was_seen_before: bool = False
    """A former process saw the job, or a card of it would not exist."""
    is_missing: bool = False
    """Omni says that the job does not exist, which is final."""

    @property
    def is_final(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.is_missing or (self.job is not None and self.job.state.is_final)

    @property
    def has_ended(self) -> bool:
        """Whether Omni says how the job ended."""
        return not self.is_missing and self.job is not None and self.job.state.is_final

    def with_snapshot(self, job: Job, now: datetime) -> Self:
        """What is known after an answer."""
        return type(self)(job=job, seen_at=now)

    def with_progress(self, progress: Progress) -> Self:
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

    def with_error(self, error: OmniError, now: datetime, seconds: float) -> Self:
        """What is known after a question that failed. `seconds`: `now` by a clock that nobody sets."""
        since = self.failing_since or now
        failed = replace(self, error=error, failing_since=since, failures=self.failures + 1)
        if not isinstance(error, JobNotFound):
            return replace(failed, not_found_count=0, not_found_since=None)
        first = seconds if self.not_found_since is None else self.not_found_since
        answers = self.not_found_count + 1
        was_seen = self.was_seen_before or self.job is not None
        lost = answers >= LOST_AFTER_ANSWERS and seconds - first >= LOST_AFTER_SECONDS
        return replace(
            failed, not_found_count=answers, not_found_since=first, is_missing=lost or not was_seen
        )
