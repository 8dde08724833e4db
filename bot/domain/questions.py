"""Questions to Omni: what is submitted, what Omni returns, and the record kept until there is a card."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType
from uuid import UUID, uuid4, uuid5

from bot.domain.cards import CardId, ChannelRef, UserId
from bot.domain.jobs import Job, JobId, JobState

OmniUserId = NewType("OmniUserId", str)
"""UUID of an Omni user, as in SCIM and `?userId=`."""

ModelId = NewType("ModelId", str)
"""UUID of an Omni model."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """The address and signing secret of a job's webhook events."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """A question to submit as an AI job."""

    prompt: str = field(repr=False)
    model: ModelId
    topic: str | None = None
    """None: Omni chooses one."""
    conversation: str | None = None
    """None: a new conversation."""
    as_user: OmniUserId | None = None
    """The Omni user whose permissions the job has. None: the owner of the API key."""
    webhook: Webhook | None = None
    """None: Omni sends no webhook events."""
    branch: str | None = None
    """UUID of the model's branch. None: the main one."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Omni's response to an accepted question."""

    job: JobId
    conversation: str | None
    """None if Omni left it out. The job's status has it too."""
    chat_url: str | None = field(default=None, repr=False)


def first_reading(submitted: Submitted, question: Question, now: datetime) -> Job:
    """Return the first snapshot of a submitted job, without a request."""
    return Job(
        id=submitted.job,
        state=JobState.QUEUED,
        raw_state=JobState.QUEUED.value,
        prompt=question.prompt,
        chat_url=submitted.chat_url,
        topic=question.topic,
        conversation=submitted.conversation,
        user=question.as_user,
        model=question.model,
        branch=question.branch,
        created_at=now,
    )


@dataclass(frozen=True, slots=True)
class Model:
    """An Omni model that questions can be asked of."""

    id: ModelId
    name: str


@dataclass(frozen=True, slots=True)
class ChannelDefault:
    """The model and topic of questions that are asked in a channel and name no model."""

    model: ModelId
    topic: str | None = None
    """None: Omni chooses one."""


QuestionId = NewType("QuestionId", str)
"""UUID of a pending question. The same for every delivery of a Slack request, so that it is asked once."""

_DELIVERIES = UUID("5d1c8f0e-6a5b-4a8b-9a55-0f0c6f3f1f6e")
"""UUID namespace of the question ids."""


def question_id(channel: ChannelRef, request_id: str) -> QuestionId:
    """Return the id for a Slack request, the same in every process. A random one without a request id."""
    uuid = uuid5(_DELIVERIES, f"{channel.team} {channel.id} {request_id}") if request_id else uuid4()
    return QuestionId(str(uuid))


@dataclass(frozen=True, slots=True)
class PendingQuestion:
    """The record of a request in progress, without its prompt: a question, or a job to follow that has no card yet.

    One process works on it until it has a job or its user was notified.
    """

    id: QuestionId
    channel: ChannelRef
    """The channel of the request."""
    user: UserId
    asked_at: datetime
    touched_at: datetime
    """The last heartbeat of the process that works on it."""
    model: ModelId | None = None
    """The model that the user chose, if any."""
    retry_of: CardId | None = None
    """The card whose question is retried."""
    job: JobId | None = None
    """The submitted or followed job."""
    follow: str | None = None
    """The job id to follow, or a conversation id after `chat/`. None: it is a question."""
