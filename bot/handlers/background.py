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

from bot.delivery.direct_messages import Interrupted, Word
from bot.domain.access import is_direct
from bot.domain.cards import Place, Ts, UserId
from bot.domain.errors import BoardBusy, BoardError, BoardUnreachable, Unanswered
from bot.domain.messages import Message
from bot.domain.ports.slack import Board, Views, Whisper
from bot.log import begin_interaction
from bot.rendering import replies

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

Tell = Callable[[Message], Awaitable[None]]
"""Tells one person something; raises any BoardError."""

Errand = Coroutine[Any, Any, Message | str | Word | None]
"""Work for a person. Returns what to tell them privately, if anything."""


class Errands:
    """All that is being done for people right now."""

    def __init__(self, whisper: Whisper, views: Views, board: Board) -> None:
        self._whisper = whisper
        self._views = views
        self._board = board
        self._tasks: set[asyncio.Task[None]] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        """Those of them that are not stored yet."""
        self._declining: set[asyncio.Task[bool]] = set()
        self._warned_at = float("-inf")
        self._delivered: dict[str, None] = {}
        self._being_stored: dict[str, asyncio.Event] = {}
        """What is not acknowledged yet, by its delivery."""

    def run(self, errand: Errand, tell: Tell) -> None:
        """Begin an errand of what has been acknowledged, or tell the person that there are too many."""
        if self.is_full:
            errand.close()
            self._decline(tell)
        else:
            self._begin(errand, tell, lambda: None)

    def _begin(self, errand: Errand, tell: Tell, settled: Callable[[], None]) -> asyncio.Task[None]:
        """`settled` is called once Slack has taken the reply to the person, or none is due."""
        task = asyncio.create_task(self._tell_outcome(errand, tell, settled))
        for tasks in (self._tasks, self._beginning):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    async def accept(
        self, ack: AsyncAck, delivery: str, errand: Callable[[Callable[[], None]], Errand], tell: Tell
    ) -> None:
        """Begin an errand, and acknowledge it as soon as it calls what it is given: then it is stored. One that ends
        before that is acknowledged once Slack has taken its reply. `delivery`: as for `is_repeated`."""
        if self.is_full:
            await ack()
            self._decline(tell)
            return
        settled = self._being_stored[delivery] = asyncio.Event()

        def settle() -> None:
            settled.set()
            self._beginning.discard(task)

        task = self._begin(errand(settle), tell, settle)
        is_settled = await self._is_settled(settled)
        self._being_stored.pop(delivery, None)
        if is_settled:
            await ack()
        else:
            log.warning("not acknowledged")
            self._delivered.pop(delivery, None)

    async def accept_once(
        self, ack: AsyncAck, delivery: str, errand: Callable[[Callable[[], None]], Errand], tell: Tell
    ) -> None:
        """The same, unless Slack has delivered it before."""
        if self.is_repeated(delivery):
            await self.acknowledge_again(ack, delivery)
        else:
            await self.accept(ack, delivery, errand, tell)

    async def acknowledge_again(self, ack: AsyncAck, delivery: str) -> None:
        """Acknowledge what Slack has delivered before, and no sooner than that: until it is stored, a crash would lose
        it."""
        settled = self._being_stored.get(delivery)
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
    def under_way(self) -> int:
        """How many there are."""
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether no more is begun now."""
        return len(self._beginning) >= MOST_BEGINNING or len(self._tasks) >= MOST_UNDER_WAY

    def busy(self) -> str:
        """What to tell the person whose errand is not begun."""
        at = asyncio.get_running_loop().time()
        if at - self._warned_at >= WARNED_EVERY_SECONDS:
            self._warned_at = at
            log.warning("requests declined", under_way=self.under_way)
        return replies.busy()

    def _decline(self, tell: Tell) -> None:
        line = self.busy()
        if len(self._declining) < MOST_BEGINNING:
            task = asyncio.create_task(self._tell(line, tell))
            self._declining.add(task)
            task.add_done_callback(self._declining.discard)

    async def drain(self) -> None:
        """Wait for what was acknowledged and is not answered yet."""
        await asyncio.gather(*self._tasks, *self._declining, return_exceptions=True)

    def is_repeated(self, delivery: object) -> bool:
        """Whether this delivery has been seen: by its trigger id, or its event id. Without one, nobody can tell."""
        name = str(delivery or "")
        if not name:
            return False
        if name in self._delivered:
            log.info("repeated delivery dropped")
            return True
        self._delivered[name] = None
        if len(self._delivered) > REMEMBERED_DELIVERIES:
            del self._delivered[next(iter(self._delivered))]
        return False

    def answer_to(self, body: dict[str, Any], place: Place, user: UserId) -> Tell:
        """Tells by the response_url of what was sent; where that is used up or too old, as `privately`."""
        response_url = str(body.get("response_url") or "")
        otherwise = self.privately(place, user)

        async def tell(message: Message) -> None:
            try:
                if not response_url:
                    raise BoardError("no_response_url")
                await self._whisper(response_url, message)
            except (BoardBusy, BoardUnreachable, Unanswered):
                raise
            except BoardError as error:
                log.info("not told by its address", code=error.code)
                await otherwise(message)

        return tell

    def privately(self, place: Place, user: UserId, *, thread: Ts | None = None) -> Tell:
        """Tells in a place so that only this person sees it; where that can't be, in their direct messages."""

        async def tell(message: Message) -> None:
            if place.channel and not is_direct(place):
                try:
                    await self._views.whisper(place, user, message, thread=thread)
                except (BoardBusy, BoardUnreachable):
                    raise
                except BoardError as error:
                    log.info("not told in the place", channel=place.channel, code=error.code)
                else:
                    return
            direct = await self._board.direct(place, user)
            thread_there = thread if direct == place else None
            await self._board.post(direct, message, mark=f"{uuid4()}/told", thread=thread_there)

        return tell

    async def _tell_outcome(self, errand: Errand, tell: Tell, settled: Callable[[], None]) -> None:
        begin_interaction()
        try:
            said = await errand
        except asyncio.CancelledError as ending:
            async with asyncio.timeout(TELL_AT_THE_END_WITHIN_SECONDS):
                if await self._tell(replies.restarting(), tell) and isinstance(ending, Interrupted):
                    await ending.once_told()
            # A plain one: whoever waits for this under `asyncio.timeout` would not know the other for a cancellation.
            raise asyncio.CancelledError from ending
        except Exception:
            log.exception("request broke")
            said = replies.broken()
        message = said.message if isinstance(said, Word) else said
        if message is not None and not await self._tell(message, tell):
            return
        settled()
        if isinstance(said, Word):
            await said.once_told()

    async def _tell(self, said: Message | str, tell: Tell) -> bool:
        """Tell it, and once more where it certainly was not told. False if Slack does not take it."""
        message = Message(said) if isinstance(said, str) else said
        try:
            try:
                await tell(message)
            except (BoardBusy, BoardUnreachable) as error:
                asked_for = error.retry_after_seconds if isinstance(error, BoardBusy) else 0.0
                await asyncio.sleep(max(TELL_AGAIN_AFTER_SECONDS, asked_for))
                await tell(message)
        except BoardError as error:
            log.warning("private line not told", code=error.code)
            return False
        return True
