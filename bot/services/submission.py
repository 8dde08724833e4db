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

from bot.delivery import SETTLED_AFTER_SECONDS, CardOutcomes, Reply, back_off, send_direct_message
from bot.domain import (
    Card,
    CardId,
    ConversationBusy,
    JobId,
    JobNotFound,
    Message,
    MessageTs,
    OmniError,
    OutcomeUnknown,
    PendingQuestion,
    Question,
    SlackError,
    StoreUnavailable,
    SubmitOutcomeUnknown,
    first_reading,
)
from bot.domain.ports import OmniJobs, OmniQuestions, QuestionRepository, SlackMessages
from bot.log import Act, audit, bind_job
from bot.rendering import ask_replies, replies
from bot.services.follow import FollowService
from bot.services.intents import Intents, SavedRequest, heartbeat
from bot.services.targets import Target
from bot.tasks import ShieldedTasks, retry_until_stored
from bot.tracking import JobEventBus

log = structlog.get_logger()

NOTIFY_TRIES = 5
CONVERSATION_POLL_SECONDS = 5.0
UNKNOWN_JOB_SECONDS = 60.0
"""Wait before asking in a busy conversation whose active job is not known: about as long as most jobs take."""
LONGEST_WAIT_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question on its way, and what it is for whoever asks."""

    act: Act
    ask: PendingQuestion
    question: Question
    destination: Target
    thread: MessageTs | None
    """The thread that the card is to be a reply in."""
    unanswered: Message
    """What to tell where nobody knows whether Omni has taken it."""
    ahead: Callable[[], Awaitable[Sequence[JobId]]] | None = None
    """Finds the jobs that may keep the chat busy, and raises nothing; None: the question does not wait for its
    turn."""
    taken: Callable[[], Coroutine[Any, Any, None]] | None = None
    """What is left to do once Omni has taken it."""


Prepare = Callable[[], Awaitable[PreparedQuestion | Message]]
"""Finds out what to submit; a message where that is nothing, with what to tell the person. Raises nothing that the
world around can cause."""


class QuestionSubmitter:
    """Sees questions through from the intention to the card."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        asking: OmniQuestions,
        messages: SlackMessages,
        questions: QuestionRepository,
        intents: Intents,
        outcomes: CardOutcomes,
        follow_service: FollowService,
        start: Callable[[JobId], Awaitable[None]],
        steps: ShieldedTasks,
        now: Callable[[], datetime],
        events: JobEventBus | None = None,
    ) -> None:
        """`follow_service`: tells what became of a card. `start` sees that a job is followed. `steps`: what
        is settled before
        the process ends. `events`: what Omni is asked to tell by itself; None: nothing."""
        self._omni = omni
        self._asking = asking
        self._messages = messages
        self._questions = questions
        self._intents = intents
        self._outcomes = outcomes
        self._follow_service = follow_service
        self._start = start
        self._steps = steps
        self._now = now
        self._events = events or JobEventBus()
        self._interactions: set[asyncio.Task[None]] = set()

    async def save(self, question: PendingQuestion, prepare: Prepare) -> SavedRequest | None:
        """Store a question. Its outcome prepares it, submits it once and follows its job.

        Raises:
            StoreUnavailable: the database did not take it, and nothing was begun.
            TooManyFollows: the user follows as much as one may, and nothing was begun.
        """
        return await self._intents.save(question, prepare, self._submit_or_queue)

    async def _submit_or_queue(self, submission: PreparedQuestion) -> Message | Reply | None:
        try:
            return await self._submit(submission)
        except ConversationBusy as error:
            if submission.ahead is None:
                return self._refused(submission, error)
        self._note(submission, "queued")
        self._spawn(self._wait_for_turn(submission))
        return Message(ask_replies.queued())

    async def stop(self) -> None:
        """Leave what waits to `orphans`. For the end of the process."""
        await self._intents.end()
        for task in self._interactions:
            task.cancel()
        await asyncio.gather(*self._interactions, return_exceptions=True)

    async def _submit(self, submission: PreparedQuestion) -> Message | Reply | None:
        """Submit it now. Raises ConversationBusy, and does nothing of what that asks for."""
        card = CardId(str(uuid4()))
        with self._outcomes.subscribe(card) as arrival:
            try:
                mine = await self._steps.run(self._submit_and_bind(submission, card))
            except ConversationBusy:
                raise
            except SubmitOutcomeUnknown:
                return self._unanswered(submission)
            except (OmniError, StoreUnavailable) as error:
                return self._refused(submission, error)
            except _NotBound as error:
                return Message(ask_replies.job_not_stored(error.job))
            if submission.taken is not None:
                self._spawn(submission.taken())
            bind_job(mine.job)
            await self._start(mine.job)
            try:
                said = await self._follow_service.outcome_of_new(mine, arrival, submission.destination)
            except StoreUnavailable as error:
                log.warning("arrival not known", watch=mine.id, reason=str(error))
                said = replies.card_is_late()
        return Message(said) if isinstance(said, str) else said

    async def _submit_and_bind(self, submission: PreparedQuestion, card_id: CardId) -> Card:
        """Raises what `OmniQuestions.submit` does, StoreUnavailable where nothing was begun, and _NotBound."""
        ask = submission.ask
        question = replace(submission.question, webhook=self._events.webhook(ask.id))
        submitted = await self._asking.submit(question)
        self._events.record_submitted(first_reading(submitted, question, self._now()))
        bind_job(submitted.job)
        mine = Card(
            id=card_id,
            job=submitted.job,
            channel=submission.destination.place,
            requester=ask.user,
            followers=(ask.user,),
            requested_at=ask.asked_at,
            thread=submission.thread,
            asked_by_bot=True,
        )
        self._note(submission, "taken", submitted.job)
        try:
            return await retry_until_stored(card_id, partial(self._questions.bind, ask.id, mine))
        except StoreUnavailable as error:
            log.error("job not stored", job=submitted.job, reason=str(error))
            raise _NotBound(submitted.job) from error

    def _unanswered(self, submission: PreparedQuestion) -> Reply:
        self._note(submission, "perhaps taken")

        async def end() -> None:
            try:
                await self._questions.mark_reported(submission.ask.id)
            except StoreUnavailable as error:
                # Then it is told once more, as an orphan.
                log.warning("ask not ended", reason=str(error))

        return Reply(submission.unanswered, end)

    def _refused(self, submission: PreparedQuestion, error: Exception, line: str | None = None) -> Reply:
        self._note(submission, f"failed: {type(error).__name__}")
        line = line or (
            ask_replies.rejected(error) if isinstance(error, OmniError) else replies.storage_down()
        )
        return self._intents.withdrawn(submission.ask, Message(line))

    # Behind another job

    async def _wait_for_turn(self, submission: PreparedQuestion) -> None:
        async with heartbeat(self._questions, submission.ask, self._now):
            word = await self._submit_in_turn(submission)
            # Still in hand: should this process end meanwhile, another tells.
            if isinstance(word, Reply):
                if await self._tell(submission.ask, word.message):
                    await word.on_delivered()
            elif word is not None:
                await self._tell(submission.ask, word)

    async def _submit_in_turn(self, submission: PreparedQuestion) -> Message | Reply | None:
        ahead = await submission.ahead() if submission.ahead is not None else ()
        try:
            if not await _wait_for_conversation(self._omni, ahead):
                raise ConversationBusy("409")
            if not await self._questions.heartbeat(submission.ask.id, self._now()):
                return None  # this process was paused for so long that another has told of it
            return await self._submit(submission)
        except ConversationBusy as error:
            return self._refused(submission, error, ask_replies.still_busy())
        except StoreUnavailable as error:
            return self._refused(submission, error)

    async def _tell(self, question: PendingQuestion, message: Message) -> bool:
        """Tell the person, who has gone on since, in direct messages. False if Slack does not take it."""
        failures = 0
        while failures < NOTIFY_TRIES:
            try:
                await send_direct_message(
                    self._messages,
                    question.place,
                    question.user,
                    message,
                    mark=question.id,
                    since=question.asked_at,
                )
            except SlackError as error:
                if isinstance(error, OutcomeUnknown):
                    await asyncio.sleep(SETTLED_AFTER_SECONDS)
                failures = await back_off(error, failures)
            else:
                return True
        log.warning("reply not delivered", user=question.user)
        return False

    def _spawn(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._see_through(errand))
        self._interactions.add(task)
        task.add_done_callback(self._interactions.discard)

    async def _see_through(self, errand: Coroutine[Any, Any, None]) -> None:
        try:
            await errand
        except Exception:
            log.exception("errand broke")

    def _note(self, submission: PreparedQuestion, outcome: str, job: JobId | None = None) -> None:
        audit(submission.act, submission.ask.user, submission.destination.place, outcome, job=job)


async def _wait_for_conversation(omni: OmniJobs, ahead: Sequence[JobId]) -> bool:
    """Wait until these jobs have ended. False after `LONGEST_WAIT_SECONDS`."""

    async def is_active(job: JobId, *, urgent: bool = False) -> bool:
        try:
            return not (await omni.status(job, urgent=urgent)).state.is_final
        except JobNotFound:
            return False
        except (OmniError, StoreUnavailable) as error:
            log.info("job status unknown", job=job, error=type(error).__name__)
            return True

    try:
        async with asyncio.timeout(LONGEST_WAIT_SECONDS):
            # Immediately, because a job that ends before the first poll looks like one that is not known.
            active = [job for job in ahead if await is_active(job, urgent=True)]
            if not active:
                await asyncio.sleep(UNKNOWN_JOB_SECONDS)
            while active:
                await asyncio.sleep(CONVERSATION_POLL_SECONDS)
                active = [job for job in active if await is_active(job)]
    except TimeoutError:
        return False
    return True


class _NotBound(Exception):
    """Omni has taken a question, and the database did not take that."""

    def __init__(self, job: JobId) -> None:
        super().__init__(job)
        self.job = job
