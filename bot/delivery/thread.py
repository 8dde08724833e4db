"""Posts the replies in a card's thread when its job has ended, each once.

    final update of the card -> completion reply, if due -> rest of the answer, in order -> its file

Replies are stored by their kind, never by their text: after a crash Omni is asked again, and the same answer yields the
same replies. If there are more or fewer of them by then, existing ones stay and missing ones are posted.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

import structlog

from bot.delivery.posts import COMPLETION_REPLY, MessagePoster, PendingPost, PendingUpload
from bot.domain import (
    Card,
    CardId,
    DeliveryUnknown,
    Job,
    JobState,
    JobStatus,
    Message,
    MessageGone,
    MessageTs,
    NotAllowedHere,
    ReplyKind,
    SlackError,
    ThreadReply,
    Upload,
    UserId,
)
from bot.domain.ports import CardRepository, PreferenceRepository
from bot.rendering import answer
from bot.rendering import card as card_module
from bot.tasks import RecentKeys

log = structlog.get_logger()

MAX_UNCONFIRMED = 1_000
"""How many unconfirmed replies of this process are remembered."""
FILE = ReplyKind("file")
IN_OMNI = ReplyKind("in omni")
"""The link to Omni in place of the file, or of what the file does not hold either."""
CHART = ReplyKind("chart")
"""The chart as a file, where the card does not show it."""
Replies = Mapping[ReplyKind, ThreadReply]


def needs_completion_reply(
    card: Card, status: JobStatus, now: datetime, notify_after_seconds: float, *, shown_before: bool
) -> bool:
    """Whether the end of a job deserves a thread reply, which notifies the followers where an edit does not.

    A failed, cancelled or lost job does. An answer does if it came so long after the command that the user may have
    turned to something else. If the card showed it before, the time of completion counts, as it is unknown since when.
    """
    job = status.job
    if job is None or job.state is not JobState.COMPLETE:
        return status.is_final or card.ended
    answered_at = job.completed_at if shown_before and job.completed_at else now
    waited_seconds = max(0.0, (answered_at - card.requested_at).total_seconds())
    return waited_seconds >= notify_after_seconds


def answered_job(status: JobStatus) -> Job | None:
    """The job, if it has an answer that may continue in a thread."""
    job = status.job
    if job is None or job.is_redacted:
        return None
    return job if status.has_ended and job.state is JobState.COMPLETE else None


def _was_skipped(number: int, replies: Replies) -> bool:
    """Whether an earlier process left that part unconfirmed and continued with a later one: repeated now, it would come
    out of order."""
    begun = replies.get(ReplyKind(str(number)))
    is_open = begun is not None and begun.ts is None
    return is_open and any(kind.isdecimal() and int(kind) > number for kind in replies)


class CompletionThread:
    """Posts into a card's thread. May be repeated after a crash at any point."""

    def __init__(
        self,
        *,
        cards: CardRepository,
        preferences: PreferenceRepository,
        poster: MessagePoster,
        now: Callable[[], datetime],
        tenant: str,
        notify_after_seconds: float,
    ) -> None:
        """`tenant`: Omni's address, for chat addresses without a host."""
        self._cards = cards
        self._preferences = preferences
        self._poster = poster
        self._now = now
        self._tenant = tenant
        self._notify_after_seconds = notify_after_seconds
        self._unconfirmed: RecentKeys[tuple[CardId, ReplyKind | None], None] = RecentKeys(MAX_UNCONFIRMED)
        """Replies that this process sent and could not confirm."""

    async def complete(
        self, card: Card, message_ts: MessageTs, status: JobStatus, *, shown_before: bool
    ) -> bool:
        """Post what is missing in the thread. False if the thread is gone or closed to the bot.

        `shown_before`: the card showed the end before this final update.
        """
        job, thread = answered_job(status), card.thread_of(message_ts)
        try:
            await self._post_completion_reply(card, thread, status, shown_before=shown_before)
            if job is not None:
                replies = await self._cards.replies(card.id)
                await self._post_rest(card, thread, job, replies)
        except (NotAllowedHere, MessageGone) as error:
            log.info("thread gone", card=card.id, code=error.code)
            return False
        return True

    async def _post_completion_reply(
        self, card: Card, thread: MessageTs, status: JobStatus, *, shown_before: bool
    ) -> None:
        started_at = card.completion_reply_started_at
        is_due = started_at is not None or needs_completion_reply(
            card, status, self._now(), self._notify_after_seconds, shown_before=shown_before
        )
        if card.completion_reply_ts is not None or not is_due or card.shared_by is not None:
            return
        mentioned = replace(card, followers=await self._to_notify(card, status))
        message = card_module.render_completion_reply(mentioned, status, self._tenant)
        if message is not None:
            await self._post(PendingPost(card, (message,), thread, started_at, COMPLETION_REPLY))

    async def _to_notify(self, card: Card, status: JobStatus) -> tuple[UserId, ...]:
        """The followers who want to be notified of this end."""
        outcome = status.outcome or card.outcome
        choices = await self._preferences.notify(card.followers)
        is_answered = outcome is JobState.COMPLETE
        return tuple(each for each in card.followers if choices[each].includes(is_answered=is_answered))

    async def _post_rest(self, card: Card, thread: MessageTs, job: Job, replies: Replies) -> None:
        """Post what of the answer the card does not hold."""
        rest = answer.continuation(job, self._tenant)
        for number, variants in enumerate(rest.replies, start=1):
            if not _was_skipped(number, replies):
                await self._post_reply(card, thread, ReplyKind(str(number)), variants, replies)
        if rest.file is None:
            return
        if not await self._has_file(card, thread, rest.file, replies) or rest.goes_on_in_omni:
            link = card_module.rest_in_omni(job, self._tenant)
            await self._post_reply(card, thread, IN_OMNI, (link,), replies)

    async def _post_reply(
        self,
        card: Card,
        thread: MessageTs,
        kind: ReplyKind,
        variants: tuple[Message, ...],
        replies: Replies,
    ) -> None:
        begun = replies.get(kind)
        if begun is None or begun.ts is None:
            started_at = begun.started_at if begun else None
            await self._post(PendingPost(card, variants, thread, started_at, kind))

    async def _has_file(self, card: Card, thread: MessageTs, upload: Upload, replies: Replies) -> bool:
        """Put the file into the thread. False if it is not there, or that is unknown."""
        if IN_OMNI in replies:
            return False
        if (begun := replies.get(FILE)) is None:
            return await self.upload(card, thread, FILE, upload, replies)
        if begun.ts is None:
            await self._poster.wait_for_other_writer(begun.started_at)
        return await self._is_posted(card, FILE)

    async def upload(
        self, card: Card, thread: MessageTs, kind: ReplyKind, upload: Upload, replies: Replies
    ) -> bool:
        """Upload a file that was not tried before. False if it is not there, or that is unknown."""
        # An earlier process that left replies may have tried the file from the last of them on.
        since = max((reply.started_at for reply in replies.values()), default=self._now())
        try:
            await self._poster.upload_once(PendingUpload(card, upload, thread, kind), since)
        except DeliveryUnknown:
            return False
        except SlackError as error:
            log.info("file not taken", card=card.id, file=kind, code=error.code)
            return False
        return True

    async def _post(self, post: PendingPost) -> None:
        if post.started_at is not None and (post.card.id, post.kind) in self._unconfirmed:
            return
        try:
            await self._poster.post_once(post)
        except DeliveryUnknown:
            if post.started_at is None:
                # Before the database is asked anything: while it is down, this would be forgotten.
                self._leave_unconfirmed(post)
            elif not await self._is_posted(post.card, post.kind):
                await self._repeat_after_a_crash(post)

    async def _is_posted(self, card: Card, kind: ReplyKind | None) -> bool:
        """Whether the database says by now that the reply is there."""
        if kind == COMPLETION_REPLY:
            newest = await self._cards.reload(card)
            return newest is None or newest.completion_reply_ts is not None
        reply = (await self._cards.replies(card.id)).get(kind) if kind else None
        return reply is not None and reply.ts is not None

    async def _repeat_after_a_crash(self, post: PendingPost) -> None:
        """Post a reply again that a dead process may have posted, where it can't be searched for: twice is better than
        never. A reply that this process sent is not repeated."""
        try:
            await self._poster.post_once(replace(post, started_at=None))
        except DeliveryUnknown:
            self._leave_unconfirmed(post)

    def _leave_unconfirmed(self, post: PendingPost) -> None:
        log.warning("reply unconfirmed", card=post.card.id)
        self._unconfirmed[post.card.id, post.kind] = None
