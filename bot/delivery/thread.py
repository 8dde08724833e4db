"""The thread of a card whose job has ended: who is told of it, how the answer goes on, and its chart, each once.

    card ── last look ──► notice (where it is due) ──► the rest of the answer, in order ──► its file ──► its chart

What was posted is stored, what it says is not: after a crash Omni is asked again, and the same answer falls into the
same replies. Should there be more or fewer of them by then, those that are there stay, and what lacks is posted.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

import structlog

from bot.delivery.charts import ChartFetcher
from bot.delivery.posts import MessagePoster, PendingPost
from bot.delivery.uploads import FileUploader, PendingUpload
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
)
from bot.domain.ports import CardRepository
from bot.rendering import answer
from bot.rendering import card as card_module
from bot.tasks import RecentKeys

log = structlog.get_logger()

MOST_UNCONFIRMED = 1_000
"""How many replies are remembered that this process tried and nobody can tell of."""
FILE = ReplyKind("file")
IN_OMNI = ReplyKind("in omni")
"""The line that leads to Omni in the place of the file, or of what the file does not hold either."""
CHART = ReplyKind("chart")
Replies = Mapping[ReplyKind, ThreadReply]


def needs_completion_reply(
    card: Card, status: JobStatus, now: datetime, notify_after_seconds: float, *, shown_before: bool
) -> bool:
    """Whether the end of a job is worth a thread reply, which rings where an edit does not.

    A failure, a cancellation and a lost job always are; an answer is when it took so long, counted from the
    command, that the person has turned to something else. If the card has shown it before, nobody knows for how
    long; then what counts is when the job was completed.
    """
    job = status.job
    if job is None or job.state is not JobState.COMPLETE:
        return status.is_final or card.ended
    answered_at = job.completed_at if shown_before and job.completed_at else now
    waited_seconds = max(0.0, (answered_at - card.requested_at).total_seconds())
    return waited_seconds >= notify_after_seconds


def answered_job(status: JobStatus) -> Job | None:
    """The job, if it has an answer that may go on in a thread."""
    job = status.job
    return job if status.has_ended and job is not None and job.state is JobState.COMPLETE else None


def _was_left(number: int, replies: Replies) -> bool:
    """Whether nobody can tell if that part of an answer arrived, and whoever tried it went on to a later one: repeated
    now, it would come out of order."""
    begun = replies.get(ReplyKind(str(number)))
    is_open = begun is not None and begun.ts is None
    return is_open and any(slot.isdecimal() and int(slot) > number for slot in replies)


def _last_try(replies: Replies, now: datetime) -> datetime:
    """When the last of the replies was tried that an earlier process has left: whatever comes after them, it may have
    tried from then on."""
    return max((reply.started_at for reply in replies.values()), default=now)


class CompletionThread:
    """What can be posted in a card's thread. May be repeated after a crash at any point."""

    def __init__(
        self,
        *,
        cards: CardRepository,
        poster: MessagePoster,
        uploading: FileUploader,
        now: Callable[[], datetime],
        tenant: str,
        notify_after_seconds: float,
    ) -> None:
        """`tenant`: Omni's address; only chats on it become links."""
        self._cards = cards
        self._poster = poster
        self._uploading = uploading
        self._now = now
        self._tenant = tenant
        self._notify_after_seconds = notify_after_seconds
        self._unconfirmed: RecentKeys[tuple[CardId, ReplyKind | None], None] = RecentKeys(MOST_UNCONFIRMED)
        """The replies of which this process has found that nobody can tell whether they are there."""

    async def complete(
        self, card: Card, message_ts: MessageTs, status: JobStatus, chart: ChartFetcher, *, shown_before: bool
    ) -> bool:
        """Post what belongs into the thread and is not there yet. False if there is no thread any more.

        `shown_before`: the card did not come to show the end just now.
        """
        job, thread = answered_job(status), card.thread_of(message_ts)
        try:
            await self._tell(card, thread, status, shown_before=shown_before)
            if job is not None:
                replies = await self._cards.replies(card.id)
                await self._go_on(card, thread, job, replies)
        except (NotAllowedHere, MessageGone) as error:
            log.info("thread gone", watch=card.id, code=error.code)
            return False
        if job is not None and CHART not in replies and card.followers:
            await self._draw(card, thread, job, chart, replies)
        return True

    async def _tell(self, card: Card, thread: MessageTs, status: JobStatus, *, shown_before: bool) -> None:
        """Post the notice if one is due."""
        message = card_module.render_completion_reply(card, status, self._tenant)
        after_seconds = self._notify_after_seconds
        due = needs_completion_reply(card, status, self._now(), after_seconds, shown_before=shown_before)
        if (
            message is None
            or card.completion_reply_ts is not None
            or not (due or card.completion_reply_started_at)
        ):
            return
        post = PendingPost(
            place=card.channel,
            variants=(message,),
            card=card.id,
            thread=thread,
            started_at=card.completion_reply_started_at,
            save_start=partial(self._cards.mark_completion_reply_started, card),
            save_ts=partial(self._cards.mark_completion_reply_posted, card.id),
        )
        await self._post(post, partial(self._is_told, card))

    async def _go_on(self, card: Card, thread: MessageTs, job: Job, replies: Replies) -> None:
        """Post what of the answer the card does not hold."""
        rest = answer.continuation(job, self._tenant)
        for number, forms in enumerate(rest.replies, start=1):
            if not _was_left(number, replies):
                await self._reply(card, thread, ReplyKind(str(number)), forms, replies)
        if rest.file is None:
            return
        if not await self._has_file(card, thread, rest.file, replies) or rest.goes_on_in_omni:
            await self._reply(card, thread, IN_OMNI, (card_module.rest_in_omni(job, self._tenant),), replies)

    async def _reply(
        self, card: Card, thread: MessageTs, slot: ReplyKind, forms: tuple[Message, ...], replies: Replies
    ) -> None:
        begun = replies.get(slot)
        if begun is not None and begun.ts is not None:
            return
        post = PendingPost(
            place=card.channel,
            variants=forms,
            card=card.id,
            thread=thread,
            started_at=begun.started_at if begun else None,
            save_start=partial(self._cards.mark_reply_started, card, slot),
            save_ts=partial(self._cards.mark_reply_posted, card.id, slot),
            reply_kind=slot,
        )
        await self._post(post, partial(self._is_posted, card, slot))

    async def _has_file(self, card: Card, thread: MessageTs, upload: Upload, replies: Replies) -> bool:
        """Put the file into the thread. False where it is not there, or nobody can tell."""
        if IN_OMNI in replies:
            return False
        if (begun := replies.get(FILE)) is None:
            return await self._is_uploaded(card, thread, FILE, upload, replies)
        if begun.ts is None:
            await self._poster.wait_for_other_writer(begun.started_at)
        return await self._is_posted(card, FILE)

    async def _draw(
        self, card: Card, thread: MessageTs, job: Job, chart: ChartFetcher, replies: Replies
    ) -> None:
        """Put the chart into the thread, if Omni has one. Better none than two, and nothing is told of it."""
        if (image := await chart.image()) is not None:
            await self._is_uploaded(card, thread, CHART, card_module.chart(job, image), replies)

    async def _is_uploaded(
        self, card: Card, thread: MessageTs, slot: ReplyKind, upload: Upload, replies: Replies
    ) -> bool:
        """Upload a file of which no try is open. False where it is not there, or nobody can tell."""
        post = PendingUpload(
            place=card.channel,
            upload=upload,
            watch=card.id,
            thread=thread,
            store_try=partial(self._cards.mark_reply_started, card, slot),
            store_ts=partial(self._cards.mark_reply_posted, card.id, slot),
        )
        try:
            await self._uploading.upload_once(post, _last_try(replies, self._now()))
        except DeliveryUnknown:
            return False
        except SlackError as error:
            log.info("file not taken", watch=card.id, file=slot, code=error.code)
            return False
        return True

    async def _post(self, post: PendingPost, is_there: Callable[[], Awaitable[bool]]) -> None:
        if post.started_at is not None and (post.card, post.reply_kind) in self._unconfirmed:
            return
        try:
            await self._poster.post_once(post)
        except DeliveryUnknown:
            if post.started_at is None:
                # Before the database is asked anything: while it is away, this would be forgotten.
                self._leave_unconfirmed(post)
            elif not await is_there():
                await self._repeat_after_a_crash(post)

    async def _is_told(self, card: Card) -> bool:
        newest = await self._cards.reload(card)
        return newest is None or newest.completion_reply_ts is not None

    async def _is_posted(self, card: Card, slot: ReplyKind) -> bool:
        reply = (await self._cards.replies(card.id)).get(slot)
        return reply is not None and reply.ts is not None

    async def _repeat_after_a_crash(self, post: PendingPost) -> None:
        """Without the history nobody knows whether a reply arrived that a process died over: better told
        twice than never. A reply that this process tried itself is not repeated."""
        try:
            await self._poster.post_once(replace(post, started_at=None))
        except DeliveryUnknown:
            self._leave_unconfirmed(post)

    def _leave_unconfirmed(self, post: PendingPost) -> None:
        log.warning("reply unconfirmed", watch=post.card)
        self._unconfirmed[post.card, post.reply_kind] = None
