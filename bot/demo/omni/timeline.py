"""States of a simulated job, as a pure function of its script and the time.

States, fields and the rules of cancelling are those of Omni's OpenAPI document
(github.com/exploreomni/cli, api/openapi.json: `AiJobStatusResponse`, `aiJobCancel`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

FINAL_STATES = ("COMPLETE", "FAILED", "CANCELLED")


class Step(NamedTuple):
    """One iteration of the AI. `message=None`: it works, but has not reported anything yet."""

    seconds: float
    message: str | None = None
    iteration: int = 1


@dataclass(frozen=True, slots=True)
class Complete:
    """The job ends with an answer, in Markdown. None: COMPLETE without a `resultSummary`."""

    markdown: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ends with an error. Only the message is promised by Omni."""

    message: str
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A user in Omni stops the job; `by` is the user's Omni id, if Omni reports it."""

    by: str | None = None


End = Complete | Failed | Cancelled


@dataclass(frozen=True, slots=True)
class Script:
    """The course of a job from its creation on: queued, the steps of executing, delivering, the end.

    `queued_seconds` may be `math.inf`. Without steps a job that fails or is cancelled does so before it
    ever started.

    Raises:
        ValueError: a job that is cancelled while DELIVERING, which Omni rules out.
    """

    queued_seconds: float = 0.0
    steps: Sequence[tuple[float, str | None, int]] = ()
    delivering_seconds: float = 0.0
    end: End = Complete("Done.")
    finishes_despite_cancel: bool = False
    """Whether the job is too far on for a cancel while EXECUTING to have an effect."""

    def __post_init__(self) -> None:
        if isinstance(self.end, Cancelled) and self.delivering_seconds > 0:
            raise ValueError("Omni can't cancel a job that is DELIVERING")


@dataclass(frozen=True, slots=True)
class Stop:
    """A person's wish to cancel: how long after the job's creation, and the Omni user id of whose it is."""

    after_seconds: float
    by: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """State of a job from `since_seconds` after its creation until the next moment."""

    state: str
    since_seconds: float
    step: Step | None = None
    end: End | None = None


def course(script: Script, stop: Stop | None = None) -> tuple[Moment, ...]:
    """Every moment of the job, in order."""
    planned = _planned(script)
    if stop is None:
        return planned
    reached = _reached(planned, stop.after_seconds)
    current = reached[-1]
    if current.state == "QUEUED":
        return (*reached, Moment("CANCELLED", stop.after_seconds, end=Cancelled(stop.by)))
    if current.state == "EXECUTING" and not script.finishes_despite_cancel:
        step_ends = planned[len(reached)].since_seconds
        return (*reached, Moment("CANCELLED", step_ends, end=Cancelled(stop.by)))
    return planned


def past(script: Script, age_seconds: float, stop: Stop | None = None) -> tuple[Moment, ...]:
    """The moments that a job of this age has reached; the last one is where it stands."""
    return _reached(course(script, stop), age_seconds)


def status_body(
    moments: Sequence[Moment],
    *,
    created_at: float,
    job_id: str,
    conversation_id: str,
    chat_url: str,
    prompt: str,
    topic: str | None,
    branch_id: str | None,
    user_id: str,
    organization_id: str,
    model_id: str,
) -> dict[str, Any]:
    """Body of `GET /api/v1/ai/jobs/{jobId}` for a job with these `moments`."""
    current = moments[-1]
    body: dict[str, Any] = {
        "id": job_id,
        "conversationId": conversation_id,
        "modelId": model_id,
        "branchId": branch_id,
        "organizationId": organization_id,
        "userId": user_id,
        "topicName": topic,
        "prompt": prompt,
        "omniChatUrl": chat_url,
        "createdAt": timestamp(created_at),
        "updatedAt": timestamp(created_at + current.since_seconds),
        "state": current.state,
    }
    started = [m for m in moments if m.state in ("EXECUTING", "DELIVERING", "COMPLETE")]
    if started:
        body["executionStartedAt"] = timestamp(created_at + started[0].since_seconds)
    return body | _fields_of_state(current, created_at)


def timestamp(seconds: float) -> str:
    """A Unix time as Omni writes it: UTC with milliseconds and a Z."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _planned(script: Script) -> tuple[Moment, ...]:
    moments = [Moment("QUEUED", 0.0)]
    clock = script.queued_seconds
    for step in map(Step._make, script.steps):
        moments.append(Moment("EXECUTING", clock, step=step))
        clock += step.seconds
    if script.delivering_seconds > 0:
        moments.append(Moment("DELIVERING", clock))
        clock += script.delivering_seconds
    moments.append(Moment(_state_of(script.end), clock, end=script.end))
    return tuple(moments)


def _reached(moments: Sequence[Moment], age_seconds: float) -> tuple[Moment, ...]:
    return tuple(moment for moment in moments if moment.since_seconds <= max(age_seconds, 0.0))


def _state_of(end: End) -> str:
    match end:
        case Complete():
            return "COMPLETE"
        case Failed():
            return "FAILED"
        case Cancelled():
            return "CANCELLED"


def _fields_of_state(moment: Moment, created_at: float) -> dict[str, Any]:
    at = timestamp(created_at + moment.since_seconds)
    match moment.end:
        case None if moment.step is not None:
            return {"progress": _progress(moment.step, at)}
        case None:
            return {}
        case Complete(markdown):
            return {"completedAt": at} | _present(resultSummary=markdown)
        case Failed(message, code, detail):
            return {"completedAt": at, "error": {"message": message} | _present(code=code, detail=detail)}
        case Cancelled(by):
            return {"cancelledAt": at} | _present(cancelledBy=by)


def _progress(step: Step, at: str) -> dict[str, Any] | None:
    if step.message is None:
        return None
    return {"iteration": step.iteration, "message": step.message, "updatedAt": at}


def _present(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
