"""Submits a question once. Omni has no idempotency key, so what it may have taken is told, and never submitted again.

ask stored ──► prepared ──► submitted ──► bound to its job and watch, together ──► followed like any other
   │              │             ├── certainly refused ──► the ask is withdrawn, its person told why
   │              │             ├── perhaps taken ──────► its person told that nobody knows
   │              │             └── chat is busy ───────► a follow-up waits for the job before it, once, and is told
   │              └── may not, or can't be ─────────────► the ask is withdrawn, its person told why
   └── the process dies, here or later ─────────────────► another tells: see `orphans`
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import structlog

from bot.delivery.direct_messages import SETTLED_AFTER_SECONDS, Word, tell_directly
from bot.delivery.outcomes import Arrivals
from bot.delivery.posts import back_off
from bot.domain.cards import Ts, Watch, WatchId
from bot.domain.errors import (
    BoardError,
    ConversationBusy,
    MaybeTaken,
    OmniError,
    StoreUnavailable,
    Unanswered,
)
from bot.domain.jobs import JobId
from bot.domain.messages import Message
from bot.domain.ports.omni import Asking, Omni
from bot.domain.ports.slack import Board
from bot.domain.ports.storage import Asks
from bot.domain.questions import Ask, Question, first_reading
from bot.log import Act, audit, bind_job
from bot.rendering import ask_replies, replies
from bot.services.follow import Desk
from bot.services.intents import Intents
from bot.services.submission_steps import in_hand, turn
from bot.services.targets import Destination
from bot.tasks import WholeSteps, stored
from bot.tracking.events import JobEvents

log = structlog.get_logger()

TOLD_WITHIN_TRIES = 5


@dataclass(frozen=True, slots=True)
class Submission:
    """A question on its way, and what it is for whoever asks."""

    act: Act
    ask: Ask
    question: Question
    destination: Destination
    thread: Ts | None
    """The thread that the card is to be a reply in."""
    unanswered: Message
    """What to tell where nobody knows whether Omni has taken it."""
    ahead: Callable[[], Awaitable[Sequence[JobId]]] | None = None
    """Finds the jobs that may keep the chat busy, and raises nothing; None: the question does not wait for its
    turn."""
    taken: Callable[[], Coroutine[Any, Any, None]] | None = None
    """What is left to do once Omni has taken it."""


Prepare = Callable[[], Awaitable[Submission | Message]]
"""Finds out what to submit; a message where that is nothing, with what to tell the person. Raises nothing that the
world around can cause."""


class Submitting:
    """Sees questions through from the intention to the card."""

    def __init__(
        self,
        *,
        omni: Omni,
        asking: Asking,
        board: Board,
        asks: Asks,
        intents: Intents,
        arrivals: Arrivals,
        desk: Desk,
        start: Callable[[JobId], Awaitable[None]],
        steps: WholeSteps,
        now: Callable[[], datetime],
        events: JobEvents | None = None,
    ) -> None:
        """`desk`: tells what became of a card. `start` sees that a job is followed. `steps`: what is settled before
        the process ends. `events`: what Omni is asked to tell by itself; None: nothing."""
        self._omni = omni
        self._asking = asking
        self._board = board
        self._asks = asks
        self._intents = intents
        self._arrivals = arrivals
        self._desk = desk
        self._start = start
        self._steps = steps
        self._now = now
        self._events = events or JobEvents()
        self._errands: set[asyncio.Task[None]] = set()

    async def see_through(
        self, ask: Ask, prepare: Prepare, stored: Callable[[], None] = lambda: None
    ) -> Message | Word | None:
        """Prepare a question, submit it once and follow its job. Returns what to tell the person, if anything.

        `stored` is called once a crash can no longer make it forgotten without a word.

        Raises:
            StoreUnavailable: the database did not take it, and nothing was begun.
            TooManyFollows: the person follows as much as one may, and nothing was begun.
        """
        return await self._intents.see_through(ask, prepare, self._submit_or_queue, stored)

    async def _submit_or_queue(self, submission: Submission) -> Message | Word | None:
        try:
            return await self._submit(submission)
        except ConversationBusy as error:
            if submission.ahead is None:
                return self._refused(submission, error)
        self._note(submission, "queued")
        self._spawn(self._wait_for_turn(submission))
        return Message(ask_replies.queued())

    async def end(self) -> None:
        """Leave what waits to `orphans`. For the end of the process."""
        await self._intents.end()
        for task in self._errands:
            task.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)

    async def _submit(self, submission: Submission) -> Message | Word | None:
        """Submit it now. Raises ConversationBusy, and does nothing of what that asks for."""
        watch = WatchId(str(uuid4()))
        with self._arrivals.waiting(watch) as arrival:
            try:
                mine = await self._steps.run(self._submit_and_bind(submission, watch))
            except ConversationBusy:
                raise
            except MaybeTaken:
                return self._unanswered(submission)
            except (OmniError, StoreUnavailable) as error:
                return self._refused(submission, error)
            except _NotBound as error:
                return Message(ask_replies.taken_but_not_stored(error.job))
            if submission.taken is not None:
                self._spawn(submission.taken())
            bind_job(mine.job)
            await self._start(mine.job)
            try:
                said = await self._desk.tell_new(mine, arrival, submission.destination)
            except StoreUnavailable as error:
                log.warning("arrival not known", watch=mine.id, reason=str(error))
                said = replies.card_is_late()
        return Message(said) if isinstance(said, str) else said

    async def _submit_and_bind(self, submission: Submission, watch: WatchId) -> Watch:
        """Raises what `Asking.submit` does, StoreUnavailable where nothing was begun, and _NotBound."""
        ask = submission.ask
        question = replace(submission.question, webhook=self._events.webhook(ask.id))
        submitted = await self._asking.submit(question)
        self._events.began(first_reading(submitted, question, self._now()))
        bind_job(submitted.job)
        mine = Watch(
            id=watch,
            job=submitted.job,
            place=submission.destination.place,
            requester=ask.user,
            followers=(ask.user,),
            asked_at=ask.asked_at,
            thread=submission.thread,
            is_own=True,
        )
        self._note(submission, "taken", submitted.job)
        try:
            return await stored(watch, partial(self._asks.bind, ask.id, mine))
        except StoreUnavailable as error:
            log.error("job not stored", job=submitted.job, reason=str(error))
            raise _NotBound(submitted.job) from error

    def _unanswered(self, submission: Submission) -> Word:
        self._note(submission, "perhaps taken")

        async def end() -> None:
            try:
                await self._asks.told(submission.ask.id)
            except StoreUnavailable as error:
                # Then it is told once more, as an orphan.
                log.warning("ask not ended", reason=str(error))

        return Word(submission.unanswered, end)

    def _refused(self, submission: Submission, error: Exception, line: str | None = None) -> Word:
        self._note(submission, f"failed: {type(error).__name__}")
        line = line or (
            ask_replies.refused(error) if isinstance(error, OmniError) else replies.storage_down()
        )
        return self._intents.withdrawn(submission.ask, Message(line))

    # Behind another job

    async def _wait_for_turn(self, submission: Submission) -> None:
        async with in_hand(self._asks, submission.ask, self._now):
            word = await self._submit_in_turn(submission)
            # Still in hand: should this process end meanwhile, another tells.
            if isinstance(word, Word):
                if await self._tell(submission.ask, word.message):
                    await word.once_told()
            elif word is not None:
                await self._tell(submission.ask, word)

    async def _submit_in_turn(self, submission: Submission) -> Message | Word | None:
        ahead = await submission.ahead() if submission.ahead is not None else ()
        try:
            if not await turn(self._omni, ahead):
                raise ConversationBusy("409")
            if not await self._asks.touch(submission.ask.id, self._now()):
                return None  # this process was paused for so long that another has told of it
            return await self._submit(submission)
        except ConversationBusy as error:
            return self._refused(submission, error, ask_replies.busy_again())
        except StoreUnavailable as error:
            return self._refused(submission, error)

    async def _tell(self, ask: Ask, message: Message) -> bool:
        """Tell the person, who has gone on since, in direct messages. False if Slack does not take it."""
        failures = 0
        while failures < TOLD_WITHIN_TRIES:
            try:
                await tell_directly(
                    self._board, ask.place, ask.user, message, mark=ask.id, since=ask.asked_at
                )
            except BoardError as error:
                if isinstance(error, Unanswered):
                    await asyncio.sleep(SETTLED_AFTER_SECONDS)
                failures = await back_off(error, failures)
            else:
                return True
        log.warning("private line not told", user=ask.user)
        return False

    def _spawn(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._see_through(errand))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _see_through(self, errand: Coroutine[Any, Any, None]) -> None:
        try:
            await errand
        except Exception:
            log.exception("errand broke")

    def _note(self, submission: Submission, outcome: str, job: JobId | None = None) -> None:
        audit(submission.act, submission.ask.user, submission.destination.place, outcome, job=job)


class _NotBound(Exception):
    """Omni has taken a question, and the database did not take that."""

    def __init__(self, job: JobId) -> None:
        super().__init__(job)
        self.job = job
