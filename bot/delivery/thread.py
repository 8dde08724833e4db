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

from bot.delivery.charts import Chart
from bot.delivery.posts import Post, Posting
from bot.delivery.uploads import FilePost, Uploading
from bot.domain.cards import Reply, Slot, Ts, Watch, WatchId
from bot.domain.errors import BoardError, CannotTell, MessageGone, NotAllowedHere
from bot.domain.jobs import Job, JobState, Sight
from bot.domain.messages import Message, Upload
from bot.domain.ports.storage import Watches
from bot.rendering import answer
from bot.rendering import card as card_module

log = structlog.get_logger()

MOST_UNCONFIRMED = 1_000
"""How many replies are remembered that this process tried and nobody can tell of."""
FILE = Slot("file")
IN_OMNI = Slot("in omni")
"""The line that leads to Omni in the place of the file, or of what the file does not hold either."""
CHART = Slot("chart")
Replies = Mapping[Slot, Reply]


def notice_is_due(
    watch: Watch, sight: Sight, now: datetime, notify_after_seconds: float, *, shown_before: bool
) -> bool:
    """Whether the end of a job is worth a thread reply, which rings where an edit does not.

    A failure, a cancellation and a lost job always are; an answer is when it took so long, counted from the
    command, that the person has turned to something else. If the card has shown it before, nobody knows for how
    long; then what counts is when the job was completed.
    """
    job = sight.job
    if job is None or job.state is not JobState.COMPLETE:
        return sight.is_final or watch.ended
    answered_at = job.completed_at if shown_before and job.completed_at else now
    waited_seconds = max(0.0, (answered_at - watch.asked_at).total_seconds())
    return waited_seconds >= notify_after_seconds


def answered_job(sight: Sight) -> Job | None:
    """The job, if it has an answer that may go on in a thread."""
    job = sight.job
    return job if sight.has_ended and job is not None and job.state is JobState.COMPLETE else None


def _was_left(number: int, replies: Replies) -> bool:
    """Whether nobody can tell if that part of an answer arrived, and whoever tried it went on to a later one: repeated
    now, it would come out of order."""
    begun = replies.get(Slot(str(number)))
    is_open = begun is not None and begun.ts is None
    return is_open and any(slot.isdecimal() and int(slot) > number for slot in replies)


def _last_try(replies: Replies, now: datetime) -> datetime:
    """When the last of the replies was tried that an earlier process has left: whatever comes after them, it may have
    tried from then on."""
    return max((reply.tried_at for reply in replies.values()), default=now)


class Thread:
    """What can be posted in a card's thread. May be repeated after a crash at any point."""

    def __init__(
        self,
        *,
        watches: Watches,
        posting: Posting,
        uploading: Uploading,
        now: Callable[[], datetime],
        tenant: str,
        notify_after_seconds: float,
    ) -> None:
        """`tenant`: Omni's address; only chats on it become links."""
        self._watches = watches
        self._posting = posting
        self._uploading = uploading
        self._now = now
        self._tenant = tenant
        self._notify_after_seconds = notify_after_seconds
        self._unconfirmed: dict[tuple[WatchId, Slot | None], None] = {}
        """The replies of which this process has found that nobody can tell whether they are there."""

    async def complete(
        self, watch: Watch, card: Ts, sight: Sight, chart: Chart, *, shown_before: bool
    ) -> bool:
        """Post what belongs into the thread and is not there yet. False if there is no thread any more.

        `shown_before`: the card did not come to show the end just now.
        """
        job, thread = answered_job(sight), watch.thread_of(card)
        try:
            await self._tell(watch, thread, sight, shown_before=shown_before)
            if job is not None:
                replies = await self._watches.replies(watch.id)
                await self._go_on(watch, thread, job, replies)
        except (NotAllowedHere, MessageGone) as error:
            log.info("thread gone", watch=watch.id, code=error.code)
            return False
        if job is not None and CHART not in replies and watch.followers:
            await self._draw(watch, thread, job, chart, replies)
        return True

    async def _tell(self, watch: Watch, thread: Ts, sight: Sight, *, shown_before: bool) -> None:
        """Post the notice if one is due."""
        message = card_module.notice(watch, sight, self._tenant)
        after_seconds = self._notify_after_seconds
        due = notice_is_due(watch, sight, self._now(), after_seconds, shown_before=shown_before)
        if message is None or watch.notice is not None or not (due or watch.notice_tried_at):
            return
        post = Post(
            place=watch.place,
            forms=(message,),
            watch=watch.id,
            thread=thread,
            tried_at=watch.notice_tried_at,
            store_try=partial(self._watches.notice_tried, watch),
            store_ts=partial(self._watches.notice_posted, watch.id),
        )
        await self._post(post, partial(self._is_told, watch))

    async def _go_on(self, watch: Watch, thread: Ts, job: Job, replies: Replies) -> None:
        """Post what of the answer the card does not hold."""
        rest = answer.rest(job, self._tenant)
        for number, forms in enumerate(rest.replies, start=1):
            if not _was_left(number, replies):
                await self._reply(watch, thread, Slot(str(number)), forms, replies)
        if rest.file is None:
            return
        if not await self._has_file(watch, thread, rest.file, replies) or rest.goes_on_in_omni:
            await self._reply(watch, thread, IN_OMNI, (card_module.rest_in_omni(job, self._tenant),), replies)

    async def _reply(
        self, watch: Watch, thread: Ts, slot: Slot, forms: tuple[Message, ...], replies: Replies
    ) -> None:
        begun = replies.get(slot)
        if begun is not None and begun.ts is not None:
            return
        post = Post(
            place=watch.place,
            forms=forms,
            watch=watch.id,
            thread=thread,
            tried_at=begun.tried_at if begun else None,
            store_try=partial(self._watches.reply_tried, watch, slot),
            store_ts=partial(self._watches.reply_posted, watch.id, slot),
            slot=slot,
        )
        await self._post(post, partial(self._is_posted, watch, slot))

    async def _has_file(self, watch: Watch, thread: Ts, upload: Upload, replies: Replies) -> bool:
        """Put the file into the thread. False where it is not there, or nobody can tell."""
        if IN_OMNI in replies:
            return False
        if (begun := replies.get(FILE)) is None:
            return await self._is_uploaded(watch, thread, FILE, upload, replies)
        if begun.ts is None:
            await self._posting.let_end(begun.tried_at)
        return await self._is_posted(watch, FILE)

    async def _draw(self, watch: Watch, thread: Ts, job: Job, chart: Chart, replies: Replies) -> None:
        """Put the chart into the thread, if Omni has one. Better none than two, and nothing is told of it."""
        if (image := await chart.image()) is not None:
            await self._is_uploaded(watch, thread, CHART, card_module.chart(job, image), replies)

    async def _is_uploaded(
        self, watch: Watch, thread: Ts, slot: Slot, upload: Upload, replies: Replies
    ) -> bool:
        """Upload a file of which no try is open. False where it is not there, or nobody can tell."""
        post = FilePost(
            place=watch.place,
            upload=upload,
            watch=watch.id,
            thread=thread,
            store_try=partial(self._watches.reply_tried, watch, slot),
            store_ts=partial(self._watches.reply_posted, watch.id, slot),
        )
        try:
            await self._uploading.upload_once(post, _last_try(replies, self._now()))
        except CannotTell:
            return False
        except BoardError as error:
            log.info("file not taken", watch=watch.id, file=slot, code=error.code)
            return False
        return True

    async def _post(self, post: Post, is_there: Callable[[], Awaitable[bool]]) -> None:
        if post.tried_at is not None and (post.watch, post.slot) in self._unconfirmed:
            return
        try:
            await self._posting.post_once(post)
        except CannotTell:
            if post.tried_at is None:
                # Before the database is asked anything: while it is away, this would be forgotten.
                self._leave_unconfirmed(post)
            elif not await is_there():
                await self._repeat_after_a_crash(post)

    async def _is_told(self, watch: Watch) -> bool:
        newest = await self._watches.newest(watch)
        return newest is None or newest.notice is not None

    async def _is_posted(self, watch: Watch, slot: Slot) -> bool:
        reply = (await self._watches.replies(watch.id)).get(slot)
        return reply is not None and reply.ts is not None

    async def _repeat_after_a_crash(self, post: Post) -> None:
        """Without the history nobody knows whether a reply arrived that a process died over: better told
        twice than never. A reply that this process tried itself is not repeated."""
        try:
            await self._posting.post_once(replace(post, tried_at=None))
        except CannotTell:
            self._leave_unconfirmed(post)

    def _leave_unconfirmed(self, post: Post) -> None:
        log.warning("reply unconfirmed", watch=post.watch)
        self._unconfirmed[post.watch, post.slot] = None
        if len(self._unconfirmed) > MOST_UNCONFIRMED:
            del self._unconfirmed[next(iter(self._unconfirmed))]
