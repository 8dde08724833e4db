"""What Omni answers to whoever begins or ends a job or chooses what to ask, read into values and errors.

Source of fields and codes: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json); that the cancel of a
DELIVERING job is a 400: docs.omni.co/api/ai.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from bot.domain import (
    AskRefused,
    CancelForbidden,
    ConversationBusy,
    JobId,
    JobState,
    Model,
    ModelId,
    NotCancellable,
    OmniError,
    OmniUnreachable,
    OmniUserId,
    Question,
    SubmitOutcomeUnknown,
    Submitted,
)
from bot.omni.http import OmniResponse, raise_for_status, refusal
from bot.omni.schemas import Body, Flag, Id, Number, Text, decoded, object_or_empty, state_of, whole_text

_SHARED = "SHARED"
"""The kind of models that jobs can be asked of."""


class _Problem(Body):
    """The body of a refusal. `detail` is documented; the others are seen."""

    detail: Text = None
    error: Text = None
    message: Text = None


class _Submitted(Body):
    job_id: Id = None
    conversation_id: Id = None
    omni_chat_url: Text = None


class _Cancelled(Body):
    job_id: Id = None
    state: Text = None


class _PageInfo(Body):
    has_next_page: Flag = None
    next_cursor: Text = None


class _Model(Body):
    id: Id = None
    name: Text = None
    model_kind: Text = None
    deleted_at: Text = None


class _Models(Body):
    page_info: Annotated[_PageInfo, BeforeValidator(object_or_empty)] = _PageInfo()
    records: list[Annotated[_Model, BeforeValidator(object_or_empty)]]


class _Topic(Body):
    name: Text = None
    hidden: Flag = None


class _Topics(Body):
    topics: list[Annotated[_Topic, BeforeValidator(object_or_empty)]]


class _User(Body):
    id: Id = None
    user_name: Text = None
    active: Flag = None


class _Users(Body):
    resources: list[Annotated[_User, BeforeValidator(object_or_empty)]] = Field(alias="Resources")
    total_results: Number = None


@dataclass(frozen=True, slots=True)
class ModelsPage:
    """A page of models, and where the next one begins; None: this is the last."""

    models: tuple[Model, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class UsersPage:
    """A page of users."""

    ids: frozenset[str]
    """Of all of them."""
    matching: tuple[OmniUserId, ...]
    """The active ones with the address that was asked for."""
    rows: int
    total: int | None
    """How many rows all pages have, where Omni says so."""


def written(question: Question) -> dict[str, object]:
    """The body of a submit. What was not chosen is left out: Omni takes no null there."""
    body: dict[str, object] = {"modelId": question.model, "prompt": whole_text(question.prompt)}
    if question.topic is not None:
        body["topicName"] = whole_text(question.topic)
    if question.conversation is not None:
        body["conversationId"] = question.conversation
    if question.webhook is not None:
        body["webhookUrl"] = question.webhook.url
        body["webhookSigningSecret"] = question.webhook.secret
        body["progressWebhookEnabled"] = True
    return body


def read_submitted(answer: OmniResponse, question: Question) -> Submitted:
    """What has come of a submit.

    Raises:
        AskRefused, ConversationBusy, KeyRefused, OmniBusy, OmniUnreachable: it was refused, by Omni or before it, so
            certainly nothing was begun.
        MaybeTaken: a 2xx that names no job, or an answer (3xx, 408, 5xx) that also a request with an effect may get.
    """
    if 200 <= answer.status < 300:
        return _submitted(answer.body)
    if answer.status == 408 or not 400 <= answer.status < 500:
        raise SubmitOutcomeUnknown(f"HTTP {answer.status}")
    if not answer.is_omnis or answer.status in (401, 429):
        raise refusal(answer)
    if answer.status == 409 and question.conversation is not None:
        raise ConversationBusy("409")
    raise _ask_refused(answer)


def read_cancelled(answer: OmniResponse, job: JobId) -> JobState:
    """The state that a job is in after the try to cancel it.

    Raises:
        TooLate: it is DELIVERING.
        NotOurs: only its owner and the organisation's admins may.
        JobNotFound, KeyRefused, OmniBusy, OmniUnreachable: as for a status.
    """
    if answer.is_omnis and answer.status == 400:
        raise NotCancellable("400")
    if answer.is_omnis and answer.status == 403:
        raise CancelForbidden("403")
    try:
        cancelled = _Cancelled.model_validate(decoded(raise_for_status(answer)))
    except ValidationError as error:
        raise OmniUnreachable("not the answer to a cancel") from error
    if cancelled.job_id not in (None, job):
        raise OmniUnreachable("the cancel of another job")
    if cancelled.state is None:
        raise OmniUnreachable("the answer to a cancel names no state")
    state = state_of(cancelled.state)
    if state is JobState.DELIVERING:
        raise NotCancellable("200 DELIVERING")
    return state


def read_models(answer: OmniResponse) -> ModelsPage:
    """A page of models: the shared ones that are not deleted. Raises any OmniError."""
    try:
        page = _Models.model_validate(decoded(_listed(answer)))
    except ValidationError as error:
        raise OmniUnreachable("not a list of models") from error
    models = tuple(
        Model(ModelId(row.id), row.name or f"Model {row.id[:8]}")
        for row in page.records
        if row.id is not None and row.deleted_at is None and row.model_kind in (None, _SHARED)
    )
    has_more = page.page_info.has_next_page is not False
    return ModelsPage(models, page.page_info.next_cursor if has_more else None)


def read_topics(answer: OmniResponse) -> tuple[str, ...]:
    """The names of a model's topics, without those that the model hides. Raises any OmniError.

    AskRefused: there is no such model. Omni documents no body for that.
    """
    if answer.is_omnis and answer.status in (400, 404):
        raise _ask_refused(answer)
    try:
        topics = _Topics.model_validate(decoded(raise_for_status(answer))).topics
    except ValidationError as error:
        raise OmniUnreachable("not a list of topics") from error
    names = {topic.name for topic in topics if topic.name is not None and not topic.hidden}
    return tuple(sorted(names, key=lambda name: (name.casefold(), name)))


def read_users(answer: OmniResponse, email: str) -> UsersPage:
    """A page of users, of whom only those with that address matter. Raises any OmniError."""
    try:
        page = _Users.model_validate(decoded(_listed(answer)))
    except ValidationError as error:
        raise OmniUnreachable("not a list of users") from error
    return UsersPage(
        ids=frozenset(row.id for row in page.resources if row.id is not None),
        matching=tuple(
            OmniUserId(row.id)
            for row in page.resources
            if row.id is not None and row.active and is_same_address(row.user_name or "", email)
        ),
        rows=len(page.resources),
        total=page.total_results,
    )


def is_same_address(one: str, other: str) -> bool:
    """Whether two e-mail addresses are the same, but for capitals."""
    return one.strip().casefold() == other.strip().casefold()


def user_filter(email: str) -> str:
    """The SCIM filter for a user's address. Source of the escapes: RFC 7644, section 3.4.2.2, which are JSON's."""
    escaped = email.strip().replace("\\", "\\\\").replace('"', '\\"')
    return f'userName eq "{escaped}"'


def _submitted(body: bytes) -> Submitted:
    try:
        taken = _Submitted.model_validate(decoded(body))
    except (ValidationError, OmniUnreachable) as error:
        raise SubmitOutcomeUnknown("the answer to a submit can't be read") from error
    if taken.job_id is None:
        raise SubmitOutcomeUnknown("the answer to a submit names no job")
    return Submitted(JobId(taken.job_id), taken.conversation_id, taken.omni_chat_url)


def _listed(answer: OmniResponse) -> bytes:
    """The body of a list; a 400 or 404 instead of one is no word about a job."""
    if answer.status in (400, 404):
        raise OmniUnreachable(f"HTTP {answer.status}")
    return raise_for_status(answer)


def _ask_refused(answer: OmniResponse) -> AskRefused:
    try:
        problem = _Problem.model_validate(decoded(answer.body))
    except (ValidationError, OmniError):
        problem = _Problem()
    return AskRefused(str(answer.status), problem.detail or problem.error or problem.message or "")
