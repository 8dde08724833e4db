"""Ports to Omni. Every call may raise any OmniError."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.cards import UserId
from bot.domain.jobs import Conversation, Job, JobId, JobState
from bot.domain.questions import Model, ModelId, OmniUserId, Question, Submitted
from bot.domain.results import JobResult


class OmniQuestions(Protocol):
    """Submits questions and cancels jobs, as interactive requests."""

    async def submit(self, question: Question) -> Submitted:
        """Submit a question once; never repeated.

        Raises:
            AskRefused, ConversationBusy, KeyRefused (401), OmniBusy (429): certainly not submitted.
            OmniUnreachable: the request certainly never reached Omni (no connection).
            StoreUnavailable: the key's budget could not be read; nothing was sent.
            SubmitOutcomeUnknown: the job may run or not.
        """
        ...

    async def cancel(self, job: JobId) -> JobState:
        """Cancel a job, with a second try after a concurrent change (409).

        Returns the state that Omni answers: CANCELLED, EXECUTING if the worker stops after its current step, or the
        final state of a job that had already ended.

        Raises:
            NotCancellable, CancelForbidden, JobNotFound, KeyRefused (401), OmniBusy, OmniUnreachable.
        """
        ...

    async def models(self) -> Sequence[Model]:
        """Return the shared models and their extensions that are not deleted, from all pages, sorted by name."""
        ...

    async def topics(self, model: ModelId) -> Sequence[str]:
        """Return the names of a model's topics. Raises AskRefused for an unknown model."""
        ...


class OmniUserDirectory(Protocol):
    """The users of the Omni organization."""

    async def named(self, email: str) -> Sequence[OmniUserId]:
        """Return the active users with that e-mail address, compared without case; more than one is ambiguous.

        Every row of every page is compared, since the server may ignore the filter. An interactive request.
        """
        ...

    async def ids_of(self, user: OmniUserId) -> frozenset[OmniUserId]:
        """Return the user's ids: the given one, and the other one if Omni shows it to this key.

        A user has an id and a membership id. Up to three interactive requests.
        """
        ...


class IdentityMapper(Protocol):
    """Maps Slack users to Omni users."""

    async def omni_user(self, user: UserId) -> OmniUserId | None:
        """Return the one active Omni user with the Slack user's e-mail address; None if there is none or several.

        May raise any OmniError and any SlackError.
        """
        ...

    async def ids_of(self, user: OmniUserId) -> frozenset[OmniUserId]:
        """Return all ids that Omni may name the user by, as `OmniUserDirectory.ids_of`. May raise any OmniError."""
        ...


@dataclass(slots=True, eq=False)
class QueuePosition:
    """Position of a background request about a job in the queue of the rate limiter. Times are monotonic."""

    since: float
    """When the job was last polled: the one polled longest ago goes first."""
    has_moved: bool = False
    """Whether the job is known to have moved, or is watched closely, so that it goes before the others. May be set
    while the request waits."""
    is_chart: bool = False
    """Whether it is for a chart, which lets most polls go first."""
    passed_at: float | None = None
    """When the rate limiter let the request through."""


class OmniConversations(Protocol):
    """Lists the conversations of the organization, or of the user whose token it is."""

    async def recently_updated(self, *, position: QueuePosition) -> Mapping[str, datetime]:
        """Return when the 100 most recently active conversations were updated, by their ids and Omni's clock.

        Nothing else of them is kept: not their names and not their prompts.

        Raises:
            ListRefused: Omni has no such list for this key, or it has an undocumented form.
            OmniBusy, OmniUnreachable, StoreUnavailable.
        """
        ...


class OmniJobs(Protocol):
    """Reads Omni's AI jobs, within the request budget of the key."""

    async def status(self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None) -> Job:
        """Read the job's state. `urgent`: an interactive request, which goes before polls. `position`: that of the
        poll among the others; at the end by default."""
        ...

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """Return the newest job of a chat; None if it shows none. An interactive request."""
        ...

    async def chart(self, job: JobId, *, position: QueuePosition | None = None) -> bytes | None:
        """Return the chart of a COMPLETE job as PNG; None if it has none, as most. `position`: as for `status`."""
        ...

    def has_chart(self, job: JobId) -> bool | None:
        """Whether `chart` returned a picture for the job lately; None if unknown. Sends no request."""
        ...

    async def result(
        self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None
    ) -> JobResult:
        """Return the result of a COMPLETE job. Right after its end it may be incomplete or missing.

        Raises:
            JobNotFound: no such job, or it is not COMPLETE, or its result is missing or expired.
        """
        ...
