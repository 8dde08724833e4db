"""What is shown under the address of an Omni chat that somebody pastes: how its newest job stands, and no more.

Everybody in the conversation sees it, so there is no question, no step and no answer in it.
"""

from typing import Any

from bot.blocks import context
from bot.job import Job, JobState
from bot.when import duration, moment

_TITLES = {
    JobState.QUEUED: "⏳ Queued in Omni",
    JobState.EXECUTING: "⚙️ Omni is working on it",
    JobState.DELIVERING: "📬 Omni is delivering the answer",
    JobState.COMPLETE: "✅ Answered",
    JobState.FAILED: "❌ The job failed",
    JobState.CANCELLED: "🚫 The job was cancelled",
}


def preview(job: Job) -> dict[str, Any]:
    """The preview of a chat's address, as `chat.unfurl` takes it."""
    title = _TITLES.get(job.state, "▶️ Still running")
    return {"blocks": [context(" · ".join(filter(None, [f"*Omni AI job* {title}", _when(job)])))]}


def _when(job: Job) -> str:
    if not job.state.is_final:
        begun = "asked" if job.state is JobState.QUEUED else "started"
        return f"{begun} {moment(job.begun_at)}" if job.begun_at else ""
    seconds, at = job.duration_seconds, job.completed_at or job.cancelled_at
    after = "" if seconds is None else f"after {duration(seconds)}"
    return " · ".join(filter(None, [after, moment(at) if at else ""]))
