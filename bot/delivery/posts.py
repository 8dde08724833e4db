"""Posts a message once. Slack has no idempotency key, so what is not known to have arrived is looked for.

A post is begun by storing that it is tried and ended by storing its ts; between the two nobody can know,
without looking, whether Slack holds it. Every post carries a mark of its try as metadata to be found by.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from bot.delivery.fallback import BlockSupport
from bot.domain import (
    CardId,
    ChannelRef,
    DeliveryUnknown,
    Message,
    MessageGone,
    MessageTs,
    NotAllowedHere,
    OutcomeUnknown,
    PayloadRefused,
    ReplyKind,
    ScopeMissing,
    SlackBusy,
    SlackError,
    StoreUnavailable,
)
from bot.domain.ports import SlackMessages
from bot.ratelimit import LocalRateLimitStore, Rate, RateLimiter
from bot.tasks import ShieldedTasks, backoff_seconds, retry_until_stored

log = structlog.get_logger()


CLOCKS_DIFFER_BY_SECONDS = 3_600.0
"""How far Slack's clock, which dates messages, is trusted to be from ours."""

POSTS_PER_PLACE = Rate(interval_seconds=1.0, tolerance_seconds=1.0)
"""Slack takes about one message a second in a channel, and short bursts.
Source: docs.slack.dev/reference/methods/chat.postMessage."""

FIRST_BACK_OFF_SECONDS = 1.0

LONGEST_BACK_OFF_SECONDS = 60.0

FAILURES_TO_DOUBT = 3
"""After so many internal errors of Slack's it may be the form of the message that it breaks over."""

MOST_WAITS = 3
"""How often a post that a person waits for is put off because Slack is busy."""


@dataclass(frozen=True, slots=True)
class PendingPost:
    """A message that is to be posted once."""

    place: ChannelRef
    variants: tuple[Message, ...]
    """Richest first; a later one is used when Slack refuses those before it."""
    card: CardId
    thread: MessageTs | None
    started_at: datetime | None
    """When an earlier try was begun of which the outcome is not known."""
    save_start: Callable[[datetime | None], Awaitable[None]]
    """Called before each try with its time, and with None once the try has certainly come to nothing."""
    save_ts: Callable[[datetime, MessageTs, str | None], Awaitable[bool]]
    """Called with what Slack holds: when its try was begun, its ts, and its fingerprint where that is known.
    False if another try has been begun since."""
    reply_kind: ReplyKind | None = None
    """Which of several replies it is: what its mark tells apart even where two are begun at the same time."""
    is_card: bool = False
    """Cards go before replies: a person waits for the one, and has waited already for the other."""


class MessagePoster:
    """Posts, waits and looks, until Slack holds the message exactly once or it is clear that it can't."""

    def __init__(
        self,
        messages: SlackMessages,
        now: Callable[[], datetime],
        block_support: BlockSupport,
        *,
        looks_after_seconds: Sequence[float] = (1.0, 4.0, 12.0),
    ) -> None:
        """`looks_after_seconds`: when to look for a post that was not answered. The last one is later than
        Slack can still be busy with it, so what is not there by then never arrived."""
        self._messages = messages
        self._now = now
        self._block_support = block_support
        self._looks_after_seconds = looks_after_seconds
        self._limiters: dict[ChannelRef, RateLimiter] = {}
        self._known_unsent: dict[CardId, str] = {}
        """The mark of a try of which nothing came, though the database may hold its intent."""
        self.tasks = ShieldedTasks()
        """The posts under way; settle them before the process ends."""

    async def post_once(self, post: PendingPost) -> None:
        """Post the message and store its ts, unless an earlier try turns out to have arrived.

        Raises:
            CannotTell: it may or may not be there, and can't be looked for.
            ClaimLost: it is another process's to post by now.
            NotAllowedHere, MessageGone: it can't be posted in this place, or this thread.
            StoreUnavailable: the database did not take the intent or the ts. In the second case Slack holds
                the message, and the next `post_once` with the stored intent finds it.
        """
        plainer = 0
        failures = doubts = 0
        unknown_since = None if self._was_never_sent(post) else post.started_at
        while True:
            if unknown_since is not None:
                if (ts := await self._look_for(post, unknown_since)) is not None:
                    await post.save_ts(unknown_since, ts, None)
                    return
                unknown_since = None
            await self._limiter(post.place).acquire(urgent=post.is_card)
            started_at = self._now()
            await self._store_try(post, started_at, is_made=True)
            try:
                await self.tasks.run(self._post_and_store(post, post.variants[plainer], started_at))
                if plainer:
                    self._block_support.record_refusal(post.variants[plainer - 1], post.variants[plainer])
                return
            except OutcomeUnknown as error:
                log.warning("post unanswered", watch=post.card, code=error.code)
                unknown_since = started_at
                doubts += error.may_be_the_content
                if doubts == FAILURES_TO_DOUBT and plainer + 1 < len(post.variants):
                    plainer, doubts = plainer + 1, 0
                continue
            except (NotAllowedHere, MessageGone):
                await self._store_try(post, started_at, is_made=False)
                raise
            except SlackError as error:
                refusal = error
            await self._store_try(post, started_at, is_made=False)
            if isinstance(refusal, SlackBusy):
                await self._limiter(post.place).pause(refusal.retry_after_seconds)
            elif isinstance(refusal, PayloadRefused) and plainer + 1 < len(post.variants):
                log.warning("post refused", watch=post.card, code=refusal.code, form=plainer)
                plainer += 1
            else:
                failures = await back_off(refusal, failures)

    async def wait_for_turn(self, channel: ChannelRef) -> None:
        """Wait until one more message may go to a place: cards go first, and those that came before."""
        await self._limiter(channel).acquire()

    async def wait_for_other_writer(self, tried_at: datetime) -> None:
        """Wait until whoever began that try can hardly be at it any more: it may yet store what came of it."""
        ends_at = self._began_by(tried_at) + timedelta(seconds=self._looks_after_seconds[-1])
        wait_seconds = (ends_at - self._now()).total_seconds()
        await asyncio.sleep(max(0.0, wait_seconds))

    async def _store_try(self, post: PendingPost, at: datetime, *, is_made: bool) -> None:
        """Store that a try is made, or that nothing came of it. Where that fails, nothing comes of it either way."""
        try:
            await post.save_start(at if is_made else None)
        except StoreUnavailable:
            self._known_unsent[post.card] = _mark(post, at)
            raise
        self._known_unsent.pop(post.card, None)

    def _was_never_sent(self, post: PendingPost) -> bool:
        """Whether this process knows that nothing came of the try that the database tells of."""
        return post.started_at is not None and self._known_unsent.get(post.card) == _mark(
            post, post.started_at
        )

    async def post_now(
        self, channel: ChannelRef, forms: tuple[Message, ...], *, mark: str, thread: MessageTs | None = None
    ) -> MessageTs:
        """Post what a person waits for and can ask for again: nothing of it is stored, or looked for.

        Takes its turn among the posts of its place, and waits a few times if Slack says so.

        Raises:
            PayloadRefused: Slack takes none of the forms.
            BoardError: any other, at the first time; BoardBusy at the last.
        """
        plainer = waited = 0
        while True:
            await self._limiter(channel).acquire(urgent=True)
            try:
                return await self.tasks.run(
                    self._messages.post(channel, forms[plainer], mark=mark, thread=thread)
                )
            except PayloadRefused as error:
                if plainer + 1 == len(forms):
                    raise
                log.warning("post refused", mark=mark, code=error.code, form=plainer)
                plainer += 1
            except SlackBusy as error:
                if waited == MOST_WAITS:
                    raise
                await self._limiter(channel).pause(error.retry_after_seconds)
                waited += 1

    def _limiter(self, channel: ChannelRef) -> RateLimiter:
        if channel not in self._limiters:
            self._limiters[channel] = RateLimiter(
                LocalRateLimitStore(), f"posts {channel.id}", POSTS_PER_PLACE
            )
        return self._limiters[channel]

    async def _post_and_store(self, post: PendingPost, message: Message, tried_at: datetime) -> None:
        mark = _mark(post, tried_at)
        ts = await self._messages.post(post.place, message, mark=mark, thread=post.thread)
        if not await retry_until_stored(post.card, partial(post.save_ts, tried_at, ts, message.fingerprint)):
            await self._take_back(post, ts)

    async def _take_back(self, post: PendingPost, ts: MessageTs) -> None:
        """Delete what turned out to be one too many: while this process was paused or cut off, another one took
        the watch over and posted in its stead."""
        log.warning("surplus post deleted", watch=post.card)
        try:
            await self._messages.delete(post.place, ts)
        except SlackError as error:
            log.warning("surplus post not deleted", watch=post.card, code=error.code)

    async def _look_for(self, post: PendingPost, since: datetime) -> MessageTs | None:
        try:
            return await self._look(post, since)
        except DeliveryUnknown:
            if since is post.started_at:
                await self.wait_for_other_writer(since)
            raise

    async def _look(self, post: PendingPost, since: datetime) -> MessageTs | None:
        """Find an earlier try. None: it certainly never arrived."""
        began = self._began_by(since) if since is post.started_at else since
        for seconds in self._looks_after_seconds:
            wait_seconds = (began + timedelta(seconds=seconds) - self._now()).total_seconds()
            wait_seconds = min(wait_seconds, seconds)  # a clock set back must not hold the post back
            is_last = seconds == self._looks_after_seconds[-1]
            if wait_seconds <= 0 and not is_last:
                continue
            await asyncio.sleep(max(0.0, wait_seconds))
            if (ts := await self._find(post, since)) is not None:
                log.info("post found", watch=post.card)
                return ts
        return None

    def _began_by(self, tried_at: datetime) -> datetime:
        """When a try that the database tells of had begun at the latest: another process made it, by its own clock."""
        return min(self._now(), tried_at + timedelta(seconds=CLOCKS_DIFFER_BY_SECONDS))

    async def _find(self, post: PendingPost, since: datetime) -> MessageTs | None:
        failures = 0
        mark = _mark(post, since)
        since -= timedelta(seconds=CLOCKS_DIFFER_BY_SECONDS)
        while True:
            try:
                return await self._messages.find_by_metadata(
                    post.place, mark=mark, since=since, thread=post.thread
                )
            except SlackBusy as error:
                await asyncio.sleep(error.retry_after_seconds)
            except ScopeMissing as error:
                raise DeliveryUnknown from error
            except (NotAllowedHere, MessageGone):
                # Whether or not it arrived: the channel is closed to the bot, or the thread was deleted. Slack would
                # put another reply to a deleted message at the top level of the channel.
                raise
            except SlackError as error:
                failures = await back_off(error, failures)


async def back_off(error: SlackError, failures: int) -> int:
    """Wait, longer after each failure in a row. Returns how many there are by now."""
    seconds = backoff_seconds(failures, first=FIRST_BACK_OFF_SECONDS, longest=LONGEST_BACK_OFF_SECONDS)
    log.warning("slack did not answer", code=error.code, again_in_seconds=seconds)
    await asyncio.sleep(seconds)
    return failures + 1


def _mark(post: PendingPost, tried_at: datetime) -> str:
    """What a post is found by: one try of one watch, so that no earlier post of the same watch is taken for it."""
    slot = f"/{post.reply_kind}" if post.reply_kind else ""
    return f"{post.card}{slot}/{tried_at.timestamp():.6f}"
