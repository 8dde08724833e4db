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
from bot.domain import (
    Message,
    NotAllowedHere,
    OmniError,
    PendingQuestion,
    Refused,
    ScopeMissing,
    SlackError,
    StoreUnavailable,
    TooManyFollows,
)
from bot.domain.ports import QuestionRepository
from bot.log import Act, audit
from bot.rendering import ask_replies, refusal_replies, replies
from bot.tasks import ShieldedTasks, repeat_until_cancelled, retry_until_stored

log = structlog.get_logger()

STORED_WITHIN_SECONDS = 2.0
"""How long the database may take to store an intent; the acknowledgement, for which Slack waits 3 s, comes after it."""
PREPARED_WITHIN_SECONDS = 15.0
"""How long a user waits for the look-ups before anything is begun: who they are, and which job is whose."""
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
        self,
        questions: QuestionRepository,
        steps: ShieldedTasks,
        now: Callable[[], datetime],
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
        prepare: Callable[[], Awaitable[T]],
        proceed: Callable[[T], Awaitable[Response]],
    ) -> SavedRequest | Response:
        """Store a request before anything is done about it.

        Args:
            question: the request.
            prepare: finds out what to do. May raise Refused, OmniError, SlackError and StoreUnavailable: then nothing
                is done, and the reply says why.
            proceed: does it, and binds the request or takes it back. Raises only defects.

        Returns:
            The saved request, whose outcome is its reply; or a reply, and nothing was begun. None: another process
            has stored the request, and replies.
        """
        act = Act.FOLLOW if question.follow else Act.ASK
        try:
            async with asyncio.timeout(STORED_WITHIN_SECONDS):
                is_new = await self._questions.begin(question)
        except TooManyFollows as error:
            audit(act, question.user, question.channel, "refused: too many open follows")
            return replies.too_many_follows(error.most)
        except (StoreUnavailable, TimeoutError) as error:
            # It may be stored all the same, and must not be reported later as if it had been accepted.
            self._withdraw_later(partial(_rollback_if_begun, self._questions, question, self._now()))
            log.error("request not stored", act=act.value, reason=str(error) or "not in time")
            return replies.storage_down()

        async def outcome() -> Response:
            async with heartbeat(self._questions, question, self._now):
                try:
                    async with asyncio.timeout(PREPARED_WITHIN_SECONDS):
                        prepared = await prepare()
                except asyncio.CancelledError as ending:
                    # Nothing was done. Until Slack has taken a reply that says so, the intent is left to be reported.
                    raise InterruptedRequest(
                        lambda: self._steps.run(_rollback(self._questions, question))
                    ) from ending
                except Exception as error:
                    if (reply := self._refusal(question, error)) is not None:
                        return self.withdrawn(question, Message(reply))
                    # Nothing was done, and the caller replies so.
                    await self._steps.run(_rollback(self._questions, question))
                    raise
                return await proceed(prepared)

        return SavedRequest(outcome) if is_new else None

    def _refusal(self, question: PendingQuestion, error: Exception) -> str | None:
        """Return the reply to an error of the preparation; None: it is a defect."""
        match error:
            case Refused():
                return error.reply
            case OmniError():
                return replies.not_looked_up(error) if question.follow else ask_replies.rejected(error)
            case SlackError():
                log.warning("no direct message", code=error.code)
                is_closed = isinstance(error, NotAllowedHere | ScopeMissing)
                return refusal_replies.no_direct_messages(error.code) if is_closed else replies.slack_busy()
            case TimeoutError():
                return replies.omni_busy()
            case StoreUnavailable():
                log.error("request not prepared", reason=str(error))
                return replies.storage_down()
        return None

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
