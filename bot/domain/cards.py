"""Cards: which job is shown in which channel, who follows it, and what was already posted."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import NewType

from bot.domain.jobs import JobHistory, JobId, JobState

TeamId = NewType("TeamId", str)
"""A Slack workspace, `T…`."""
ChannelId = NewType("ChannelId", str)
"""A Slack channel: `C…`, `G…`, or `D…` for a direct message."""
UserId = NewType("UserId", str)
"""A Slack user, `U…` or `W…`."""
MessageTs = NewType("MessageTs", str)
"""Timestamp of a Slack message, which is also its id within the channel."""
CardId = NewType("CardId", str)
"""Random UUID of a card, also in the metadata of its messages."""
FencingToken = NewType("FencingToken", str)
"""Random UUID that each tracker writes to its cards' rows. Writes with an older token are rejected."""

ReplyKind = NewType("ReplyKind", str)
"""Kind of a thread reply. A card has at most one of each kind."""

API_CLIENT = UserId("API")
"""The programs that announce jobs over HTTP, as the requester and a follower of their cards. No Slack user has this id,
so only admins may manage an announced job."""


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """A channel and its workspace. It has at most one open card of a job."""

    team: TeamId
    id: ChannelId


NEEDS_REDRAW = "doubted"
"""Stored instead of the fingerprint of a card that may have been edited since, and has to be redrawn."""

ENDING = "ending "
"""Prefix of the value stored instead of the fingerprint while a final update is under way, see `ending`."""


def ending(token: FencingToken | None) -> str | None:
    """Value stored instead of the fingerprint while the tracker with this token does the final update.

    Cut to the 32 characters of the column. The next edit replaces it.
    """
    return ENDING + token[:25] if token else None


class Notify(StrEnum):
    """A user's choice when to be mentioned at the end of a job. The values are stored."""

    ALWAYS = "always"
    """At every end that deserves a completion reply. The default."""
    FAILURES = "failures"
    """Unless the job was answered."""
    NEVER = "never"

    def includes(self, *, is_answered: bool) -> bool:
        """Return whether the user is mentioned at an end."""
        return self is Notify.ALWAYS or (self is Notify.FAILURES and not is_answered)


class CardFailure(Enum):
    """Why a card could not be posted."""

    NOWHERE = auto()
    """The bot can post neither in the channel nor in the user's direct messages."""
    NO_SUCH_JOB = auto()
    """Omni has no such job."""
    KEY_REFUSED = auto()
    """Omni refuses the bot's key."""
    UNCONFIRMED = auto()
    """Slack did not confirm the post, and the bot can't search for it."""


@dataclass(frozen=True, slots=True)
class Card:
    """The message about a job in one channel, and its followers.

    Every post is stored before it is tried (`…_started_at`) and after it succeeded (`…_ts`), so that the next tracker
    of the job knows what may have been posted.
    """

    id: CardId
    job: JobId
    channel: ChannelRef
    requester: UserId
    """The first user who asked for the card, or API_CLIENT. Never changes, even if this user stops following."""
    followers: tuple[UserId, ...]
    """Users to notify, in the order in which they joined; and API_CLIENT, so that the card needs no other follower."""
    requested_at: datetime
    """When the command arrived, aware UTC."""
    post_started_at: datetime | None = None
    """When the latest try to post the card began."""
    message_ts: MessageTs | None = None
    """The card's message ts, once posted."""
    is_message_gone: bool = False
    """Whether Slack reported the message as deleted or no longer editable."""
    shown_fingerprint: str | None = None
    """Fingerprint of the message in Slack; NEEDS_REDRAW, `ending(…)` or None if unknown."""
    completion_reply_started_at: datetime | None = None
    """When the latest try to post the completion reply began or, after a card failure, to notify the followers."""
    completion_reply_ts: MessageTs | None = None
    """The completion reply's message ts, once posted."""
    closed_at: datetime | None = None
    """When the card was finished: nothing is left to show or report."""
    ended: bool = False
    """Whether the card shows how the job ended. After that only its chart is added."""
    token: FencingToken | None = None
    """Token of the tracker that may write to the row."""
    resumed_at: datetime | None = None
    """When a user last joined or pressed *Resume*."""
    thread: MessageTs | None = None
    """Thread in which the card is a reply; None if the card starts its own thread."""
    asked_by_bot: bool = False
    """Whether the bot submitted the job. Then it exists even if Omni does not find it at first."""
    cancelled_by: UserId | None = None
    """User who cancelled the job with a button, on this card or another."""
    retried_by: UserId | None = None
    """User who asked the same question again."""
    shared_by: UserId | None = None
    """User who shared the answer from their direct messages to this channel. No one waits for it here."""
    removed_by: UserId | None = None
    """User who removed the answer. The card never shows it again; it stays open until its replies are deleted."""
    outcome: JobState | None = None
    """How the job ended, once a final update has begun. UNKNOWN: Omni did not find the job, and is asked once more."""
    history: JobHistory = field(default=JobHistory(), repr=False)
    """History of the running job. Stored when a post or an edit begins, for the job's next tracker."""
    failure: CardFailure | None = None
    """Why a closed card could not be posted. Deleted once the followers were notified."""

    @property
    def people(self) -> tuple[UserId, ...]:
        """The followers that are Slack users."""
        return tuple(follower for follower in self.followers if follower != API_CLIENT)

    @property
    def tracked_since(self) -> datetime:
        """Start of the time for which the bot tracks the job."""
        return self.resumed_at or self.requested_at

    @property
    def is_stale(self) -> bool:
        """Whether the message has to be redrawn, and can be."""
        return self.shown_fingerprint == NEEDS_REDRAW and not self.is_message_gone

    @property
    def may_show_the_end(self) -> bool:
        """Whether a final update was begun whose outcome is not stored."""
        return self.shown_fingerprint is not None and self.shown_fingerprint.startswith(ENDING)

    def has_same_owner(self, card: "Card") -> bool:
        """Whether the owner of `card` still owns this newer state: not after a removal that it does not know of."""
        return (self.token, self.removed_by) == (card.token, card.removed_by)

    def is_message(self, channel: ChannelRef, message_ts: MessageTs) -> bool:
        """Whether this is the card's message. The card id in a button is untrusted."""
        return self.channel == channel and self.message_ts == message_ts

    def thread_of(self, message_ts: MessageTs) -> MessageTs:
        """The thread for the card's replies: Slack has no threads within threads."""
        return self.thread or message_ts


@dataclass(frozen=True, slots=True)
class ThreadReply:
    """A message in a card's thread, stored before it is posted and after, as in `Card`."""

    started_at: datetime
    """When the latest try to post it began."""
    ts: MessageTs | None = None
    """Its message ts, once posted."""
