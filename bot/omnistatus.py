"""The bodies of `GET /api/v1/ai/jobs/{jobId}` and of a conversation, read into a `Job` and into what it is part of.

Source of fields and states: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json); of conversations:
docs.omni.co/api/ai/get-conversation. Fields may be missing or null, and states may be new.
"""

from typing import Annotated

from pydantic import BeforeValidator, ValidationError

from bot.errors import OmniUnreachable
from bot.job import LONGEST_ANSWER, Conversation, Job, JobError, JobId, JobState, Progress
from bot.neutral import clean
from bot.omnibody import Body, Id, Number, Text, Time, decoded, object_or_empty, whole_text

_LONGEST_STATE = 100
_CUT_WITHIN = 2_000
"""Characters before the longest answer's end in which a line or a word should end."""
_OMNI_STATES = frozenset(state.value for state in JobState) - {JobState.UNKNOWN.value}


def _beginning(value: object) -> object:
    """As much of an answer as is shown, and one character to tell that there is more."""
    return value[: LONGEST_ANSWER + 1] if isinstance(value, str) else value


class _Progress(Body):
    message: Text = None
    iteration: Number = None


class _Error(Body):
    message: Text = None
    code: Text = None
    detail: Text = None


class _Status(Body):
    """The body of `GET /api/v1/ai/jobs/{jobId}`. Only `state` is insisted on."""

    id: Id = None
    state: Annotated[str, BeforeValidator(whole_text)]
    prompt: Text = None
    omni_chat_url: Text = None
    topic_name: Text = None
    conversation_id: Id = None
    user_id: Id = None
    model_id: Id = None
    progress: Annotated[_Progress, BeforeValidator(object_or_empty)] = _Progress()
    error: Annotated[_Error, BeforeValidator(object_or_empty)] = _Error()
    result_summary: Annotated[Text, BeforeValidator(_beginning)] = None
    created_at: Time = None
    execution_started_at: Time = None
    completed_at: Time = None
    cancelled_at: Time = None
    cancelled_by: Text = None


class _Turn(Body):
    job_id: Id = None


class _Conversation(Body):
    """The body of `GET /api/v1/ai/conversations/{conversationId}`."""

    id: Id = None
    messages: list[Annotated[_Turn, BeforeValidator(object_or_empty)]]


def read_status(job: JobId, body: bytes) -> Job:
    """A status body as a `Job`.

    Raises:
        OmniUnreachable: it is not a JSON object with a `state`, or it is about another job.
    """
    try:
        status = _Status.model_validate(decoded(body))
    except ValidationError as error:
        raise OmniUnreachable(f"not a job status: {error.error_count()} problems in the body") from error
    if status.id not in (None, job):
        raise OmniUnreachable("the status of another job")
    state = state_of(status.state)
    progress = None
    if state is JobState.EXECUTING and status.progress.message is not None:
        progress = Progress(status.progress.message, status.progress.iteration)
    failure = None
    if state is JobState.FAILED:
        message = status.error.message or "Omni gave no reason."
        failure = JobError(message, status.error.code, status.error.detail)
    answer = status.result_summary if state is JobState.COMPLETE else None
    return Job(
        id=job,
        state=state,
        raw_state=_shown(status.state),
        prompt=status.prompt or "",
        chat_url=status.omni_chat_url,
        topic=status.topic_name,
        conversation=status.conversation_id,
        user=status.user_id,
        model=status.model_id,
        progress=progress,
        answer=_cut(answer) if answer else None,
        answer_is_cut=answer is not None and len(answer) > LONGEST_ANSWER,
        error=failure,
        created_at=status.created_at,
        execution_started_at=status.execution_started_at,
        completed_at=status.completed_at,
        cancelled_at=status.cancelled_at,
        cancelled_by=status.cancelled_by,
    )


def _cut(answer: str) -> str:
    """The answer as far as it is shown; a longer one ends after a line or a word where one ends near."""
    if len(answer) <= LONGEST_ANSWER:
        return answer
    for blank in ("\n", " "):
        if (end := answer.rfind(blank, LONGEST_ANSWER - _CUT_WITHIN)) >= 0:
            return answer[:end]
    return answer[:LONGEST_ANSWER]


def read_newest_job(conversation: Conversation, body: bytes) -> JobId | None:
    """The id of the newest job that a conversation's body shows; None where it shows none.

    Raises:
        OmniUnreachable: it is not a conversation, or another one.
    """
    try:
        chat = _Conversation.model_validate(decoded(body))
    except ValidationError as error:
        raise OmniUnreachable("not a conversation") from error
    if chat.id not in (None, conversation.id):
        raise OmniUnreachable("another chat")
    with_job = [turn.job_id for turn in chat.messages if turn.job_id is not None]
    return JobId(with_job[-1]) if with_job else None


def state_of(written: str) -> JobState:
    """A state as Omni writes it; UNKNOWN for one that this version has never heard of."""
    return JobState(written) if written in _OMNI_STATES else JobState.UNKNOWN


def _shown(written: str) -> str:
    """A state for cards and the log: one line without control characters, however long it was written."""
    return " ".join(clean(written[:_LONGEST_STATE]).split()) or "no name"
