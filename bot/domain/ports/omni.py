"""What the core needs from Omni."""

from collections.abc import Callable, Sequence
from typing import Protocol

from bot.domain.cards import UserId
from bot.domain.jobs import Conversation, Job, JobId, JobState
from bot.domain.questions import Model, ModelId, OmniUserId, Question, Submitted
from bot.domain.results import JobResult


class OmniQuestions(Protocol):
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


class OmniUserDirectory(Protocol):
    """The people of the Omni organisation."""

    async def named(self, email: str) -> Sequence[OmniUserId]:
        """The active users with that e-mail address (compared without case, on every row of every page, since the
        server may ignore the filter). More than one: ambiguous. Always urgent; may raise any OmniError."""
        ...


class IdentityMapper(Protocol):
    """Whom people are in Omni."""

    async def omni_user(self, user: UserId) -> OmniUserId | None:
        """The one active Omni user with the person's e-mail address; None where there is none, or more than one,
        or no address. May raise any OmniError, and any BoardError."""
        ...


Priority = Callable[[], float]
"""How much it is worth right now to ask Omni a question that nobody waits for. Grows by at most one a second."""


class OmniJobs(Protocol):
    """Omni's AI jobs, behind the one request budget of the key. Every call may raise any OmniError."""

    async def status(self, job: JobId, *, urgent: bool = False, worth: Priority | None = None) -> Job:
        """Ask for the job's state. `urgent` requests, made for a waiting person, go before polls, and of these
        the one with the greatest `worth` when there is room for one."""
        ...

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """The id of the newest job in a chat, or None where the chat shows none. Always urgent."""
        ...

    async def chart(self, job: JobId, *, worth: Priority | None = None) -> bytes | None:
        """The picture of a COMPLETE job's data as PNG; None where there is none, which is so for most. `worth` as for
        `status`."""
        ...

    def has_chart(self, job: JobId) -> bool | None:
        """Whether `chart` has had a picture for the job; None if it was not asked, or too long ago. Asks nobody."""
        ...

    async def result(self, job: JobId, *, urgent: bool = False) -> JobResult:
        """What a COMPLETE job has found. Right after its end it may be incomplete, or not there yet.

        Raises:
            JobNotFound: no such job, or it is not COMPLETE, or its result is not there yet or no longer.
        """
        ...
