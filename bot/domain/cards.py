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
Ts = NewType("Ts", str)
"""A Slack message's timestamp, which is also its id within the channel."""
WatchId = NewType("WatchId", str)
"""Ours: a random UUID, also written into the metadata of what is posted for the watch."""
Claim = NewType("Claim", str)
"""Ours: a random UUID that each follow of a job writes on the watches it tends. The newest one holds."""

Slot = NewType("Slot", str)
"""Which of the replies that go on from a card: a thread holds each at most once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a card is or goes. There is at most one watch of a job in a place."""

    team: TeamId
    channel: ChannelId


DOUBTED = "doubted"
"""Stands for the fingerprint of a card that may have been edited since it was last drawn: it has to be drawn anew."""

_ENDING = "ending "


def ending(claim: Claim | None) -> str | None:
    """Stands for the fingerprint while the follow with that claim edits the card to say how the job ended, in the 32
    characters of the column. Another edit that begins replaces it."""
    return _ENDING + claim[:25] if claim else None


class NoCard(Enum):
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
class Watch:
    """One card: a job followed in one place by one or more people.

    Each fact that can't be taken back in Slack is stored as an intent before it is tried and as a
    timestamp after it, so that whoever takes the watch up again knows what may have happened.
    """

    id: WatchId
    job: JobId
    place: Place
    requester: UserId
    """Who followed first, for good; not a follower after they stopped following, or where the watch was moved to
    another follower's direct messages."""
    followers: tuple[UserId, ...]
    """Who is told, in the order they came."""
    asked_at: datetime
    """When the command came, aware UTC."""
    card_tried_at: datetime | None = None
    """When posting the card was last begun."""
    card: Ts | None = None
    """The card's ts, once Slack has answered."""
    card_gone: bool = False
    """Slack says that the card was deleted or can't be edited any more."""
    shown: str | None = None
    """The fingerprint of the message that Slack holds now; DOUBTED, or None, where nobody knows."""
    notice_tried_at: datetime | None = None
    """When posting the thread reply was last begun; of a watch that was given up, telling its followers."""
    notice: Ts | None = None
    """The thread reply's ts, once Slack has answered."""
    closed_at: datetime | None = None
    """When there was nothing left to show or tell."""
    ended: bool = False
    """The card says how the job ended, and must never say anything else again."""
    claim: Claim | None = None
    """Whose writes count: those of the follow with this claim, and no other's."""
    resumed_at: datetime | None = None
    """When somebody last joined it or asked to go on with it."""
    thread: Ts | None = None
    """The thread in which the card is a reply; None: the card stands by itself, and has a thread of its own."""
    is_own: bool = False
    """The bot has begun the job itself, so it exists, whatever Omni says of it at first."""
    cancelled_by: UserId | None = None
    """Who asked Omni, by a button here or on another card, to cancel the job."""
    retried_by: UserId | None = None
    """Who has had the same question asked again."""
    outcome: JobState | None = None
    """How the job ended, where the watch was closed over that. UNKNOWN: Omni did not know the job any more, and will be
    asked once more."""
    given_up: NoCard | None = None
    """Why there is no card of a closed watch, which its followers are still to be told. It is forgotten after that."""

    @property
    def looked_after_since(self) -> datetime:
        """From when the time is counted for which the bot looks after it."""
        return self.resumed_at or self.asked_at

    @property
    def has_doubted_look(self) -> bool:
        """Whether its card has to be drawn anew, and can be."""
        return self.shown == DOUBTED and not self.card_gone

    @property
    def may_show_the_end(self) -> bool:
        """Whether an edit that says how the job ended was begun, and its outcome is not stored."""
        return self.shown is not None and self.shown.startswith(_ENDING)

    def is_of(self, place: Place, card: Ts) -> bool:
        """Whether that is its card: a button names a watch, and is never believed."""
        return self.place == place and self.card == card

    def thread_of(self, card: Ts) -> Ts:
        """The thread that replies to the card belong in: Slack has no threads within threads."""
        return self.thread or card


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that goes on from a card in its thread, stored as a `Watch`'s facts are: as an intent, then as done."""

    tried_at: datetime
    """When posting it was last begun."""
    ts: Ts | None = None
    """Its ts, once Slack has answered."""
