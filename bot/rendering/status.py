"""The status of a job in words: the title of its card and the lines under it."""

from dataclasses import dataclass, replace

from bot.domain import LONGEST_REPORT, Job, JobState, JobStatus, Progress, UserId
from bot.rendering.markdown.document import to_text
from bot.rendering.markdown.mrkdwn import (
    code,
    duration,
    duration_range,
    escape,
    excerpt,
    moment,
    rounded,
    shortened,
)
from bot.rendering.markdown.parse import parse

_LONGEST_STEP = 250
"""Slack limits a task's title in a stream to 256 (docs.slack.dev/reference/methods/chat.appendStream)."""
_LONGEST_DONE_STEP = 100
_MOST_READ_OF_A_TOPIC = 1_000
_LONGEST_REASON = 900
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class StepsText:
    """The steps of a running job, as plain text, oldest first."""

    earlier: int = 0
    """How many steps before these are only counted."""
    done: tuple[str, ...] = ()
    current: str = ""
    """The step that runs; empty if none is known to run."""

    @property
    def title(self) -> str:
        """The current step or, if there is none, how many are done."""
        return self.current or _count(self.earlier + len(self.done), "step", "done")

    @property
    def earlier_line(self) -> str:
        """How many steps are only counted."""
        return _count(self.earlier, "earlier step")

    @property
    def lines(self) -> tuple[str, ...]:
        """The steps as lines of mrkdwn."""
        counted = [f"✓ {self.earlier_line}"] if self.earlier else []
        done = [f"✓ {shortened(title, 2 * _LONGEST_DONE_STEP)}" for title in self.done]
        return (*counted, *done, *([escape(self.current)] if self.current else []))


@dataclass(frozen=True, slots=True)
class StatusText:
    """Texts of a card about its job, as mrkdwn."""

    sign: str
    """One emoji. The title says the same."""
    title: str
    """The state, without a period."""
    aside: str = ""
    """Text after the title: when, and how long it took."""
    steps: StepsText = StepsText()
    details: tuple[str, ...] = ()
    """Lines under the title, the most important first."""

    @property
    def heading(self) -> str:
        """The card's first line."""
        return " ".join(filter(None, [self.sign, f"*{self.title}*", self.aside]))

    @property
    def plain_text(self) -> str:
        """Steps, details, and the text after the title, for screen readers and notifications."""
        aside = self.aside.removeprefix("· ")
        return "\n".join(filter(None, [*self.steps.lines, *self.details, aside[:1].upper() + aside[1:]]))


_FORGOTTEN = {
    JobState.COMPLETE: StatusText("✅", "Answered", details=("Omni no longer has the answer.",)),
    JobState.FAILED: StatusText("❌", "The job failed", details=("Omni no longer has the reason.",)),
    JobState.CANCELLED: StatusText("🚫", "The job was cancelled"),
}
"""The status on a card that is redrawn after its job ended and was deleted in Omni."""


def describe(
    status: JobStatus, cancelled_by: UserId | None = None, outcome: JobState | None = None
) -> StatusText:
    """Describe the status of a job.

    `cancelled_by`: the Slack user who asked to cancel it. `outcome`: how it ended, as the bot has stored it, in case
    Omni no longer has it.
    """
    if status.is_missing and outcome in _FORGOTTEN:
        return _FORGOTTEN[outcome]
    text = _describe(status, cancelled_by)
    job = status.job
    if job is None or status.is_missing:
        return text
    if not job.state.is_final:
        # The one time of a running job that stays the same in all of its states.
        asked = [f"· asked {moment(job.created_at)}"] if job.created_at else []
        text = replace(text, aside=" ".join([*asked, *_usual(status)]), steps=_steps(status, job))
    if job.branch is not None:
        text = replace(text, aside=f"{text.aside} · branch {code(job.branch[:8], 8)}".strip())
    return text


def _describe(status: JobStatus, cancelled_by: UserId | None) -> StatusText:
    job = status.job
    if status.is_missing:
        title = "Omni does not know this job" if job is None else "Omni no longer knows this job"
        return StatusText(
            "❓", title, details=("It may have been deleted, or belong to another Omni organization.",)
        )
    if job is None:
        return StatusText("🔎", "Looking up the job in Omni")
    match job.state:
        case JobState.QUEUED:
            return StatusText("⏳", "Queued in Omni", details=_cancelling(cancelled_by, ""))
        case JobState.EXECUTING:
            return StatusText("⚙️", "Omni is working on it", details=_cancelling(cancelled_by))
        case JobState.DELIVERING:
            return StatusText("📬", "Omni is delivering the answer")
        case JobState.COMPLETE:
            return _complete(job)
        case JobState.FAILED:
            named = shortened(job.raw_state, _LONGEST_NAME)
            title = "The job failed" if named == job.state else f"The job failed ({named})"
            return StatusText("❌", title, _ending(job), details=_reason(job))
        case JobState.CANCELLED:
            return StatusText("🚫", "The job was cancelled", _ending(job), details=_canceller(cancelled_by))
        case _:
            title = f"Still running ({shortened(job.raw_state, _LONGEST_NAME)})"
            return StatusText("▶️", title, details=_cancelling(cancelled_by))


def _usual(status: JobStatus) -> list[str]:
    """How long jobs usually take."""
    if status.past.usual_seconds is None:
        return []
    lower, upper = (rounded(seconds) for seconds in status.past.usual_seconds)
    usual = duration_range(lower, upper)
    return [f"· takes longer than usual ({usual})" if status.is_slow else f"· usually {usual}"]


def _steps(status: JobStatus, job: Job) -> StepsText:
    history = status.history
    titles = [title for each in history.recent if (title := _step(each))]
    is_at_step = job.state is JobState.EXECUTING and job.progress is not None
    current = titles.pop() if titles and is_at_step else ""
    return StepsText(
        history.earlier, tuple(excerpt(title, _LONGEST_DONE_STEP, 1) for title in titles), current
    )


def _step(progress: Progress) -> str:
    number = "" if progress.iteration is None else f"Step {progress.iteration}"
    message = " ".join(to_text(parse(progress.message[:LONGEST_REPORT])).split())
    return excerpt(": ".join(filter(None, [number, message])), _LONGEST_STEP, 1)


def _count(number: int, name: str, more: str = "") -> str:
    return " ".join(filter(None, [str(number), name if number == 1 else f"{name}s", more]))


def _complete(job: Job) -> StatusText:
    seconds = job.duration_seconds
    title = "Answered" if seconds is None else f"Answered in {duration(seconds)}"
    at = f"· {moment(job.completed_at)}" if job.completed_at else ""
    topic = shortened(" ".join((job.topic or "")[:_MOST_READ_OF_A_TOPIC].split()), _LONGEST_NAME)
    aside = " ".join(filter(None, [at, f"· topic {topic}" if topic else ""]))
    return StatusText("✅", title, aside, details=("The answer is in Omni.",) if job.is_redacted else ())


def _ending(job: Job) -> str:
    """After how long and when a job failed or was cancelled."""
    seconds, at = job.duration_seconds, job.completed_at or job.cancelled_at
    after = "" if seconds is None else f"after {duration(seconds)}"
    return " ".join(filter(None, [after, f"· {moment(at)}" if at else ""]))


def _reason(job: Job) -> tuple[str, ...]:
    if job.is_redacted:
        return ("The reason is in Omni.",)
    if (error := job.error) is None:
        return ("Omni gave no reason.",)
    message = shortened(error.message.strip(), _LONGEST_REASON)
    name = code(error.code or "", _LONGEST_NAME)
    detail = shortened((error.detail or "").strip(), _LONGEST_REASON)
    reason = (message or "Omni gave no reason.") + (f"\nCode: {name}" if name else "")
    return (reason, detail) if detail and detail != message else (reason,)


def _cancelling(
    by: UserId | None, when: str = " Omni stops after this step, unless the answer comes first."
) -> tuple[str, ...]:
    return () if by is None else (f"<@{by}> asked to cancel.{when}",)


def _canceller(by: UserId | None) -> tuple[str, ...]:
    """Omni names a canceller only by a UUID, so only users of Slack are named."""
    return () if by is None else (f"Cancelled by <@{by}>.",)
