"""What the core asks of the world, and the message it hands over. How the world refuses: `errors`."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bot.job import Conversation, Job, JobId, JobState
from bot.result import JobResult
from bot.watch import Claim, Place, Reply, Slot, TeamId, Ts, UserId, Watch, WatchId

Block = dict[str, Any]
"""One Block Kit block, as Slack's JSON."""


@dataclass(frozen=True, slots=True)
class Message:
    """What Slack is to show: `text` is what notifications and screen readers read, `blocks` what eyes see."""

    text: str = field(repr=False)
    blocks: tuple[Block, ...] = field(default=(), repr=False)

    @property
    def fingerprint(self) -> str:
        """Equal for messages that look the same; short enough to store."""
        content = json.dumps([self.text, self.blocks], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Upload:
    """A file for a conversation."""

    name: str
    """The file's name, with its ending."""
    title: str
    """What stands above it."""
    content: bytes = field(repr=False)
    """At least one byte."""
    alt: str | None = None
    """What a picture shows, for people who can't see it."""

    @property
    def fingerprint(self) -> str:
        """Equal for files of the same name and content."""
        return hashlib.blake2b(self.name.encode() + b"\0" + self.content, digest_size=12).hexdigest()


Worth = Callable[[], float]
"""How much it is worth right now to ask Omni a question that nobody waits for. Grows by at most one a second."""


class Omni(Protocol):
    """Omni's AI jobs, behind the one request budget of the key. Every call may raise any OmniError."""

    async def status(self, job: JobId, *, urgent: bool = False, worth: Worth | None = None) -> Job:
        """Ask for the job's state. `urgent` requests, made for a waiting person, go before polls, and of these
        the one with the greatest `worth` when there is room for one."""
        ...

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """The id of the newest job in a chat, or None where the chat shows none. Always urgent."""
        ...

    async def chart(self, job: JobId, *, worth: Worth | None = None) -> bytes | None:
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


class Board(Protocol):
    """Slack's messages. Every call may raise any BoardError."""

    async def post(self, place: Place, message: Message, *, mark: str, thread: Ts | None = None) -> Ts:
        """Post once, with a mark to be found by; never repeated by itself. `thread`: as a reply to that ts."""
        ...

    async def update(self, place: Place, ts: Ts, message: Message) -> None:
        """Replace a message of ours. Doing it twice does no harm."""
        ...

    async def delete(self, place: Place, ts: Ts) -> None:
        """Delete a message of ours. Doing it twice does no harm."""
        ...

    async def find(self, place: Place, *, mark: str, since: datetime, thread: Ts | None = None) -> Ts | None:
        """Look for what `post` may have posted. None: it is certainly not there.

        Raises:
            ScopeMissing: the bot may not read this place's history, so nobody can tell.
        """
        ...

    async def upload(self, place: Place, upload: Upload, *, thread: Ts | None = None) -> None:
        """Put a file into a conversation; never repeated by itself, and not to be found by any mark. `thread`: as a
        reply to that ts.

        Raises:
            NotAllowedHere: the bot is no member, or uploads are off.
            ScopeMissing: the app was installed without `files:write`.
            Unanswered: only the last of several requests was not answered; before it nothing can be seen.
        """
        ...

    async def permalink(self, place: Place, ts: Ts) -> str:
        """The address of a message. MessageGone where it no longer is."""
        ...

    async def direct(self, place: Place, user: UserId) -> Place:
        """The person's direct message with the bot, in the same workspace as `place`."""
        ...


class Watches(Protocol):
    """The table of watches: the truth about who follows what. Every call may raise StoreUnavailable."""

    async def add(self, watch: Watch) -> Watch:
        """Store a new watch, or let its requester follow the one that its job has in its place already.

        That one keeps its requester and its followers. If it is closed, it is opened again, unless its job has ended.
        Returns the watch as it now stands; its id equals `watch.id` only if it is new. Raises TooManyFollows.
        """
        ...

    async def get(self, watch: WatchId) -> Watch | None:
        """One watch, open or closed."""
        ...

    async def claim(self, job: JobId) -> tuple[Claim, Sequence[Watch]]:
        """Begin to follow a job: from now on no earlier follow of it, in whatever process, can write.

        Returns the claim of the new follow, and what `open_watches` returns for it.
        """
        ...

    async def open_watches(self, job: JobId, claim: Claim) -> Sequence[Watch]:
        """The job's watches that still have something to be shown or told, oldest first, all with this claim.

        Raises:
            ClaimLost: another follow has claimed the job since.
        """
        ...

    async def open_jobs(self) -> Sequence[JobId]:
        """Every job with an open watch, oldest first."""
        ...

    async def open_watches_of(self, team: TeamId, follower: UserId) -> Sequence[Watch]:
        """What a person follows now, newest first."""
        ...

    async def ended_watches_of(self, team: TeamId, follower: UserId, most: int) -> Sequence[Watch]:
        """What a person followed to its end, at most so many, those that ended last first."""
        ...

    async def first_of(self, job: JobId) -> Watch | None:
        """The job's watch that was asked for first, open or closed: its requester may act on the job.

        If the bot has begun the job, the requester is the person who asked, whoever followed first.
        """
        ...

    async def in_thread(self, place: Place, thread: Ts) -> Sequence[Watch]:
        """The watches whose card begins that thread or is a reply in it, those asked for last first."""
        ...

    async def unfollow(self, watch: WatchId, follower: UserId) -> int | None:
        """Take one person off. How many are left; None if the person did not follow."""
        ...

    async def newest(self, watch: Watch) -> Watch | None:
        """The watch as it now stands; None if it is gone. Raises ClaimLost."""
        ...

    async def card_tried(self, watch: Watch, at: datetime | None) -> None:
        """The card is about to be posted; None: it is certain that the try came to nothing. Raises ClaimLost."""
        ...

    async def card_posted(
        self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        """Slack holds the card, posted by that try, and in which look where that is known. `ended`: that look
        says how the job ended.

        False, and nothing changed, if another try has been begun since.
        """
        ...

    async def card_shows(
        self, watch: Watch, card: Ts, fingerprint: str | None, *, ended: bool = False
    ) -> bool:
        """Store which message Slack holds as the card; None: unknown, because an edit begins. `ended`: it says how the
        job ended. That is stored without the claim as well, as long as no other edit has begun; the watch is then free
        to be claimed anew. False, and nothing changed, if the look has been doubted since the edit began. Raises
        ClaimLost."""
        ...

    async def doubt_last_look(self, watch: WatchId, card: Ts, *, is_end: bool = False) -> None:
        """The card may have been edited by somebody else than who follows the job. A watch that was closed on its last
        look, or is about to be, is opened again, for whoever follows the job next; an edit that is under way must be
        made once more. `is_end`: that edit says how the job ended. Then only a watch changes that was closed on
        another look."""
        ...

    async def card_is_gone(self, watch: WatchId, card: Ts) -> None:
        """That card can't be edited any more; the watch goes on without it, unless it has another by now."""
        ...

    async def leave_thread(self, watch: Watch) -> None:
        """The thread that the card was to be a reply in is gone: it will stand by itself. Raises ClaimLost."""
        ...

    async def set_canceller(self, job: JobId, by: UserId | None, *, instead_of: UserId | None) -> None:
        """Change who asks Omni to cancel the job, on all its cards that still change and say what it is now."""
        ...

    async def notice_tried(self, watch: Watch, at: datetime | None) -> None:
        """The thread reply is about to be posted; None: the try certainly came to nothing. Raises ClaimLost, also
        where the watch has another card, or none, by now; and WatchChanged, so that it names everybody who follows."""
        ...

    async def notice_posted(
        self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None
    ) -> bool:
        """Slack holds the thread reply, posted by that try. As `card_posted`."""
        ...

    async def replies(self, watch: WatchId) -> Mapping[Slot, Reply]:
        """What goes on from the card in its thread, as far as it was begun; the notice is the watch's own."""
        ...

    async def reply_tried(self, watch: Watch, slot: Slot, at: datetime | None) -> None:
        """That reply is about to be posted; None: the try certainly came to nothing. Raises ClaimLost."""
        ...

    async def reply_posted(
        self, watch: WatchId, slot: Slot, tried_at: datetime, ts: Ts, fingerprint: str | None
    ) -> bool:
        """Slack holds that reply, posted by that try. As `card_posted`."""
        ...

    async def move(self, watch: Watch, to: Sequence[Watch], *, left_at: datetime | None = None) -> bool:
        """Put other watches in the place of one whose place the bot can't post in, all at once. `left_at`: its card
        stays where it is, and the watch with it, closed and with no followers; None: it is forgotten.

        False, and nothing changed, if its followers are no longer those of `watch`. Raises ClaimLost; and WatchChanged
        where the look of a card that stays has been doubted.
        """
        ...

    async def start_over(self, watch: WatchId, card: Ts) -> None:
        """Forget that card and all its replies: the next thing to do is to post the card anew, also of an ended job.

        Changes nothing if the watch has another card by now.
        """
        ...

    async def resume(self, watch: WatchId, follower: UserId, at: datetime) -> None:
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
        self, watch: Watch, at: datetime, *, ended: bool = False, outcome: JobState | None = None
    ) -> None:
        """Nothing is left to show or tell, for good if the card says how the job `ended`; `outcome`: how it did,
        where that is known. Raises ClaimLost.

        Changes nothing if somebody has joined or resumed the watch since, or the card's look has been doubted.
        """
        ...

    async def close_if_deserted(self, watch: Watch, at: datetime) -> None:
        """Close the watch unless somebody follows it, even if only since a moment ago, or the card's look has been
        doubted. Raises ClaimLost."""
        ...

    async def remove(self, watch: Watch) -> None:
        """Forget a watch that never came to anything. Raises ClaimLost."""
        ...

    async def forget_closed(self, before: datetime) -> int:
        """Remove the watches that were closed before then. Returns how many."""
        ...


class Durations(Protocol):
    """How long this organisation's jobs took. Every call may raise StoreUnavailable."""

    async def add(self, seconds: Mapping[JobId, float], ended_at: datetime) -> None:
        """Store how long jobs took from the beginning of their execution; those stored before stay as they are."""
        ...

    async def newest(self) -> Sequence[float]:
        """How many seconds the jobs took that were stored last, some hundred at most."""
        ...
