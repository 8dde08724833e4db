"""Repositories: what the use cases need from the database. Every call may raise StoreUnavailable."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from bot.domain.cards import (
    Card,
    CardFailure,
    CardId,
    ChannelId,
    ChannelRef,
    FencingToken,
    MessageTs,
    Notify,
    ReplyKind,
    TeamId,
    ThreadReply,
    UserId,
)
from bot.domain.jobs import JobId, JobState
from bot.domain.questions import ChannelDefault, ModelId, PendingQuestion, QuestionId
from bot.domain.results import Rating


class FailedCardRepository(Protocol):
    """Cards that could not be posted and whose followers are still to be notified."""

    async def add(self, card: Card, why: CardFailure, at: datetime) -> None:
        """Close a card that can't be posted, or delete it if it has no followers. Raises OwnershipLost."""
        ...

    async def take_unreported(self, before: datetime, at: datetime) -> Card | None:
        """Return a card that failed before then, whose followers no process has begun to notify since; None: no more.

        `at`: stored as when this process begins to notify them.
        """
        ...

    async def mark_reported(self, card_id: CardId, follower: UserId) -> None:
        """Store that one follower was notified; after the last one, delete the card.

        Changes nothing if the card has not failed, or its job has been followed again.
        """
        ...


class QuestionRepository(Protocol):
    """Pending questions."""

    async def begin(self, question: PendingQuestion) -> bool:
        """Store a question. False, and nothing changed, if it is stored already. Raises TooManyFollows."""
        ...

    async def claim_retry(self, question_id: QuestionId, card: CardId, by: UserId) -> bool:
        """Store that the question retries a card, and on the card who retries it.

        False, and nothing changed, if the card has been retried before or the question is no longer pending.
        """
        ...

    async def heartbeat(self, question_id: QuestionId, at: datetime) -> bool:
        """Store that a process works on the question. False if it is no longer pending."""
        ...

    async def bind(self, question_id: QuestionId, card: Card) -> Card:
        """Store the question's job together with the job's card. Returns the stored card. May be repeated."""
        ...

    async def rollback(self, question_id: QuestionId) -> None:
        """Delete a question that certainly began no job, and let its card be retried again."""
        ...

    async def mark_reported(self, question_id: QuestionId) -> None:
        """Store that the user knows that the outcome is unknown. The question still counts against the quota, and its
        card can be retried again."""
        ...

    async def interrupted(self, before: datetime) -> Sequence[PendingQuestion]:
        """Return the pending questions without a heartbeat since then, oldest first."""
        ...

    async def take_over(self, question: PendingQuestion, at: datetime) -> bool:
        """Take over an interrupted question. False if another process was first, or its own process is back."""
        ...

    async def count(self, team: TeamId, user: UserId, since: datetime) -> int:
        """Count the questions that the user has asked since then."""
        ...

    async def last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        """Return the model that the user chose last."""
        ...

    async def delete_old(self, before: datetime) -> int:
        """Delete the questions asked before then. Returns how many."""
        ...


class CardRepository(Protocol):
    """Cards and their followers: the record of who follows which job.

    Methods that take a `Card` write only while its fencing token is current and its answer was not removed meanwhile,
    and raise OwnershipLost otherwise.
    """

    async def add(self, card: Card) -> Card:
        """Store a new card, or add its followers to the card that the job already has in the channel.

        An existing card keeps its requester and followers. A closed one is reopened unless its job has ended.
        Returns the stored card; its id equals `card.id` only if it is new. Raises TooManyFollows.
        """
        ...

    async def get(self, card_id: CardId) -> Card | None:
        """Return one card, open or closed."""
        ...

    async def claim(self, job: JobId) -> tuple[FencingToken, Sequence[Card]]:
        """Take ownership of a job's open cards: no earlier tracker, in any process, can write to them.

        Returns the new fencing token and the cards, oldest first.
        """
        ...

    async def open_cards(self, job: JobId, token: FencingToken) -> Sequence[Card]:
        """Return the job's open cards, oldest first, all with this token. Raises OwnershipLost."""
        ...

    async def open_jobs(self) -> Sequence[JobId]:
        """Return every job with an open card, oldest first."""
        ...

    async def followed_cards(self, team: TeamId, follower: UserId) -> Sequence[Card]:
        """Return the open cards that the user follows, newest first."""
        ...

    async def ended_cards(self, team: TeamId, follower: UserId, most: int) -> Sequence[Card]:
        """Return at most so many cards that the user followed to their end, those that ended last first. Without those
        whose answer was removed."""
        ...

    async def first_card(self, job: JobId) -> Card | None:
        """Return the job's oldest card, open or closed: its requester may manage the job.

        If the bot began the job, the requester is the user who asked the question.
        """
        ...

    async def in_channel(self, job: JobId, channel: ChannelRef) -> Card | None:
        """Return the card that the job has in the channel, open or closed, also one that could not be posted."""
        ...

    async def in_thread(self, channel: ChannelRef, thread: MessageTs) -> Sequence[Card]:
        """Return the cards that begin the thread or reply in it, newest first."""
        ...

    async def unfollow(self, card_id: CardId, follower: UserId) -> int | None:
        """Remove a follower. Returns how many users still follow; None if this user did not."""
        ...

    async def reload(self, card: Card) -> Card | None:
        """Return the stored card; None if it was deleted. Raises OwnershipLost."""
        ...

    async def mark_post_started(self, card: Card, at: datetime | None) -> None:
        """Store that the card is about to be posted, with its history; None: the attempt certainly failed. Raises
        OwnershipLost."""
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
        """Store the message that the attempt of `tried_at` posted, and its fingerprint if known.

        `ended`: the message shows how the job ended. False, and nothing changed, if a later attempt has begun.
        """
        ...

    async def mark_shown(
        self,
        card: Card,
        message_ts: MessageTs,
        fingerprint: str | None,
        *,
        outcome: JobState | None = None,
    ) -> bool:
        """Store the fingerprint of what the message shows; None: unknown, because an edit begins, with whose content
        the card's history is stored.

        `outcome`: how the job ended, if the edit shows that. Then it is stored without ownership too, unless another
        edit has begun; the card can then be claimed again.

        False, and nothing changed, if the card became stale during the edit. Raises OwnershipLost.
        """
        ...

    async def mark_stale(self, card_id: CardId, message_ts: MessageTs, *, is_end: bool = False) -> None:
        """Mark a message that a replaced process may have edited, so that it is drawn again.

        A card that shows its final update is reopened for the next tracker; an edit under way is repeated.
        `is_end`: the other edit shows how the job ended; only a card that was closed on something else changes.
        """
        ...

    async def mark_message_gone(self, card_id: CardId, message_ts: MessageTs) -> None:
        """Store that the message can't be edited, unless the card has another message by now."""
        ...

    async def leave_thread(self, card: Card) -> None:
        """Let the card be posted outside its thread, which was deleted. Raises OwnershipLost."""
        ...

    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        """Change who cancels the job, on all its cards that have not ended and name `instead_of`."""
        ...

    async def mark_completion_reply_started(self, card: Card, at: datetime | None) -> None:
        """Store that the completion reply is about to be posted; None: the attempt certainly failed.

        Raises:
            OwnershipLost: also if the card has another message, or none, by now.
            CardChanged: a follower was added or removed, whom the reply would not name.
        """
        ...

    async def mark_completion_reply_posted(
        self, card_id: CardId, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        """Store the completion reply that the attempt posted. As `mark_posted`."""
        ...

    async def replies(self, card_id: CardId) -> Mapping[ReplyKind, ThreadReply]:
        """Return the thread replies that were begun, without the completion reply."""
        ...

    async def mark_reply_started(self, card: Card, slot: ReplyKind, at: datetime | None) -> None:
        """Store that a thread reply is about to be posted; None: the attempt certainly failed. Raises OwnershipLost."""
        ...

    async def mark_reply_posted(
        self, card_id: CardId, slot: ReplyKind, tried_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        """Store the thread reply that the attempt posted. As `mark_posted`."""
        ...

    async def move(self, card: Card, to: Sequence[Card], *, left_at: datetime | None = None) -> bool:
        """Replace a card in a channel where the bot can't post by other cards, in one transaction.

        `left_at`: its message stays, and the card with it, closed and without followers; None: it is deleted.

        False, and nothing changed, if its followers are not those of `card`.

        Raises:
            OwnershipLost
            CardChanged: a card that is to stay is stale.
        """
        ...

    async def forget_message(self, card_id: CardId, message_ts: MessageTs) -> None:
        """Forget the message and all its replies, so that the card is posted again, even if its job has ended.

        Changes nothing if the card has another message by now, or its answer was removed.
        """
        ...

    async def resume(self, card_id: CardId, follower: UserId, at: datetime) -> None:
        """Add a follower and extend the follow; reopen a closed card unless its job ended. Raises TooManyFollows."""
        ...

    async def lost_jobs(self, before: datetime) -> Sequence[JobId]:
        """Return the jobs that Omni did not know and whose cards were closed before then, without settled ones."""
        ...

    async def settle_lost(self, job: JobId, *, found: bool) -> None:
        """Store Omni's second answer about a lost job: if it was `found`, its cards are reopened."""
        ...

    async def close(
        self, card: Card, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        """Close a card for which nothing is left to do. Raises OwnershipLost.

        `ended`: the message shows how the job ended; `outcome`: how, if known. Changes nothing if the card was joined
        or resumed, or is stale.
        """
        ...

    async def close_if_unfollowed(self, card: Card, at: datetime) -> None:
        """Close the card unless it has followers or is stale. Raises OwnershipLost."""
        ...

    async def remove(self, card: Card) -> None:
        """Delete a card that was never posted. Raises OwnershipLost."""
        ...

    async def delete_closed(self, before: datetime) -> int:
        """Delete the cards that were closed before then. Returns how many."""
        ...


class RemovalRepository(Protocol):
    """Answers that are taken back."""

    async def request(self, card_id: CardId, by: UserId) -> bool:
        """Store who removes the answer, and reopen the card for that. No `Card` that was read before owns it anymore.

        False, and nothing changed, if the card shows no end or its answer was removed before.
        """
        ...

    async def begin_post(self, card_id: CardId, kind: ReplyKind, at: datetime) -> bool:
        """Store that a reply is about to be posted on request. False, and nothing changed, if the answer was removed.

        `kind`: a new one. Afterwards `CardRepository.mark_reply_posted` stores the ts, or the id of a file.
        """
        ...

    async def forget_replies(self, card_id: CardId, kinds: Collection[ReplyKind]) -> None:
        """Forget thread replies that are certainly not in Slack. May be repeated."""
        ...

    async def forget_completion_reply(self, card_id: CardId) -> None:
        """Forget the completion reply, which is certainly not in Slack. May be repeated."""
        ...


class PreferenceRepository(Protocol):
    """The settings that users of one team have chosen for themselves."""

    async def notify(self, users: Sequence[UserId]) -> Mapping[UserId, Notify]:
        """Return when each of these users wants to be notified."""
        ...

    async def set_notify(self, user: UserId, choice: Notify, at: datetime) -> None:
        """Store when a user wants to be notified, chosen at that time. May be repeated."""
        ...


class ChannelDefaultRepository(Protocol):
    """The models and topics that channels of one team have of their own. Every process reads them anew."""

    async def get(self, channel: ChannelId) -> ChannelDefault | None:
        """Return a channel's default; None: it has none."""
        ...

    async def put(self, channel: ChannelId, default: ChannelDefault, at: datetime) -> None:
        """Store a channel's default instead of an earlier one. May be repeated."""
        ...

    async def remove(self, channel: ChannelId) -> bool:
        """Delete a channel's default. Returns whether there was one."""
        ...

    async def all(self) -> Mapping[ChannelId, ChannelDefault]:
        """Return the defaults of all channels that have one, by channel id."""
        ...


class RatingRepository(Protocol):
    """The ratings of answers by the users of one team."""

    async def rate(self, card: Card, user: UserId, rating: Rating, at: datetime) -> bool:
        """Store a user's rating of a card's answer instead of an earlier one. Returns whether it is new."""
        ...


class JobDurationRepository(Protocol):
    """How long the jobs of one team took."""

    async def add(self, seconds: Mapping[JobId, float], ended_at: datetime) -> None:
        """Store how long jobs executed. Jobs that are stored already keep their duration."""
        ...

    async def newest(self) -> Sequence[float]:
        """Return the durations in seconds that were stored last, the newest first, some dozens at most."""
        ...
