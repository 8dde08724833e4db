"""What the core needs from the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from bot.domain.cards import (
    Card,
    CardFailure,
    CardId,
    ChannelRef,
    FencingToken,
    MessageTs,
    ReplyKind,
    TeamId,
    ThreadReply,
    UserId,
)
from bot.domain.jobs import JobId, JobState
from bot.domain.questions import ModelId, PendingQuestion, QuestionId


class FailedCardRepository(Protocol):
    """What the table of watches holds of them. Every call may raise StoreUnavailable."""

    async def add(self, card: Card, why: CardFailure, at: datetime) -> None:
        """Close a watch that gets no card; one that nobody follows any more is forgotten. Raises ClaimLost."""
        ...

    async def pending(self, before: datetime) -> Sequence[Card]:
        """What was given up before then, and nobody has begun to tell since, oldest first."""
        ...

    async def mark_reporting(self, card: Card, at: datetime) -> Card | None:
        """Its followers are about to be told. Returns it as it now stands; None if another process was first, or it has
        been followed again since."""
        ...

    async def mark_reported(self, card_id: CardId, follower: UserId) -> None:
        """One follower knows; after the last of them the watch is forgotten. Changes nothing if it was not given up, or
        is followed again."""
        ...


class QuestionRepository(Protocol):
    """The table of asks. Every call may raise StoreUnavailable."""

    async def begin(self, question: PendingQuestion) -> bool:
        """Store that somebody has asked. False, and nothing changed, if the ask is there already. Raises
        TooManyFollows."""
        ...

    async def claim_retry(self, question_id: QuestionId, card: CardId, by: UserId) -> bool:
        """Store that the ask is a retry of a card, and with the card who retries it.

        False, and nothing changed, if that card has been retried before, or the ask is not in hand any more.
        """
        ...

    async def heartbeat(self, question_id: QuestionId, at: datetime) -> bool:
        """Say that the ask is still in hand. False if it is not any more: somebody has told of it, or it is gone."""
        ...

    async def bind(self, question_id: QuestionId, card: Card) -> Card:
        """Its job is known: store the job's watch with it, all at once. Returns the watch as it now stands. Doing it
        twice does no harm."""
        ...

    async def rollback(self, question_id: QuestionId) -> None:
        """It certainly came to nothing: forget it, and let its card be retried again."""
        ...

    async def mark_reported(self, question_id: QuestionId) -> None:
        """Its person knows that nobody knows what came of it. It still counts, and its card can be retried again."""
        ...

    async def interrupted(self, before: datetime) -> Sequence[PendingQuestion]:
        """The asks that no process has said to have in hand since then, oldest first."""
        ...

    async def take_over(self, question: PendingQuestion, at: datetime) -> bool:
        """Take an orphan in hand. False if another process was first, or its own has come back."""
        ...

    async def count(self, team: TeamId, user: UserId, since: datetime) -> int:
        """How many questions a person has asked since then."""
        ...

    async def last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        """Which model the person has chosen last."""
        ...

    async def delete_old(self, before: datetime) -> int:
        """Remove what was asked before then. Returns how many."""
        ...


class CardRepository(Protocol):
    """The table of watches: the truth about who follows what. Every call may raise StoreUnavailable."""

    async def add(self, card: Card) -> Card:
        """Store a new watch, or let its requester follow the one that its job has in its place already.

        That one keeps its requester and its followers. If it is closed, it is opened again, unless its job has ended.
        Returns the watch as it now stands; its id equals `watch.id` only if it is new. Raises TooManyFollows.
        """
        ...

    async def get(self, card_id: CardId) -> Card | None:
        """One watch, open or closed."""
        ...

    async def claim(self, job: JobId) -> tuple[FencingToken, Sequence[Card]]:
        """Begin to follow a job: from now on no earlier follow of it, in whatever process, can write.

        Returns the claim of the new follow, and what `open_watches` returns for it.
        """
        ...

    async def open_cards(self, job: JobId, token: FencingToken) -> Sequence[Card]:
        """The job's watches that still have something to be shown or told, oldest first, all with this claim.

        Raises:
            ClaimLost: another follow has claimed the job since.
        """
        ...

    async def open_jobs(self) -> Sequence[JobId]:
        """Every job with an open watch, oldest first."""
        ...

    async def followed_cards(self, team: TeamId, follower: UserId) -> Sequence[Card]:
        """What a person follows now, newest first."""
        ...

    async def ended_cards(self, team: TeamId, follower: UserId, most: int) -> Sequence[Card]:
        """What a person followed to its end, at most so many, those that ended last first."""
        ...

    async def first_card(self, job: JobId) -> Card | None:
        """The job's watch that was asked for first, open or closed: its requester may act on the job.

        If the bot has begun the job, the requester is the person who asked, whoever followed first.
        """
        ...

    async def in_thread(self, channel: ChannelRef, thread: MessageTs) -> Sequence[Card]:
        """The watches whose card begins that thread or is a reply in it, those asked for last first."""
        ...

    async def unfollow(self, card_id: CardId, follower: UserId) -> int | None:
        """Take one person off. How many are left; None if the person did not follow."""
        ...

    async def reload(self, card: Card) -> Card | None:
        """The watch as it now stands; None if it is gone. Raises ClaimLost."""
        ...

    async def mark_post_started(self, card: Card, at: datetime | None) -> None:
        """The card is about to be posted; None: it is certain that the try came to nothing. Raises ClaimLost."""
        ...

    async def mark_posted(
        self,
        card_id: CardId,
        tried_at: datetime,
        ts: MessageTs,
        fingerprint: str | None,
        *,
        ended: bool = False,
    ) -> bool:
        """Slack holds the card, posted by that try, and in which look where that is known. `ended`: that look
        says how the job ended.

        False, and nothing changed, if another try has been begun since.
        """
        ...

    async def mark_shown(
        self, card: Card, message_ts: MessageTs, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        """Store which message Slack holds as the card; None: unknown, because an edit begins. `ended`: it says how the
        job ended. That is stored without the claim as well, as long as no other edit has begun; the watch is then free
        to be claimed anew. False, and nothing changed, if the look has been doubted since the edit began. Raises
        ClaimLost."""
        ...

    async def mark_stale(self, card_id: CardId, message_ts: MessageTs, *, is_end: bool = False) -> None:
        """The card may have been edited by somebody else than who follows the job. A watch that was closed on its last
        look, or is about to be, is opened again, for whoever follows the job next; an edit that is under way must be
        made once more. `is_end`: that edit says how the job ended. Then only a watch changes that was closed on
        another look."""
        ...

    async def mark_message_gone(self, card_id: CardId, message_ts: MessageTs) -> None:
        """That card can't be edited any more; the watch goes on without it, unless it has another by now."""
        ...

    async def leave_thread(self, card: Card) -> None:
        """The thread that the card was to be a reply in is gone: it will stand by itself. Raises ClaimLost."""
        ...

    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        """Change who asks Omni to cancel the job, on all its cards that still change and say what it is now."""
        ...

    async def mark_completion_reply_started(self, card: Card, at: datetime | None) -> None:
        """The thread reply is about to be posted; None: the try certainly came to nothing. Raises ClaimLost, also
        where the watch has another card, or none, by now; and WatchChanged, so that it names everybody who follows."""
        ...

    async def mark_completion_reply_posted(
        self, card_id: CardId, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        """Slack holds the thread reply, posted by that try. As `card_posted`."""
        ...

    async def replies(self, card_id: CardId) -> Mapping[ReplyKind, ThreadReply]:
        """What goes on from the card in its thread, as far as it was begun; the notice is the watch's own."""
        ...

    async def mark_reply_started(self, card: Card, slot: ReplyKind, at: datetime | None) -> None:
        """That reply is about to be posted; None: the try certainly came to nothing. Raises ClaimLost."""
        ...

    async def mark_reply_posted(
        self, card_id: CardId, slot: ReplyKind, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        """Slack holds that reply, posted by that try. As `card_posted`."""
        ...

    async def move(self, card: Card, to: Sequence[Card], *, left_at: datetime | None = None) -> bool:
        """Put other watches in the place of one whose place the bot can't post in, all at once. `left_at`: its card
        stays where it is, and the watch with it, closed and with no followers; None: it is forgotten.

        False, and nothing changed, if its followers are no longer those of `card`. Raises ClaimLost; and WatchChanged
        where the look of a card that stays has been doubted.
        """
        ...

    async def forget_message(self, card_id: CardId, message_ts: MessageTs) -> None:
        """Forget that card and all its replies: the next thing to do is to post the card anew, also of an ended job.

        Changes nothing if the watch has another card by now.
        """
        ...

    async def resume(self, card_id: CardId, follower: UserId, at: datetime) -> None:
        """Look after a watch for longer, for those who follow it and for one person more; open it if it is closed
        and its job has not ended. Raises TooManyFollows."""
        ...

    async def lost_jobs(self, before: datetime) -> Sequence[JobId]:
        """The jobs of watches that were closed before then because Omni did not know the job any more, except those of
        which Omni was asked again since."""
        ...

    async def settle_lost(self, job: JobId, *, found: bool) -> None:
        """Store what Omni has said when it was asked again about a lost job: if it was `found`, open its watches."""
        ...

    async def close(
        self, card: Card, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        """Nothing is left to show or tell, for good if the card says how the job `ended`; `outcome`: how it did,
        where that is known. Raises ClaimLost.

        Changes nothing if somebody has joined or resumed the watch since, or the card's look has been doubted.
        """
        ...

    async def close_if_unfollowed(self, card: Card, at: datetime) -> None:
        """Close the watch unless somebody follows it, even if only since a moment ago, or the card's look has been
        doubted. Raises ClaimLost."""
        ...

    async def remove(self, card: Card) -> None:
        """Forget a watch that never came to anything. Raises ClaimLost."""
        ...

    async def delete_closed(self, before: datetime) -> int:
        """Remove the watches that were closed before then. Returns how many."""
        ...


class JobDurationRepository(Protocol):
    """How long this organisation's jobs took. Every call may raise StoreUnavailable."""

    async def add(self, seconds: Mapping[JobId, float], ended_at: datetime) -> None:
        """Store how long jobs took from the beginning of their execution; those stored before stay as they are."""
        ...

    async def newest(self) -> Sequence[float]:
        """How many seconds the jobs took that were stored last, some hundred at most."""
        ...
