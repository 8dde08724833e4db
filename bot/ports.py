"""What the core asks of the world, the message it hands over, and every way the world can refuse.

OmniError                     Omni gave no status
├── JobNotFound               final: say so and stop following
├── KeyRefused                the operator must act: say so, keep asking, slowly
├── OmniBusy                  429: everybody waits, nothing ends
└── OmniUnreachable           network, 5xx, nonsense in the body: ask again later

BoardError                    Slack did not do it
├── NotAllowedHere            the bot can't post in this place: use the person's DM
├── MessageGone               the card was deleted or can't be edited any more: stop drawing it
├── PayloadRefused            Slack won't show this content: try a plainer form
├── BoardBusy                 not done; wait `retry_after_seconds`, then do it again
├── BoardUnreachable          certainly not done: do it again later
├── Unanswered                perhaps done: look before doing it again
├── ScopeMissing              the app was installed without a scope: do without, or tell the operator
└── TokenRefused              the app was uninstalled or its token revoked: the operator must act

StoreUnavailable              the database did not answer: nothing was accepted, try again later
ClaimLost                     another process follows the job by now: change nothing more
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bot.job import Conversation, Job, JobId
from bot.watch import Claim, Place, TeamId, Ts, UserId, Watch, WatchId

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
    """The file's name."""
    title: str
    content: bytes = field(repr=False)
    alt: str | None = None
    """What an image shows, for those who can't see it."""


Worth = Callable[[], float]
"""How much it is worth right now to ask Omni a question that nobody waits for."""


class OmniError(Exception):
    """Omni gave no status. The message is for the log; people are told by `render`."""


class JobNotFound(OmniError):
    """No such job for this key: it never was, it is gone, or it is another organisation's."""


class KeyRefused(OmniError):
    """Omni refuses the API key (401) or what it asks for (403)."""


class OmniBusy(OmniError):
    """Omni answered 429: the key's requests of this minute are used up."""


class OmniUnreachable(OmniError):
    """No usable answer: no connection, a time-out, 5xx, or a body that is not what Omni documents."""


class BoardError(Exception):
    """Slack did not do what was asked. `code` is Slack's own word for it, for the log."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NotAllowedHere(BoardError):
    """The bot can't post in this place: no member, archived, or forbidden by an admin."""


class MessageGone(BoardError):
    """The message was deleted or can no longer be edited."""


class PayloadRefused(BoardError):
    """Slack won't show this content; a plainer form of it may pass."""


class BoardBusy(BoardError):
    """Slack answered 429 (`ratelimited`, `rate_limited`) and did nothing."""

    def __init__(self, code: str, retry_after_seconds: float) -> None:
        super().__init__(code)
        self.retry_after_seconds = retry_after_seconds


class BoardUnreachable(BoardError):
    """The request certainly had no effect: it did not reach Slack, or Slack said it was down."""


class Unanswered(BoardError):
    """The request may have had its effect: the connection broke, timed out, or answered 5xx."""

    @property
    def may_be_the_content(self) -> bool:
        """Whether it was Slack that broke, which it may do over the same content again."""
        return self.code in ("internal_error", "fatal_error")


class ScopeMissing(BoardError):
    """The app was installed without the scope that this call needs."""


class TokenRefused(BoardError):
    """The bot's token is no longer good: the app was uninstalled or the token revoked."""


class StoreUnavailable(Exception):
    """The database did not answer. What it was asked to do may or may not have been done."""


class ClaimLost(Exception):
    """The watch is no longer the follow's that asked: another one has claimed it, or it is gone."""


class Omni(Protocol):
    """Omni's AI jobs, behind the one request budget of the key. Every call may raise any OmniError."""

    async def status(self, job: JobId, *, urgent: bool = False, worth: Worth | None = None) -> Job:
        """Ask for the job's state. `urgent` requests, made for a waiting person, go before polls, and of these
        the one with the greatest `worth` when there is room for one."""
        ...

    async def newest_job(self, conversation: Conversation) -> JobId | None:
        """The id of the newest job in a chat, or None where the chat shows none. Always urgent."""
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

        A closed watch is opened again, for the new follower only, unless its job has ended. Returns the watch
        as it now stands; its id equals `watch.id` only if it is new.
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

    async def unfollow(self, watch: WatchId, follower: UserId) -> int | None:
        """Take one person off. How many are left; None if the person did not follow."""
        ...

    async def newest(self, watch: Watch) -> Watch | None:
        """The watch as it now stands; None if it is gone. Raises ClaimLost."""
        ...

    async def card_tried(self, watch: Watch, at: datetime | None) -> None:
        """The card is about to be posted; None: it is certain that the try came to nothing. Raises ClaimLost."""
        ...

    async def card_posted(self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None) -> bool:
        """Slack holds the card, posted by that try, and in which look where that is known.

        False, and nothing changed, if another try has been begun since.
        """
        ...

    async def card_shows(self, watch: Watch, card: Ts, fingerprint: str | None) -> None:
        """Slack holds this message as the card; None: nobody knows what it holds. Raises ClaimLost."""
        ...

    async def card_is_gone(self, watch: WatchId, card: Ts) -> None:
        """That card can't be edited any more; the watch goes on without it, unless it has another by now."""
        ...

    async def notice_tried(self, watch: Watch, at: datetime | None) -> None:
        """The thread reply is about to be posted; None: the try certainly came to nothing. Raises ClaimLost."""
        ...

    async def notice_posted(
        self, watch: WatchId, tried_at: datetime, ts: Ts, fingerprint: str | None
    ) -> bool:
        """Slack holds the thread reply, posted by that try. As `card_posted`."""
        ...

    async def move(self, watch: Watch, to: Sequence[Watch]) -> bool:
        """Put other watches in the place of one whose place the bot can't post in, all at once.

        False, and nothing changed, if its followers are no longer those of `watch`. Raises ClaimLost.
        """
        ...

    async def start_over(self, watch: WatchId, card: Ts) -> None:
        """Forget that card and its reply: the next thing to do is to post the card anew, also of an ended job.

        Changes nothing if the watch has another card by now.
        """
        ...

    async def resume(self, watch: WatchId, follower: UserId, at: datetime) -> None:
        """Look after a watch for longer, for those who follow it and for one person more; open it if it is closed
        and its job has not ended."""
        ...

    async def close(self, watch: Watch, at: datetime, *, ended: bool = False) -> None:
        """Nothing is left to show or tell, for good if the job has `ended`. Raises ClaimLost.

        Changes nothing if somebody has joined or resumed the watch since.
        """
        ...

    async def close_if_deserted(self, watch: Watch, at: datetime) -> None:
        """Close the watch unless somebody follows it, even if only since a moment ago. Raises ClaimLost."""
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
