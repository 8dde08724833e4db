"""Runs the work that Slack's requests cause, and replies privately with its outcome.

Bolt forgets an acknowledgement if its listener raises right after it, so a listener acknowledges and then raises
nothing. A request that must survive a crash is acknowledged only after it is saved. If it can't be saved, the user gets
a reply first. With neither in time there is no acknowledgement, and Slack shows the user an error.
Work runs in tasks of this module, because Bolt keeps no reference to its listeners and does not await them on shutdown.
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
from bot.services import Response, SavedRequest
from bot.tasks import RecentKeys, loop_time

log = structlog.get_logger()


MAX_UNSAVED = 100
"""How many interactions may be unsaved at once. More would take the database from the jobs that are tracked."""

MAX_UNSAVED_PER_USER = 20
"""How many of these one user's clicks and look-ups may be, so that the other users are not declined."""

MAX_RUNNING = 1_000
"""How many interactions may run at once. Saved ones cost little, but users wait for them."""

WARN_EVERY_SECONDS = 60.0

MAX_SEEN_REQUESTS = 2_000
"""How many request ids are remembered, so that a request that Slack sends twice is handled once. Slack sends an event
again for about six minutes. Source: docs.slack.dev/apis/events-api."""

ACK_WITHIN_SECONDS = 2.6
"""How long an acknowledgement waits until the request is saved, or refused with a reply. Slack allows 3 s."""

RETRY_REPLY_AFTER_SECONDS = 1.0

LAST_REPLY_WITHIN_SECONDS = 0.8

ReplyFn = Callable[[Message], Awaitable[None]]
"""Sends a message to one user. Raises any SlackError."""

Interaction = Coroutine[Any, Any, SavedRequest | Response]
"""Work for a user. Returns the reply, or a saved request whose outcome is the reply."""


class InteractionRunner:
    """Bounded set of the interactions of one workspace."""

    def __init__(self, reply_to_url: EphemeralReply, views: SlackViews, messages: SlackMessages) -> None:
        self._reply_to_url = reply_to_url
        self._views = views
        self._messages = messages
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsaved: dict[asyncio.Task[None], UserId | None] = {}
        """The part of `_tasks` whose requests are not saved yet, and the users of those that `run` began."""
        self._declining: set[asyncio.Task[bool]] = set()
        self._warned_at = float("-inf")
        self._seen: RecentKeys[str, asyncio.Event | None] = RecentKeys(MAX_SEEN_REQUESTS)
        """The newest request ids. The event is set once the request can be acknowledged; None: from the start."""

    def run(self, request_id: str, work: Interaction, reply: ReplyFn, user: UserId) -> None:
        """Start the work of a request that is acknowledged, unless Slack has sent it before; or reply that the bot is
        busy. `request_id`: Slack's trigger id or event id, or the message."""
        if self._is_duplicate(request_id):
            work.close()
        elif self.is_full or list(self._unsaved.values()).count(user) >= MAX_UNSAVED_PER_USER:
            work.close()
            self._decline(reply)
        else:
            self._start(work, reply, asyncio.Event(), user)

    async def ack_when_saved(
        self,
        ack: AsyncAck,
        request_id: str,
        work: Interaction,
        reply: ReplyFn,
        *,
        ack_busy: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        """Start the work unless Slack has sent the request before, and acknowledge as soon as the request is saved.

        A request that is refused unsaved is acknowledged once Slack has taken the reply. A duplicate is acknowledged,
        but not before the first is saved: until then a crash would lose it.

        `ack_busy`: acknowledges with the text that the bot is busy; None: that is a reply.
        """
        if self._is_duplicate(request_id):
            work.close()
            first = self._seen[request_id]
            if first is None or await self._is_set_in_time(first):
                await ack()
            return
        if self.is_full:
            work.close()
            if ack_busy is not None:
                await ack_busy(self._busy())
            else:
                await ack()
                self._decline(reply)
            return
        saved = asyncio.Event()
        if request_id:
            self._seen[request_id] = saved
        self._start(work, reply, saved)
        if await self._is_set_in_time(saved):
            await ack()
        else:
            log.warning("not acknowledged")
            self._seen.pop(request_id, None)

    def _start(
        self, work: Interaction, reply: ReplyFn, saved: asyncio.Event, user: UserId | None = None
    ) -> None:
        task = asyncio.create_task(self._run(work, reply, saved))
        self._tasks.add(task)
        self._unsaved[task] = user
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda ended: self._unsaved.pop(ended, None))

    def _is_duplicate(self, request_id: str) -> bool:
        """Whether the request was seen before. An empty id never was."""
        if not request_id:
            return False
        if request_id in self._seen:
            log.info("duplicate request dropped")
            return True
        self._seen[request_id] = None
        return False

    @staticmethod
    async def _is_set_in_time(saved: asyncio.Event) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(ACK_WITHIN_SECONDS):
                await saved.wait()
        return saved.is_set()

    @property
    def running(self) -> int:
        """Number of running interactions."""
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether the next interaction is declined."""
        return len(self._unsaved) >= MAX_UNSAVED or len(self._tasks) >= MAX_RUNNING

    def _busy(self) -> str:
        now = loop_time()
        if now - self._warned_at >= WARN_EVERY_SECONDS:
            self._warned_at = now
            log.warning("requests declined", running=self.running)
        return replies.busy()

    def _decline(self, reply: ReplyFn) -> None:
        text = self._busy()
        if len(self._declining) < MAX_UNSAVED:
            task = asyncio.create_task(self._send(text, reply))
            self._declining.add(task)
            task.add_done_callback(self._declining.discard)

    async def drain(self) -> None:
        """Wait for all replies that are due."""
        await asyncio.gather(*self._tasks, *self._declining, return_exceptions=True)

    def reply_to(self, body: dict[str, Any], channel: ChannelRef, user: UserId) -> ReplyFn:
        """Reply through the payload's response_url, or as `ephemeral_reply` where that is missing or expired."""
        response_url = str(body.get("response_url") or "")
        fallback = self.ephemeral_reply(channel, user)

        async def reply(message: Message) -> None:
            try:
                if not response_url:
                    raise SlackError("no_response_url")
                await self._reply_to_url(response_url, message)
            except (SlackBusy, SlackUnreachable, OutcomeUnknown):
                raise
            except SlackError as error:
                log.info("response_url not usable", code=error.code)
                await fallback(message)

        return reply

    def ephemeral_reply(
        self, channel: ChannelRef, user: UserId, *, thread: MessageTs | None = None
    ) -> ReplyFn:
        """Reply in the channel so that only the user sees it, or in a direct message where that is not possible."""

        async def reply(message: Message) -> None:
            if channel.id and not is_direct(channel):
                try:
                    await self._views.post_ephemeral(channel, user, message, thread=thread)
                except (SlackBusy, SlackUnreachable):
                    raise
                except SlackError as error:
                    log.info("no reply in channel", channel=channel.id, code=error.code)
                else:
                    return
            dm = await self._messages.open_dm(channel, user)
            await self._messages.post(
                dm, message, mark=f"{uuid4()}/told", thread=thread if dm == channel else None
            )

        return reply

    async def _run(self, work: Interaction, reply: ReplyFn, saved: asyncio.Event) -> None:
        begin_interaction()
        try:
            response = await work
            if isinstance(response, SavedRequest):
                saved.set()
                if (task := asyncio.current_task()) is not None:
                    self._unsaved.pop(task, None)
                response = await response.outcome()
        except asyncio.CancelledError as error:
            async with asyncio.timeout(LAST_REPLY_WITHIN_SECONDS):
                if await self._send(replies.restarting(), reply) and isinstance(error, InterruptedRequest):
                    await error.on_delivered()
            # A plain one: an enclosing `asyncio.timeout` recognizes no subclass.
            raise asyncio.CancelledError from error
        except Exception:
            log.exception("request broke")
            response = replies.broken()
        message = response.message if isinstance(response, Reply) else response
        if message is not None and not await self._send(message, reply):
            return
        saved.set()
        if isinstance(response, Reply):
            await response.on_delivered()

    async def _send(self, message: Message | str, reply: ReplyFn) -> bool:
        """Send the reply, and once more if Slack certainly did not take it. Return whether Slack took it."""
        if isinstance(message, str):
            message = Message(message)
        try:
            try:
                await reply(message)
            except (SlackBusy, SlackUnreachable) as error:
                retry_after = error.retry_after_seconds if isinstance(error, SlackBusy) else 0.0
                await asyncio.sleep(max(RETRY_REPLY_AFTER_SECONDS, retry_after))
                await reply(message)
        except SlackError as error:
            log.warning("reply not delivered", code=error.code)
            return False
        return True
