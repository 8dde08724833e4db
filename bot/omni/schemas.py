"""Parses Omni's JSON bodies.

A field that is missing, null or of an undocumented type is ignored; the rest of the body still counts.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.alias_generators import to_camel

from bot.domain import (
    LONGEST_ANSWER,
    Conversation,
    Job,
    JobError,
    JobId,
    JobState,
    ListRefused,
    OmniUnreachable,
    Progress,
    strip_control_chars,
)

LARGEST_ERROR_BYTES = 64 * 1024
"""Omni's error bodies hold one sentence; a longer body is not one."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _time_or_none(value: object) -> datetime | None:
    """An ISO 8601 time in UTC; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def whole_text(value: object) -> object:
    """The text without lone surrogates, which JSON allows and UTF-8 does not."""
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _text_or_none(value: object) -> object:
    """A text that is not blank; None for anything else."""
    return whole_text(value) if isinstance(value, str) and value.strip() else None


def _any_text_or_none(value: object) -> object:
    return whole_text(value) if isinstance(value, str) else None


def uuid_or_none(value: object) -> str | None:
    """A UUID in lower case with dashes; None for anything else."""
    try:
        return str(UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _number_or_none(value: object) -> int | None:
    """A whole number of plausible size; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9 else None


def _flag_or_none(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def object_or_empty(value: object) -> object:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_or_empty(value: object) -> object:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


Text = Annotated[str | None, BeforeValidator(_text_or_none)]

AnyText = Annotated[str | None, BeforeValidator(_any_text_or_none)]
"""As `Text`, but it may be blank."""

Id = Annotated[str | None, BeforeValidator(uuid_or_none)]

Time = Annotated[datetime | None, BeforeValidator(_time_or_none)]

Number = Annotated[int | None, BeforeValidator(_number_or_none)]

Flag = Annotated[bool | None, BeforeValidator(_flag_or_none)]


class Body(BaseModel, alias_generator=to_camel, extra="ignore", hide_input_in_errors=True):
    """Base class of Omni's objects. Errors never show their content."""


def decoded(body: bytes) -> Any:
    """Parse JSON. Raises OmniUnreachable if it is invalid or nested too deeply."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OmniUnreachable(f"not JSON: {type(error).__name__}") from error


def is_omnis_error(status: int, body: bytes) -> bool:
    """Whether an error body has a form that Omni documents: `{"detail": str, "status": int}`, or `{"error": str}` for a
    chart. Gateways send `{"message": ...}`, pages, or RFC 9457 with a `type` and a `title`."""
    try:
        error = decoded(body) if len(body) <= LARGEST_ERROR_BYTES else None
    except OmniUnreachable:
        return False
    if not isinstance(error, dict) or error.keys() & {"type", "title"}:
        return False
    if status == 422 and isinstance(error.get("error"), str):
        return True
    return isinstance(error.get("detail"), str) and error.get("status") == status


_LONGEST_STATE = 100

_CUT_WITHIN = 2_000
"""Characters before the limit in which a line or word end is looked for."""

_OMNI_STATES = frozenset(state.value for state in JobState) - {JobState.UNKNOWN.value}

UNNAMED_ENDS = frozenset({"DENIED"})
"""Ends that Omni's webhooks name, but its document of the states does not: `job.denied`."""


def _beginning(value: object) -> object:
    """The start of an answer: as much as is shown, and one character more if there is more."""
    return value[: LONGEST_ANSWER + 1] if isinstance(value, str) else value


Beginning = Annotated[Text, BeforeValidator(_beginning)]
"""As `Text`, for an answer."""


class _Progress(Body):
    message: Text = None
    iteration: Number = None


class _Error(Body):
    message: Text = None
    code: Text = None
    detail: Text = None


class _Status(Body):
    """The body of `GET /api/v1/ai/jobs/{jobId}`. Only `state` is required."""

    id: Id = None
    state: Annotated[str, BeforeValidator(whole_text)]
    prompt: Text = None
    omni_chat_url: Text = None
    topic_name: Text = None
    conversation_id: Id = None
    user_id: Id = None
    model_id: Id = None
    branch_id: Id = None
    progress: Annotated[_Progress, BeforeValidator(object_or_empty)] = _Progress()
    error: Annotated[_Error, BeforeValidator(object_or_empty)] = _Error()
    reason: Text = None
    result_summary: Beginning = None
    created_at: Time = None
    updated_at: Time = None
    execution_started_at: Time = None
    completed_at: Time = None
    cancelled_at: Time = None


class _Turn(Body):
    job_id: Id = None


class _Conversation(Body):
    """The body of `GET /api/v1/ai/conversations/{conversationId}`."""

    id: Id = None
    messages: list[Annotated[_Turn, BeforeValidator(object_or_empty)]]


class _Listed(Body):
    """A row of the list of conversations. Its name and its prompt, which may be other users', are not read."""

    id: Id = None
    updated_at: Time = None


class _Conversations(Body):
    """The body of `GET /api/v1/ai/conversations`. Source: docs.omni.co/api/ai/list-ai-conversations."""

    data: list[Annotated[_Listed, BeforeValidator(object_or_empty)]]


def read_status(job: JobId, body: bytes) -> Job:
    """Parse a status. Raises OmniUnreachable if it has no `state` or is about another job."""
    try:
        status = _Status.model_validate(decoded(body))
    except ValidationError as error:
        raise OmniUnreachable(f"not a job status: {error.error_count()} problems in the body") from error
    if status.id not in (None, job):
        raise OmniUnreachable("the status of another job")
    state = state_of(status.state)
    if state is JobState.UNKNOWN:
        if status.cancelled_at:
            state = JobState.CANCELLED
        elif status.completed_at or status.error.message or status.state in UNNAMED_ENDS:
            state = JobState.FAILED
    progress = None
    if state is JobState.EXECUTING and status.progress.message is not None:
        progress = Progress(status.progress.message, status.progress.iteration)
    failure = None
    if state is JobState.FAILED:
        message = status.error.message or status.reason or "Omni gave no reason."
        failure = JobError(message, status.error.code, status.error.detail)
    answer, is_cut = cut_answer(status.result_summary if state is JobState.COMPLETE else None)
    return Job(
        id=job,
        state=state,
        raw_state=" ".join(strip_control_chars(status.state[:_LONGEST_STATE]).split()) or "no name",
        prompt=status.prompt or "",
        chat_url=status.omni_chat_url,
        topic=status.topic_name,
        conversation=status.conversation_id,
        user=status.user_id,
        model=status.model_id,
        branch=status.branch_id,
        progress=progress,
        answer=answer,
        answer_is_cut=is_cut,
        error=failure,
        created_at=status.created_at,
        updated_at=status.updated_at,
        execution_started_at=status.execution_started_at,
        completed_at=status.completed_at,
        cancelled_at=status.cancelled_at,
    )


def cut_answer(written: str | None) -> tuple[str | None, bool]:
    """Shorten an answer to the limit, after a line or word if one ends near it. Also returns whether it was longer."""
    if written is None or len(written) <= LONGEST_ANSWER:
        return written, False
    for blank in ("\n", " "):
        if (end := written.rfind(blank, LONGEST_ANSWER - _CUT_WITHIN)) >= 0:
            return written[:end], True
    return written[:LONGEST_ANSWER], True


def read_newest_job(conversation: Conversation, body: bytes) -> JobId | None:
    """Parse a conversation, and return the id of its newest job. Raises OmniUnreachable."""
    try:
        chat = _Conversation.model_validate(decoded(body))
    except ValidationError as error:
        raise OmniUnreachable("not a conversation") from error
    if chat.id not in (None, conversation.id):
        raise OmniUnreachable("another conversation")
    with_job = [turn.job_id for turn in chat.messages if turn.job_id is not None]
    return JobId(with_job[-1]) if with_job else None


def read_conversations(body: bytes) -> Mapping[str, datetime]:
    """Parse the list of conversations: when each was updated. Raises ListRefused if no row says so."""
    try:
        rows = _Conversations.model_validate(decoded(body)).data
    except (ValidationError, OmniUnreachable) as error:
        raise ListRefused("not a list of conversations") from error
    times = {row.id: row.updated_at for row in rows if row.id is not None and row.updated_at is not None}
    if rows and not times:
        raise ListRefused("no conversation has an id and a time")
    return times


def state_of(written: str) -> JobState:
    """The state with Omni's name; UNKNOWN for a name that this version does not know."""
    return JobState(written) if written in _OMNI_STATES else JobState.UNKNOWN
