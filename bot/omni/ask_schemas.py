"""Parses Omni's responses to submits, cancels, and requests for models, topics and users.

Source of fields and codes: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json); that canceling a
DELIVERING job is a 400: docs.omni.co/api/ai.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

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

_Schema = TypeVar("_Schema", bound=Body)

MODEL_KINDS = ("SHARED", "SHARED_EXTENSION")
"""The kinds of models that answer questions."""


class _Problem(Body):
    """The body of an error. `detail` is documented; the other fields occur."""

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


class _ModelRole(Body):
    permissions: list[Text] = Field(default_factory=list)


class _UserRoles(Body):
    membership_id: Id = None


class _Attributes(Body):
    omni_user_id: Id = Field(default=None, alias="omni_user_id")


class _UserDetails(Body):
    attributes: Annotated[_Attributes, BeforeValidator(object_or_empty)] = Field(
        default=_Attributes(), alias="urn:omni:params:1.0:UserAttribute"
    )


class _CallerUser(Body):
    id: Id = None
    membership_id: Id = None


class _Caller(Body):
    user: Annotated[_CallerUser, BeforeValidator(object_or_empty)] = _CallerUser()
    key_scope: Text = None
    org_role: Text = None
    roles_by_model: dict[str, Annotated[_ModelRole, BeforeValidator(object_or_empty)]] = Field(
        default_factory=dict
    )


class _Users(Body):
    resources: list[Annotated[_User, BeforeValidator(object_or_empty)]] = Field(alias="Resources")
    total_results: Number = None


@dataclass(frozen=True, slots=True)
class ModelsPage:
    """A page of models. `next_cursor` is None on the last page."""

    models: tuple[Model, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    """Whose an Omni key is. Each field is None or empty if Omni leaves it out."""

    scope: str | None
    """`organization` for an organization key, `user` for a personal token."""
    role: str | None
    """`ORG_ADMIN` or `MEMBER`."""
    permissions: Mapping[ModelId, frozenset[str]]
    """By model, such as `USE_AI`."""
    ids: frozenset[OmniUserId] = frozenset()
    """The id and the membership id of the key's user."""


@dataclass(frozen=True, slots=True)
class UsersPage:
    """A page of users."""

    ids: frozenset[str]
    """Of all users on the page."""
    matching: tuple[OmniUserId, ...]
    """The active users with the requested email address."""
    rows: int
    total: int | None
    """Rows of all pages, if Omni says so."""


def submit_body(question: Question) -> dict[str, object]:
    """Build the body of a submit. Fields without a value are left out, since Omni refuses null."""
    body: dict[str, object] = {"modelId": question.model, "prompt": whole_text(question.prompt)}
    if question.topic is not None:
        body["topicName"] = whole_text(question.topic)
    if question.branch is not None:
        body["branchId"] = question.branch
    if question.conversation is not None:
        body["conversationId"] = question.conversation
    if question.webhook is not None:
        body["webhookUrl"] = question.webhook.url
        body["webhookSigningSecret"] = question.webhook.secret
        body["progressWebhookEnabled"] = True
    return body


def read_submitted(response: OmniResponse, question: Question) -> Submitted:
    """Parse the response to a submit.

    Raises:
        AskRefused, ConversationBusy, KeyRefused, OmniBusy, OmniUnreachable: no job was created.
        SubmitOutcomeUnknown: a job may have been created: a 2xx that names none, a 3xx, 408 or 5xx.
    """
    if 200 <= response.status < 300:
        return _submitted(response.body)
    if response.status == 408 or not 400 <= response.status < 500:
        raise SubmitOutcomeUnknown(f"HTTP {response.status}")
    if not response.is_omnis or response.status in (401, 429):
        raise refusal(response)
    if response.status == 409 and question.conversation is not None:
        raise ConversationBusy("409")
    raise _ask_refused(response)


def read_cancelled(response: OmniResponse, job: JobId) -> JobState:
    """Parse the response to a cancel, and return the job's state after it.

    Raises:
        NotCancellable: the job is DELIVERING.
        CancelForbidden: only its owner and the organization's admins may cancel it.
        JobNotFound, KeyRefused, OmniBusy, OmniUnreachable: as for a status.
    """
    if response.is_omnis and response.status == 400:
        raise NotCancellable("400")
    if response.is_omnis and response.status == 403:
        raise CancelForbidden("403")
    try:
        cancelled = _Cancelled.model_validate(decoded(raise_for_status(response)))
    except ValidationError as error:
        raise OmniUnreachable("not the response to a cancel") from error
    if cancelled.job_id not in (None, job):
        raise OmniUnreachable("the cancel of another job")
    if cancelled.state is None:
        raise OmniUnreachable("the response to a cancel names no state")
    state = state_of(cancelled.state)
    if state is JobState.DELIVERING:
        raise NotCancellable("200 DELIVERING")
    return state


def read_models(response: OmniResponse) -> ModelsPage:
    """Parse a page of models: the shared ones that are not deleted. Raises OmniError."""
    try:
        page = _Models.model_validate(decoded(_listed(response)))
    except ValidationError as error:
        raise OmniUnreachable("not a list of models") from error
    models = tuple(
        Model(ModelId(row.id), row.name or f"Model {row.id[:8]}")
        for row in page.records
        if row.id is not None and row.deleted_at is None and row.model_kind in (None, *MODEL_KINDS)
    )
    has_more = page.page_info.has_next_page is not False
    return ModelsPage(models, page.page_info.next_cursor if has_more else None)


def read_topics(response: OmniResponse) -> tuple[str, ...]:
    """Parse the names of a model's topics, without hidden ones.

    Raises:
        AskRefused: there is no such model. Omni documents no body for that.
        OmniError: any other error.
    """
    if response.is_omnis and response.status in (400, 404):
        raise _ask_refused(response)
    try:
        topics = _Topics.model_validate(decoded(raise_for_status(response))).topics
    except ValidationError as error:
        raise OmniUnreachable("not a list of topics") from error
    names = {topic.name for topic in topics if topic.name is not None and not topic.hidden}
    return tuple(sorted(names, key=lambda name: (name.casefold(), name)))


def read_users(response: OmniResponse, email: str) -> UsersPage:
    """Parse a page of users and pick those with the email address. Raises OmniError."""
    try:
        page = _Users.model_validate(decoded(_listed(response)))
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


def read_identity(response: OmniResponse) -> KeyIdentity:
    """Parse whose a key is. Raises OmniError; JobNotFound if there is no such model, or no such path."""
    try:
        caller = _Caller.model_validate(decoded(raise_for_status(response)))
    except ValidationError as error:
        raise OmniUnreachable("not the identity of a key") from error
    permissions = {
        ModelId(model): frozenset(filter(None, role.permissions))
        for model, role in caller.roles_by_model.items()
    }
    ids = frozenset(OmniUserId(id_) for id_ in (caller.user.id, caller.user.membership_id) if id_ is not None)
    return KeyIdentity(caller.key_scope, caller.org_role, permissions, ids)


def read_user_attributes(response: OmniResponse) -> frozenset[OmniUserId]:
    """Parse the id in a user's attributes, `omni_user_id`, which Omni defines. Raises OmniError."""
    return _ids(_read_body(response, _UserDetails).attributes.omni_user_id)


def read_user_roles(response: OmniResponse) -> frozenset[OmniUserId]:
    """Parse the membership id beside a user's roles. Raises OmniError."""
    return _ids(_read_body(response, _UserRoles).membership_id)


def _ids(user: str | None) -> frozenset[OmniUserId]:
    return frozenset() if user is None else frozenset({OmniUserId(user)})


def _read_body(response: OmniResponse, schema: type[_Schema]) -> _Schema:
    try:
        return schema.model_validate(decoded(raise_for_status(response)))
    except ValidationError as error:
        raise OmniUnreachable("not a user") from error


def is_same_address(one: str, other: str) -> bool:
    """Whether two email addresses are equal, ignoring case."""
    return one.strip().casefold() == other.strip().casefold()


def user_filter(email: str) -> str:
    """Build the SCIM filter for an email address, escaped as in JSON. Source: RFC 7644, section 3.4.2.2."""
    escaped = email.strip().replace("\\", "\\\\").replace('"', '\\"')
    return f'userName eq "{escaped}"'


def _submitted(body: bytes) -> Submitted:
    try:
        submitted = _Submitted.model_validate(decoded(body))
    except (ValidationError, OmniUnreachable) as error:
        raise SubmitOutcomeUnknown("the response to a submit can't be read") from error
    if submitted.job_id is None:
        raise SubmitOutcomeUnknown("the response to a submit names no job")
    return Submitted(JobId(submitted.job_id), submitted.conversation_id, submitted.omni_chat_url)


def _listed(response: OmniResponse) -> bytes:
    """Return the body of a list. For lists, a 400 or 404 does not mean that a job is missing."""
    if response.status in (400, 404):
        raise OmniUnreachable(f"HTTP {response.status}")
    return raise_for_status(response)


def _ask_refused(response: OmniResponse) -> AskRefused:
    try:
        problem = _Problem.model_validate(decoded(response.body))
    except (ValidationError, OmniError):
        problem = _Problem()
    return AskRefused(response.status, problem.detail or problem.error or problem.message or "")
