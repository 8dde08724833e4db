"""Stores each request before anything is done about it, so that a crash can be reported to its user.

stored ──► prepared ──► carried out: bound to its job and card
  │           └── denied or impossible ──► deleted, once the reply is delivered
  └── the process dies before that ──────► reported to the user by another: see `tracking.recovery`
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog

from bot.delivery import InterruptedRequest, Reply
from bot.domain import Message, PendingQuestion, StoreUnavailable
from bot.domain.ports import QuestionRepository
from bot.tasks import ShieldedTasks, repeat_until_cancelled, retry_until_stored

log = structlog.get_logger()

STORED_WITHIN_SECONDS = 2.0
"""How long the database may take to store an intent; the acknowledgement, for which Slack waits 3 s, comes after it."""
HEARTBEAT_SECONDS = 30.0

T = TypeVar("T")

Response = Message | str | Reply | None
"""The reply to a request; None: the card shows the outcome."""


@dataclass(frozen=True, slots=True)
class SavedRequest:
    """A request that survives a crash from here on, so that it can be acknowledged."""

    outcome: Callable[[], Awaitable[Response]]
    """Do what was requested, and return the reply. Call it once, right away."""


class Intents:
    """Stores requests, and carries them out."""

    def __init__(
        self, questions: QuestionRepository, steps: ShieldedTasks, now: Callable[[], datetime]
    ) -> None:
        """`steps`: work that is finished before the process exits."""
        self._questions = questions
        self._steps = steps
        self._now = now
        self._withdrawals: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def save(
        self,
        question: PendingQuestion,
        prepare: Callable[[], Awaitable[T | Message]],
        proceed: Callable[[T], Awaitable[Response]],
    ) -> SavedRequest | None:
        """Store a request before anything is done about it. None: another process has stored it, and replies.

        Args:
            question: the request.
            prepare: finds out what to do, or returns why nothing is done. Raises only defects.
            proceed: does it, and binds the request or takes it back.

        Raises:
            StoreUnavailable: the database did not take it in time, and nothing was begun.
        """
        try:
            async with asyncio.timeout(STORED_WITHIN_SECONDS):
                is_new = await self._questions.begin(question)
        except (StoreUnavailable, TimeoutError) as error:
            # It may be stored all the same, and must not be reported later as if it had been accepted.
            self._withdraw_later(partial(_rollback_if_begun, self._questions, question, self._now()))
            raise StoreUnavailable(str(error) or "request not stored in time") from error

        async def outcome() -> Response:
            async with heartbeat(self._questions, question, self._now):
                prepared = await self._prepared(question, prepare)
                if isinstance(prepared, Message):
                    return self.withdrawn(question, prepared)
                return await proceed(prepared)

        return SavedRequest(outcome) if is_new else None

    async def _prepared(
        self, question: PendingQuestion, prepare: Callable[[], Awaitable[T | Message]]
    ) -> T | Message:
        try:
            return await prepare()
        except asyncio.CancelledError as ending:
            # Nothing was done. Until Slack has taken a reply that says so, the intent is left to be reported.
            raise InterruptedRequest(
                lambda: self._steps.run(_rollback(self._questions, question))
            ) from ending
        except Exception:
            # Nothing was done, and the caller replies so.
            await self._steps.run(_rollback(self._questions, question))
            raise

    def withdrawn(self, question: PendingQuestion, message: Message) -> Reply:
        """Return the reply to a request that had no effect. The request is deleted once the reply is delivered."""

        async def end() -> None:
            try:
                await self._questions.rollback(question.id)
            except StoreUnavailable:
                self._withdraw_later(partial(_rollback, self._questions, question))

        return Reply(message, end)

    async def end(self) -> None:
        """Stop on shutdown. Requests that could not be taken back are left to recovery."""
        for task in self._withdrawals:
            task.cancel()
        await asyncio.gather(*self._withdrawals, return_exceptions=True)

    def _withdraw_later(self, withdrawal: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._in_turn(withdrawal))
        self._withdrawals.add(task)
        task.add_done_callback(self._withdrawals.discard)

    async def _in_turn(self, withdrawal: Callable[[], Awaitable[None]]) -> None:
        """Run one at a time: the database is slow or away."""
        async with self._one_at_a_time:
            try:
                await withdrawal()
            except Exception:
                log.exception("background task failed")


@asynccontextmanager
async def heartbeat(
    questions: QuestionRepository, question: PendingQuestion, now: Callable[[], datetime]
) -> AsyncIterator[None]:
    """Heartbeat for a question in progress, so that other processes don't treat it as abandoned."""
    beats = repeat_until_cancelled(
        lambda: questions.heartbeat(question.id, now()),
        every_seconds=HEARTBEAT_SECONDS,
        failure_event="question heartbeat not stored",
        pause_first=True,
    )
    beating = asyncio.create_task(beats, name=f"heartbeat {question.id}")
    try:
        yield
    finally:
        beating.cancel()


async def _rollback(questions: QuestionRepository, question: PendingQuestion) -> None:
    try:
        await retry_until_stored(partial(questions.rollback, question.id), question=question.id)
    except StoreUnavailable as error:
        log.warning("question not rolled back", reason=str(error))


async def _rollback_if_begun(questions: QuestionRepository, question: PendingQuestion, now: datetime) -> None:
    """Delete a question that may have been stored, unless another process has taken it up since."""
    try:
        is_mine = await retry_until_stored(partial(questions.take_over, question, now), question=question.id)
    except StoreUnavailable as error:
        log.warning("question not rolled back", reason=str(error))
        return
    if is_mine:
        await _rollback(questions, question)
