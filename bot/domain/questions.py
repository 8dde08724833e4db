"""What is asked of Omni: a question, what comes of it, and what a person may choose for it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType
from uuid import UUID, uuid4, uuid5

from bot.domain.cards import CardId, ChannelRef, UserId
from bot.domain.jobs import Job, JobId, JobState

OmniUserId = NewType("OmniUserId", str)
"""An Omni user's UUID, as SCIM and `?userId=` know it."""

ModelId = NewType("ModelId", str)
"""An Omni model's UUID."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where Omni is to tell by itself how a job goes on, and what it signs that with."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """What to submit as an AI job."""

    prompt: str = field(repr=False)
    model: ModelId
    topic: str | None = None
    """None: Omni picks one."""
    conversation: str | None = None
    """The chat to go on in; None: a new one."""
    as_user: OmniUserId | None = None
    """In whose name, and so with whose permissions, it runs; None: whoever made the key."""
    webhook: Webhook | None = None
    """None: Omni tells nothing by itself."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Omni has taken the question."""

    job: JobId
    conversation: str | None
    """None where Omni left it out; the job's status says it too."""
    chat_url: str | None = field(default=None, repr=False)


def first_reading(submitted: Submitted, question: Question, now: datetime) -> Job:
    """What is known of a job that Omni has just taken, without asking for it."""
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
        created_at=now,
    )


@dataclass(frozen=True, slots=True)
class Model:
    """A model that questions can be asked of."""

    id: ModelId
    name: str


QuestionId = NewType("QuestionId", str)
"""Ours: a UUID; of one thing that Slack delivers always the same, so that it is asked once."""

_DELIVERIES = UUID("5d1c8f0e-6a5b-4a8b-9a55-0f0c6f3f1f6e")
"""The namespace of the ids of what Slack delivers."""


def ask_id(channel: ChannelRef, delivery: str) -> QuestionId:
    """Always the same for what is delivered, in whatever process."""
    named = uuid5(_DELIVERIES, f"{channel.team} {channel.id} {delivery}") if delivery else uuid4()
    return QuestionId(str(named))


@dataclass(frozen=True, slots=True)
class PendingQuestion:
    """That somebody has asked; never what. Until it has a job, or was told of, some process has it in hand: it looks up
    whether they may and whom to ask, submits it, or waits for its turn. A follow is one too, until it has a watch."""

    id: QuestionId
    place: ChannelRef
    """Where it was asked."""
    user: UserId
    asked_at: datetime
    touched_at: datetime
    """When the process that has it in hand last said so."""
    model: ModelId | None = None
    """What the person has chosen, where they have."""
    retry_of: CardId | None = None
    """The card whose question is asked again."""
    job: JobId | None = None
    """What Omni has made of it; of a follow, the job that is followed."""
    follow: str | None = None
    """What is to be followed: a job's id, or a chat's after `chat/`. None: it is a question."""
