"""What is asked of Omni: a question, what comes of it, and what a person may choose for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType, Protocol

from bot.errors import OmniError
from bot.job import Job, JobId, JobState

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


class AskRefused(OmniError):
    """Omni takes no such question (400, 403, 404): the model, the topic or the user is not allowed or not there.
    Certainly nothing was begun. `detail` is Omni's own text: for the log at debug level, never for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


class ConversationBusy(OmniError):
    """Another job is active in that chat (409). Certainly nothing was begun."""


class MaybeTaken(OmniError):
    """The submit was not answered, or with a 5xx: the job may run or not, and nobody can tell. Never repeated."""


class TooLate(OmniError):
    """The job is delivering its answer and can't be cancelled any more (400)."""


class NotOurs(OmniError):
    """The key may not cancel that job (403)."""


class Asking(Protocol):
    """What can be begun and ended in Omni. Always urgent; every call may raise any OmniError."""

    async def submit(self, question: Question) -> Submitted:
        """Begin a job. Never repeated.

        Raises:
            AskRefused, ConversationBusy, KeyRefused (401), OmniBusy (429): certainly not begun.
            OmniUnreachable: the request certainly never reached Omni (no connection).
            StoreUnavailable: the key's budget could not be asked, so neither was Omni.
            MaybeTaken: nobody can tell.
        """
        ...

    async def cancel(self, job: JobId) -> JobState:
        """Cancel a job; a concurrent change (409) is asked once more. Returns the state that Omni answers: CANCELLED,
        or EXECUTING where the worker stops after its step, or another final state where it had ended before.

        Raises:
            TooLate, NotOurs, JobNotFound, KeyRefused (401), OmniBusy, OmniUnreachable.
        """
        ...

    async def models(self) -> Sequence[Model]:
        """The shared models that are not deleted, by name; all pages."""
        ...

    async def topics(self, model: ModelId) -> Sequence[str]:
        """The names of a model's topics. Raises AskRefused for a model that is not there."""
        ...


class Members(Protocol):
    """The people of the Omni organisation."""

    async def named(self, email: str) -> Sequence[OmniUserId]:
        """The active users with that e-mail address (compared without case, on every row of every page, since the
        server may ignore the filter). More than one: ambiguous. Always urgent; may raise any OmniError."""
        ...
