"""What people ask for, stored before anything is done about it: a crash must not let them wait in vain.

A question is on its way to Omni; a follow, to its watch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol
from uuid import UUID, uuid4, uuid5

from bot.ask import ModelId
from bot.job import JobId
from bot.watch import Place, TeamId, UserId, Watch, WatchId

AskId = NewType("AskId", str)
"""Ours: a UUID; of one thing that Slack delivers always the same, so that it is asked once."""

_DELIVERIES = UUID("5d1c8f0e-6a5b-4a8b-9a55-0f0c6f3f1f6e")
"""The namespace of the ids of what Slack delivers."""


def ask_id(place: Place, delivery: str) -> AskId:
    """Always the same for what is delivered, in whatever process."""
    named = uuid5(_DELIVERIES, f"{place.team} {place.channel} {delivery}") if delivery else uuid4()
    return AskId(str(named))


@dataclass(frozen=True, slots=True)
class Ask:
    """That somebody has asked; never what. Until it has a job, or was told of, some process has it in hand: it looks up
    whether they may and whom to ask, submits it, or waits for its turn. A follow is one too, until it has a watch."""

    id: AskId
    place: Place
    """Where it was asked."""
    user: UserId
    asked_at: datetime
    touched_at: datetime
    """When the process that has it in hand last said so."""
    model: ModelId | None = None
    """What the person has chosen, where they have."""
    retry_of: WatchId | None = None
    """The card whose question is asked again."""
    job: JobId | None = None
    """What Omni has made of it; of a follow, the job that is followed."""
    follow: str | None = None
    """What is to be followed: a job's id, or a chat's after `chat/`. None: it is a question."""


class Asks(Protocol):
    """The table of asks. Every call may raise StoreUnavailable."""

    async def begin(self, ask: Ask) -> bool:
        """Store that somebody has asked. False, and nothing changed, if the ask is there already. Raises
        TooManyFollows."""
        ...

    async def retries(self, ask: AskId, card: WatchId, by: UserId) -> bool:
        """Store that the ask is a retry of a card, and with the card who retries it.

        False, and nothing changed, if that card has been retried before, or the ask is not in hand any more.
        """
        ...

    async def touch(self, ask: AskId, at: datetime) -> bool:
        """Say that the ask is still in hand. False if it is not any more: somebody has told of it, or it is gone."""
        ...

    async def bind(self, ask: AskId, watch: Watch) -> Watch:
        """Its job is known: store the job's watch with it, all at once. Returns the watch as it now stands. Doing it
        twice does no harm."""
        ...

    async def withdraw(self, ask: AskId) -> None:
        """It certainly came to nothing: forget it, and let its card be retried again."""
        ...

    async def told(self, ask: AskId) -> None:
        """Its person knows that nobody knows what came of it. It still counts, and its card can be retried again."""
        ...

    async def orphans(self, before: datetime) -> Sequence[Ask]:
        """The asks that no process has said to have in hand since then, oldest first."""
        ...

    async def take_over(self, ask: Ask, at: datetime) -> bool:
        """Take an orphan in hand. False if another process was first, or its own has come back."""
        ...

    async def count(self, team: TeamId, user: UserId, since: datetime) -> int:
        """How many questions a person has asked since then."""
        ...

    async def last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        """Which model the person has chosen last."""
        ...

    async def forget_asks(self, before: datetime) -> int:
        """Remove what was asked before then. Returns how many."""
        ...
