"""Who follows which job where, and what they have been shown and told of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import NewType

from bot.domain.jobs import JobId, JobState

TeamId = NewType("TeamId", str)
"""A Slack workspace, `T…`."""
ChannelId = NewType("ChannelId", str)
"""A Slack conversation: `C…`, `G…`, or `D…` for a direct message."""
UserId = NewType("UserId", str)
"""A Slack person, `U…` or `W…`."""
MessageTs = NewType("MessageTs", str)
"""A Slack message's timestamp, which is also its id within the channel."""
CardId = NewType("CardId", str)
"""Ours: a random UUID, also written into the metadata of what is posted for the watch."""
FencingToken = NewType("FencingToken", str)
"""Ours: a random UUID that each follow of a job writes on the watches it tends. The newest one holds."""

ReplyKind = NewType("ReplyKind", str)
"""Which of the replies that go on from a card: a thread holds each at most once."""


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """Where a card is or goes. There is at most one watch of a job in a place."""

    team: TeamId
    id: ChannelId


NEEDS_REDRAW = "doubted"
"""Stands for the fingerprint of a card that may have been edited since it was last drawn: it has to be drawn anew."""

_ENDING = "ending "


def ending(token: FencingToken | None) -> str | None:
    """Stands for the fingerprint while the follow with that claim edits the card to say how the job ended, in the 32
    characters of the column. Another edit that begins replaces it."""
    return _ENDING + token[:25] if token else None


class CardFailure(Enum):
    """Why there is no card, and the bot does not try for one any more."""

    NOWHERE = auto()
    """The bot can't post in the place nor in the person's direct messages."""
    NO_SUCH_JOB = auto()
    """Omni knows no such job."""
    KEY_REFUSED = auto()
    """Omni refuses the bot's key."""
    UNCONFIRMED = auto()
    """Slack did not say whether it took the card, and it can't be looked for."""


@dataclass(frozen=True, slots=True)
class Card:
    """One card: a job followed in one place by one or more people.

    Each fact that can't be taken back in Slack is stored as an intent before it is tried and as a
    timestamp after it, so that whoever takes the watch up again knows what may have happened.
    """

    id: CardId
    job: JobId
    channel: ChannelRef
    requester: UserId
    """Who followed first, for good; not a follower after they stopped following, or where the watch was moved to
    another follower's direct messages."""
    followers: tuple[UserId, ...]
    """Who is told, in the order they came."""
    requested_at: datetime
    """When the command came, aware UTC."""
    post_started_at: datetime | None = None
    """When posting the card was last begun."""
    message_ts: MessageTs | None = None
    """The card's ts, once Slack has answered."""
    is_message_gone: bool = False
    """Slack says that the card was deleted or can't be edited any more."""
    shown_fingerprint: str | None = None
    """The fingerprint of the message that Slack holds now; DOUBTED, or None, where nobody knows."""
    completion_reply_started_at: datetime | None = None
    """When posting the thread reply was last begun; of a watch that was given up, telling its followers."""
    completion_reply_ts: MessageTs | None = None
    """The thread reply's ts, once Slack has answered."""
    closed_at: datetime | None = None
    """When there was nothing left to show or tell."""
    ended: bool = False
    """The card says how the job ended, and must never say anything else again."""
    token: FencingToken | None = None
    """Whose writes count: those of the follow with this claim, and no other's."""
    resumed_at: datetime | None = None
    """When somebody last joined it or asked to go on with it."""
    thread: MessageTs | None = None
    """The thread in which the card is a reply; None: the card stands by itself, and has a thread of its own."""
    asked_by_bot: bool = False
    """The bot has begun the job itself, so it exists, whatever Omni says of it at first."""
    cancelled_by: UserId | None = None
    """Who asked Omni, by a button here or on another card, to cancel the job."""
    retried_by: UserId | None = None
    """Who has had the same question asked again."""
    outcome: JobState | None = None
    """How the job ended, where the watch was closed over that. UNKNOWN: Omni did not know the job any more, and will be
    asked once more."""
    failure: CardFailure | None = None
    """Why there is no card of a closed watch, which its followers are still to be told. It is forgotten after that."""

    @property
    def tracked_since(self) -> datetime:
        """From when the time is counted for which the bot looks after it."""
        return self.resumed_at or self.requested_at

    @property
    def is_stale(self) -> bool:
        """Whether its card has to be drawn anew, and can be."""
        return self.shown_fingerprint == NEEDS_REDRAW and not self.is_message_gone

    @property
    def may_show_the_end(self) -> bool:
        """Whether an edit that says how the job ended was begun, and its outcome is not stored."""
        return self.shown_fingerprint is not None and self.shown_fingerprint.startswith(_ENDING)

    def is_message(self, channel: ChannelRef, message_ts: MessageTs) -> bool:
        """Whether that is its card: a button names a watch, and is never believed."""
        return self.channel == channel and self.message_ts == message_ts

    def thread_of(self, message_ts: MessageTs) -> MessageTs:
        """The thread that replies to the card belong in: Slack has no threads within threads."""
        return self.thread or message_ts


@dataclass(frozen=True, slots=True)
class ThreadReply:
    """A reply that goes on from a card in its thread, stored as a `Card`'s facts are: as an intent, then as done."""

    started_at: datetime
    """When posting it was last begun."""
    ts: MessageTs | None = None
    """Its ts, once Slack has answered."""
