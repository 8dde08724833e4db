"""Posts messages and files exactly once. Slack has no idempotency key, so an unconfirmed post is searched for.

The start of a post is stored before it is sent, and its ts afterwards. Between the two the outcome is unknown until
Slack has been searched: every post carries a mark of its start as metadata to be found by.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from bot.delivery.fallback import BlockSupport, Variants, back_off
from bot.domain import (
    Card,
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
    SlackUnreachable,
    StoreUnavailable,
    TokenRefused,
    Upload,
)
from bot.domain.ports import CardRepository, SlackMessages
from bot.ratelimit import LocalRateLimitStore, Rate, RateLimiter
from bot.tasks import ShieldedTasks, loop_time, retry_until_stored

log = structlog.get_logger()

CLOCKS_DIFFER_BY_SECONDS = 3_600.0
"""The largest expected difference between Slack's clock, which dates messages, and this process's clock."""
POSTS_PER_CHANNEL = Rate(interval_seconds=1.0, tolerance_seconds=1.0)
"""Slack accepts about one message per second in a channel, and short bursts.
Source: docs.slack.dev/reference/methods/chat.postMessage."""
MAX_BUSY_RETRIES = 3
"""How often an interactive post is repeated after a 429."""
COMPLETION_REPLY = ReplyKind("completion")
"""The reply that mentions the followers. It is stored in the card's own row, not among the thread replies."""
UPLOADED_WITHIN_SECONDS = 120.0
"""How long an upload that Slack does not accept is retried, by all processes together."""
UPLOAD_TRIED_AT_LEAST_SECONDS = 20.0
"""How long a process retries an upload at least, even if others have used up UPLOADED_WITHIN_SECONDS."""


@dataclass(frozen=True, slots=True)
class PendingPost:
    """A card, or a reply in its thread, to be posted once."""

    card: Card
    variants: tuple[Message, ...]
    """Richest first."""
    thread: MessageTs | None
    started_at: datetime | None
    """When an earlier try with an unknown outcome began."""
    kind: ReplyKind | None = None
    """Which reply; None: the card itself."""
    shows_end: bool = False
    """Whether the card says how the job ended."""


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A file to be put into a card's thread once."""

    card: Card
    upload: Upload
    thread: MessageTs
    kind: ReplyKind


class MessagePoster:
    """Sends each post until Slack holds it exactly once or refuses it for good, and stores that in the card's rows."""

    def __init__(
        self,
        messages: SlackMessages,
        cards: CardRepository,
        now: Callable[[], datetime],
        block_support: BlockSupport,
        *,
        search_after_seconds: Sequence[float] = (1.0, 4.0, 12.0),
    ) -> None:
        """`search_after_seconds`: when to search for an unconfirmed post. At the last time Slack can't be busy with it
        anymore, so a post that is not found then never arrived."""
        self._messages = messages
        self._cards = cards
        self._now = now
        self._block_support = block_support
        self._search_after_seconds = search_after_seconds
        self._limiters: dict[ChannelRef, RateLimiter] = {}
        self._known_unsent: dict[str, str] = {}
        """By card: the mark of a try that was not sent, although the database may hold its start."""
        self.tasks = ShieldedTasks()
        """The posts in flight; drain them before the process ends."""

    async def post_once(self, post: PendingPost) -> None:
        """Post the message and store its ts, unless an earlier try is found in Slack.

        Raises:
            DeliveryUnknown: it may have arrived, and can't be searched for.
            OwnershipLost: another process owns the card.
            NotAllowedHere, MessageGone: the channel is closed to the bot, or the thread was deleted.
            StoreUnavailable: the database took neither the start nor the ts. If only the ts is missing, the next
                `post_once` finds the message.
        """
        variants, failures = Variants(post.variants), 0
        unknown_since = post.started_at
        if unknown_since is not None and self._known_unsent.get(post.card.id) == _mark(post, unknown_since):
            unknown_since = None
        while True:
            if unknown_since is not None:
                if (ts := await self._search(post, unknown_since)) is not None:
                    await self._mark_posted(post, unknown_since, ts, None)
                    return
                unknown_since = None
            await self._limiter(post.card.channel).acquire(urgent=post.kind is None)
            started_at = self._now()
            await self._mark_started(post, started_at, is_sent=True)
            try:
                await self.tasks.run(self._post_and_store(post, variants.current, started_at))
                variants.record_accepted(self._block_support)
                return
            except OutcomeUnknown as error:
                log.warning("post unanswered", card=post.card.id, code=error.code)
                unknown_since = started_at
                variants.record_unknown(error)
                continue
            except (NotAllowedHere, MessageGone):
                await self._mark_started(post, started_at, is_sent=False)
                raise
            except SlackError as error:
                refusal = error
            await self._mark_started(post, started_at, is_sent=False)
            if isinstance(refusal, SlackBusy):
                await self._limiter(post.card.channel).pause(refusal.retry_after_seconds)
            elif isinstance(refusal, PayloadRefused):
                log.warning("post refused", card=post.card.id, code=refusal.code)
                if not variants.try_next():
                    raise NotAllowedHere(refusal.code)
            else:
                failures = await back_off(refusal, failures)

    async def post_now(
        self,
        channel: ChannelRef,
        messages: tuple[Message, ...],
        *,
        mark: str,
        thread: MessageTs | None = None,
    ) -> MessageTs:
        """Post what a user waits for and can ask for again: it is neither stored nor searched for.

        Raises:
            PayloadRefused: Slack accepts none of the variants.
            SlackBusy: after MAX_BUSY_RETRIES.
            SlackError: any other, at once.
        """
        variants, retries = Variants(messages), 0
        while True:
            await self._limiter(channel).acquire(urgent=True)
            try:
                return await self.tasks.run(
                    self._messages.post(channel, variants.current, mark=mark, thread=thread)
                )
            except PayloadRefused as error:
                log.warning("post refused", mark=mark, code=error.code)
                if not variants.try_next():
                    raise
            except SlackBusy as error:
                if retries == MAX_BUSY_RETRIES:
                    raise
                await self._limiter(channel).pause(error.retry_after_seconds)
                retries += 1

    async def upload_once(self, upload: PendingUpload, since: datetime) -> None:
        """Upload the file and store that it is there. `since`: when the first try may have been made.

        A file can't be searched for, so a try with an unknown outcome is the last: better no file than two.

        Raises:
            DeliveryUnknown: it may have arrived, and must not be sent again.
            OwnershipLost: another process owns the card.
            SlackError: it was not uploaded; Slack refuses it, or has not accepted it in UPLOADED_WITHIN_SECONDS.
            StoreUnavailable: the database did not take the start, or that the file is there.
        """
        tried_seconds = max(0.0, (self._now() - since).total_seconds())
        deadline = loop_time() + max(UPLOAD_TRIED_AT_LEAST_SECONDS, UPLOADED_WITHIN_SECONDS - tried_seconds)
        failures = 0
        while True:
            await self._limiter(upload.card.channel).acquire()
            try:
                # Shielded together with its start: a shutdown between the two would cost the file.
                await self.tasks.run(self._upload_and_store(upload))
                return
            except OutcomeUnknown as error:
                log.warning("upload unanswered", card=upload.card.id, code=error.code)
                raise DeliveryUnknown from error
            except (SlackBusy, SlackUnreachable, TokenRefused) as error:
                if loop_time() >= deadline:
                    raise
                refusal = error
            if isinstance(refusal, SlackBusy):
                # Uploads have their own limit, so messages to the channel need not wait.
                await asyncio.sleep(refusal.retry_after_seconds)
            else:
                failures = await back_off(refusal, failures)

    async def find_earlier(self, post: PendingPost) -> MessageTs | None:
        """Search for a post that was begun at `started_at`. None: it certainly never arrived.

        Raises:
            DeliveryUnknown: it may have arrived, and can't be searched for.
            NotAllowedHere, MessageGone: the channel is closed to the bot, or the thread was deleted.
        """
        return None if post.started_at is None else await self._search(post, post.started_at)

    async def wait_for_other_writer(self, started_at: datetime) -> None:
        """Wait until the process that began that try can't be busy with it anymore: it may still store the outcome."""
        ends_at = self._began_by(started_at) + timedelta(seconds=self._search_after_seconds[-1])
        await asyncio.sleep(max(0.0, (ends_at - self._now()).total_seconds()))

    async def _mark_started(self, post: PendingPost, at: datetime, *, is_sent: bool) -> None:
        """Store that the post is about to be sent, or was certainly not. If that fails, nothing was sent either way."""
        started_at = at if is_sent else None
        try:
            if post.kind is None:
                await self._cards.mark_post_started(post.card, started_at)
            elif post.kind == COMPLETION_REPLY:
                await self._cards.mark_completion_reply_started(post.card, started_at)
            else:
                await self._cards.mark_reply_started(post.card, post.kind, started_at)
        except StoreUnavailable:
            self._known_unsent[post.card.id] = _mark(post, at)
            raise
        self._known_unsent.pop(post.card.id, None)

    async def _mark_posted(
        self, post: PendingPost, started_at: datetime, ts: MessageTs, fingerprint: str | None
    ) -> bool:
        """Store the ts. False if another try has begun since."""
        card_id = post.card.id
        if post.kind is None:
            # A post that was found, not just sent, may show an earlier status.
            ended = post.shows_end and fingerprint is not None
            return await self._cards.mark_posted(card_id, started_at, ts, fingerprint, ended=ended)
        if post.kind == COMPLETION_REPLY:
            return await self._cards.mark_completion_reply_posted(card_id, started_at, ts, fingerprint)
        return await self._cards.mark_reply_posted(card_id, post.kind, started_at, ts, fingerprint)

    def _limiter(self, channel: ChannelRef) -> RateLimiter:
        if channel not in self._limiters:
            self._limiters[channel] = RateLimiter(
                LocalRateLimitStore(), f"posts {channel.id}", POSTS_PER_CHANNEL
            )
        return self._limiters[channel]

    async def _post_and_store(self, post: PendingPost, message: Message, started_at: datetime) -> None:
        card, mark = post.card, _mark(post, started_at)
        ts = await self._messages.post(card.channel, message, mark=mark, thread=post.thread)
        if await retry_until_stored(
            partial(self._mark_posted, post, started_at, ts, message.fingerprint), card=card.id
        ):
            return
        # While this process was paused or cut off, another one took the card over and posted it too.
        try:
            await self._messages.delete(card.channel, ts)
            log.warning("surplus post deleted", card=card.id)
        except SlackError as error:
            log.warning("surplus post not deleted", card=card.id, code=error.code)

    async def _upload_and_store(self, upload: PendingUpload) -> None:
        card, started_at = upload.card, self._now()
        await self._cards.mark_reply_started(card, upload.kind, started_at)
        try:
            file = await self._messages.upload(card.channel, upload.upload, thread=upload.thread)
        except OutcomeUnknown:
            raise
        except SlackError:
            await self._cards.mark_reply_started(card, upload.kind, None)
            raise
        # Slack returns no ts for a file.
        posted = partial(
            self._cards.mark_reply_posted, card.id, upload.kind, started_at, MessageTs(file), None
        )
        if not await retry_until_stored(posted, card=card.id):
            log.warning("surplus file not deleted", card=card.id)

    async def _search(self, post: PendingPost, since: datetime) -> MessageTs | None:
        """Search for an earlier try. None: it certainly never arrived."""
        is_ours = since is not post.started_at
        began = since if is_ours else self._began_by(since)
        for seconds in self._search_after_seconds:
            wait_seconds = (began + timedelta(seconds=seconds) - self._now()).total_seconds()
            wait_seconds = min(wait_seconds, seconds)  # a clock that was set back must not delay the post
            is_last = seconds == self._search_after_seconds[-1]
            if wait_seconds <= 0 and not is_last:
                continue
            await asyncio.sleep(max(0.0, wait_seconds))
            try:
                ts = await self._find(post, since)
            except ScopeMissing as error:
                if not is_ours:
                    await self.wait_for_other_writer(since)
                raise DeliveryUnknown from error
            if ts is not None:
                log.info("post found", card=post.card.id)
                return ts
        return None

    def _began_by(self, started_at: datetime) -> datetime:
        """When a try read from the database had begun at the latest: another process dated it by its own clock."""
        return min(self._now(), started_at + timedelta(seconds=CLOCKS_DIFFER_BY_SECONDS))

    async def _find(self, post: PendingPost, since: datetime) -> MessageTs | None:
        """Search once, and again while Slack does not answer. Raises ScopeMissing where the bot can't read history."""
        failures = 0
        mark = _mark(post, since)
        since -= timedelta(seconds=CLOCKS_DIFFER_BY_SECONDS)
        while True:
            try:
                return await self._messages.find_by_metadata(
                    post.card.channel, mark=mark, since=since, thread=post.thread
                )
            except SlackBusy as error:
                await asyncio.sleep(error.retry_after_seconds)
            except (ScopeMissing, NotAllowedHere, MessageGone):
                # Whether or not it arrived: if the thread was deleted, Slack would put another reply at the top level
                # of the channel.
                raise
            except SlackError as error:
                failures = await back_off(error, failures)


def reply_mark(card_id: CardId, kind: ReplyKind | None, started_at: datetime) -> str:
    """The mark of one try of a card or of a reply in its thread. Other versions of the bot search by the same mark."""
    has_own_row = kind is not None and kind != COMPLETION_REPLY
    return f"{card_id}{f'/{kind}' if has_own_row else ''}/{started_at.timestamp():.6f}"


def _mark(post: PendingPost, started_at: datetime) -> str:
    return reply_mark(post.card.id, post.kind, started_at)
