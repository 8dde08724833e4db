"""What Slack has sent and the bot has acknowledged: runs it, and tells the person privately what came of it.

A listener acknowledges first and raises nothing afterwards: Bolt forgets an acknowledgement when its listener
raises right after it. What would be lost with the process is stored before that; if it can't be, the person
gets a reply before that. Without either in time there is no acknowledgement: Slack then shows the person an error.
Work goes into tasks of our own, because Bolt keeps no reference to its listeners and does not wait for them at the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import uuid4

import structlog
from slack_bolt.async_app import AsyncAck

from bot.delivery import InterruptedRequest, Reply
from bot.domain import (
    ChannelRef,
    Message,
    MessageTs,
    OutcomeUnknown,
    SlackBusy,
    SlackError,
    SlackUnreachable,
    UserId,
    is_direct,
)
from bot.domain.ports import EphemeralReply, SlackMessages, SlackViews
from bot.log import begin_interaction
from bot.rendering import replies
from bot.tasks import RecentKeys, loop_time

log = structlog.get_logger()


MOST_BEGINNING = 100
"""How many errands at once may not be stored yet. More would take the database from the jobs that are followed."""

MOST_UNDER_WAY = 1_000
"""How many errands at once may wait for their end. Stored ones cost little, but people wait for them."""

WARNED_EVERY_SECONDS = 60.0

REMEMBERED_DELIVERIES = 2_000
"""How many deliveries are remembered, so that one that Slack makes twice is answered once."""

ACKNOWLEDGED_WITHIN_SECONDS = 2.6
"""How long an acknowledgement waits for what it is of to be stored, or refused with a reply; Slack gives it 3 s."""

TELL_AGAIN_AFTER_SECONDS = 1.0

TELL_AT_THE_END_WITHIN_SECONDS = 0.8

ReplyFn = Callable[[Message], Awaitable[None]]
"""Tells one person something; raises any BoardError."""

Interaction = Coroutine[Any, Any, Message | str | Reply | None]
"""Work for a person. Returns what to tell them privately, if anything."""


class InteractionRunner:
    """All that is being done for people right now."""

    def __init__(self, whisper: EphemeralReply, views: SlackViews, messages: SlackMessages) -> None:
        self._whisper = whisper
        self._views = views
        self._messages = messages
        self._tasks: set[asyncio.Task[None]] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        """Those of them that are not stored yet."""
        self._declining: set[asyncio.Task[bool]] = set()
        self._warned_at = float("-inf")
        self._seen_requests: RecentKeys[str, None] = RecentKeys(REMEMBERED_DELIVERIES)
        self._being_saved: dict[str, asyncio.Event] = {}
        """What is not acknowledged yet, by its delivery."""

    def run(self, errand: Interaction, tell: ReplyFn) -> None:
        """Begin an errand of what has been acknowledged, or tell the person that there are too many."""
        if self.is_full:
            errand.close()
            self._decline(tell)
        else:
            self._begin(errand, tell, lambda: None)

    def _begin(self, errand: Interaction, tell: ReplyFn, settled: Callable[[], None]) -> asyncio.Task[None]:
        """`settled` is called once Slack has taken the reply to the person, or none is due."""
        task = asyncio.create_task(self._tell_outcome(errand, tell, settled))
        for tasks in (self._tasks, self._beginning):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    async def ack_when_saved(
        self, ack: AsyncAck, delivery: str, errand: Callable[[Callable[[], None]], Interaction], tell: ReplyFn
    ) -> None:
        """Begin an errand, and acknowledge it as soon as it calls what it is given: then it is stored. One that ends
        before that is acknowledged once Slack has taken its reply. `delivery`: as for `is_repeated`."""
        if self.is_full:
            await ack()
            self._decline(tell)
            return
        settled = self._being_saved[delivery] = asyncio.Event()

        def settle() -> None:
            settled.set()
            self._beginning.discard(task)

        task = self._begin(errand(settle), tell, settle)
        is_settled = await self._is_settled(settled)
        self._being_saved.pop(delivery, None)
        if is_settled:
            await ack()
        else:
            log.warning("not acknowledged")
            self._seen_requests.pop(delivery, None)

    async def ack_once_when_saved(
        self, ack: AsyncAck, delivery: str, errand: Callable[[Callable[[], None]], Interaction], tell: ReplyFn
    ) -> None:
        """The same, unless Slack has delivered it before."""
        if self.is_duplicate(delivery):
            await self.ack_duplicate(ack, delivery)
        else:
            await self.ack_when_saved(ack, delivery, errand, tell)

    async def ack_duplicate(self, ack: AsyncAck, delivery: str) -> None:
        """Acknowledge what Slack has delivered before, and no sooner than that: until it is stored, a crash would lose
        it."""
        settled = self._being_saved.get(delivery)
        if settled is None or await self._is_settled(settled):
            await ack()

    @staticmethod
    async def _is_settled(settled: asyncio.Event) -> bool:
        """Wait for it, as long as Slack does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
                await settled.wait()
        return settled.is_set()

    @property
    def running(self) -> int:
        """How many there are."""
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether no more is begun now."""
        return len(self._beginning) >= MOST_BEGINNING or len(self._tasks) >= MOST_UNDER_WAY

    def busy(self) -> str:
        """What to tell the person whose errand is not begun."""
        at = loop_time()
        if at - self._warned_at >= WARNED_EVERY_SECONDS:
            self._warned_at = at
            log.warning("requests declined", under_way=self.running)
        return replies.busy()

    def _decline(self, tell: ReplyFn) -> None:
        line = self.busy()
        if len(self._declining) < MOST_BEGINNING:
            task = asyncio.create_task(self._tell(line, tell))
            self._declining.add(task)
            task.add_done_callback(self._declining.discard)

    async def drain(self) -> None:
        """Wait for what was acknowledged and is not answered yet."""
        await asyncio.gather(*self._tasks, *self._declining, return_exceptions=True)

    def is_duplicate(self, delivery: object) -> bool:
        """Whether this delivery has been seen: by its trigger id, or its event id. Without one, nobody can tell."""
        name = str(delivery or "")
        if not name:
            return False
        if name in self._seen_requests:
            log.info("repeated delivery dropped")
            return True
        self._seen_requests[name] = None
        return False

    def reply_to(self, body: dict[str, Any], channel: ChannelRef, user: UserId) -> ReplyFn:
        """Tells by the response_url of what was sent; where that is used up or too old, as `privately`."""
        response_url = str(body.get("response_url") or "")
        otherwise = self.ephemeral_reply(channel, user)

        async def tell(message: Message) -> None:
            try:
                if not response_url:
                    raise SlackError("no_response_url")
                await self._whisper(response_url, message)
            except (SlackBusy, SlackUnreachable, OutcomeUnknown):
                raise
            except SlackError as error:
                log.info("not told by its address", code=error.code)
                await otherwise(message)

        return tell

    def ephemeral_reply(
        self, channel: ChannelRef, user: UserId, *, thread: MessageTs | None = None
    ) -> ReplyFn:
        """Tells in a place so that only this person sees it; where that can't be, in their direct messages."""

        async def tell(message: Message) -> None:
            if channel.id and not is_direct(channel):
                try:
                    await self._views.post_ephemeral(channel, user, message, thread=thread)
                except (SlackBusy, SlackUnreachable):
                    raise
                except SlackError as error:
                    log.info("not told in the place", channel=channel.id, code=error.code)
                else:
                    return
            direct = await self._messages.open_dm(channel, user)
            thread_there = thread if direct == channel else None
            await self._messages.post(direct, message, mark=f"{uuid4()}/told", thread=thread_there)

        return tell

    async def _tell_outcome(self, errand: Interaction, tell: ReplyFn, settled: Callable[[], None]) -> None:
        begin_interaction()
        try:
            said = await errand
        except asyncio.CancelledError as ending:
            async with asyncio.timeout(TELL_AT_THE_END_WITHIN_SECONDS):
                if await self._tell(replies.restarting(), tell) and isinstance(ending, InterruptedRequest):
                    await ending.on_delivered()
            # A plain one: whoever waits for this under `asyncio.timeout` would not know the other for a cancellation.
            raise asyncio.CancelledError from ending
        except Exception:
            log.exception("request broke")
            said = replies.broken()
        message = said.message if isinstance(said, Reply) else said
        if message is not None and not await self._tell(message, tell):
            return
        settled()
        if isinstance(said, Reply):
            await said.on_delivered()

    async def _tell(self, said: Message | str, tell: ReplyFn) -> bool:
        """Tell it, and once more where it certainly was not told. False if Slack does not take it."""
        message = Message(said) if isinstance(said, str) else said
        try:
            try:
                await tell(message)
            except (SlackBusy, SlackUnreachable) as error:
                asked_for = error.retry_after_seconds if isinstance(error, SlackBusy) else 0.0
                await asyncio.sleep(max(TELL_AGAIN_AFTER_SECONDS, asked_for))
                await tell(message)
        except SlackError as error:
            log.warning("private line not told", code=error.code)
            return False
        return True
