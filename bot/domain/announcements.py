"""Announcements: programs post jobs to channels over HTTP, where no user is at a keyboard."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.domain.cards import CardId, ChannelRef, MessageTs
from bot.domain.jobs import JobId


@dataclass(frozen=True, slots=True)
class Announcement:
    """A job to be followed in a channel."""

    job: JobId
    channel: ChannelRef
    thread: MessageTs | None = None
    """The thread in which the card becomes a reply."""
    mentions: tuple[str, ...] = ()
    """Ids or email addresses of the Slack users who follow the job, so that the end notifies them."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The card of an announced job."""

    card: CardId
    is_new: bool
    """False if the job already had a card in the channel. Those mentioned follow it from now on."""
    not_mentioned: Sequence[str] = ()
    """Users who were to be mentioned and can't be, each as in the announcement, with the reason after a colon."""


class AnnouncementProblem(StrEnum):
    """Why a job is not announced. The value is the `error` of the API's response."""

    UNKNOWN_JOB = "unknown_job"
    UNKNOWN_CHANNEL = "unknown_channel"
    BOT_NOT_IN_CHANNEL = "bot_not_in_channel"
    POST_REFUSED = "post_refused"
    CHANNEL_ARCHIVED = "channel_archived"
    CHANNEL_SHARED = "channel_shared"
    UNCONFIRMED = "unconfirmed"
    """The card may be in the channel. A repeated request could post another one."""
    UNAVAILABLE = "unavailable"
    """Omni, Slack or the database gives no answer. The same request may succeed later."""


class AnnouncementRefused(Exception):
    """The job is not announced. `str(error)` is a sentence for the caller."""

    def __init__(self, problem: AnnouncementProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem
