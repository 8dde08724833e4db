"""Submit a question once. Omni has no idempotency key, so a question it may have accepted is never submitted again.

stored ──► prepared ──► submitted ──► bound to its job and card in one transaction ──► tracked like any other job
   │           │            ├── rejected ────────────► rolled back, and the user notified
   │           │            ├── outcome unknown ─────► the user notified
   │           │            └── conversation busy ───► a follow-up waits for the earlier job, then is submitted once
   │           └── refused ──────────────────────────► rolled back, and the user notified
   └── the process dies here or later ───────────────► another process notifies the user: see `tracking.recovery`
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
    AskRefused,
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
from bot.services.intents import Intents, heartbeat
from bot.services.targets import Target
from bot.tasks import ShieldedTasks, retry_until_stored
from bot.tracking import JobEventBus

log = structlog.get_logger()

NOTIFY_TRIES = 5
CONVERSATION_POLL_SECONDS = 5.0
UNKNOWN_JOB_SECONDS = 60.0
"""Wait before asking again in a conversation that is still busy though no known job runs: about as long as most jobs
take."""
LONGEST_WAIT_SECONDS = 1_800.0
LONGEST_LOGGED_DETAIL = 200


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question that is ready to be submitted."""

    act: Act
    pending: PendingQuestion
    question: Question
    target: Target
    thread: MessageTs | None
    """The thread in which the card is a reply."""
    unconfirmed_reply: Message
    """The reply if it is not known whether Omni accepted the question."""
    find_earlier_jobs: Callable[[], Awaitable[Sequence[JobId]]] | None = None
    """Finds the jobs that may keep the conversation busy. None: the question does not wait for them."""
    on_submitted: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Runs in the background once Omni has accepted the question."""


class QuestionSubmitter:
    """Submits questions and creates their cards."""

    def __init__(
        self,
        *,
        omni: OmniJobs,
        omni_questions: OmniQuestions,
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
        """`start` makes sure that a job is tracked. `events`: the webhooks to request; None: no webhooks."""
        self._omni = omni
        self._omni_questions = omni_questions
        self._messages = messages
        self._questions = questions
        self._intents = intents
        self._outcomes = outcomes
        self._follow_service = follow_service
        self._start = start
        self._steps = steps
        self._now = now
        self._events = events or JobEventBus()
        self._background: set[asyncio.Task[None]] = set()

    async def submit(self, prepared: PreparedQuestion) -> Message | Reply | None:
        """Submit a stored question once, or when its conversation is free, and return the reply."""
        try:
            return await self._submit(prepared)
        except ConversationBusy as error:
            if prepared.find_earlier_jobs is None:
                return self._roll_back(prepared, error)
        self._audit(prepared, "queued")
        self._run_in_background(self._submit_when_free(prepared))
        return Message(ask_replies.queued())

    async def stop(self) -> None:
        """Cancel the background tasks at the end of the process. Another process notifies the users."""
        await self._intents.end()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _submit(self, prepared: PreparedQuestion) -> Message | Reply | None:
        """Submit the question and return the reply. Raises ConversationBusy, and nothing was submitted."""
        card_id = CardId(str(uuid4()))
        with self._outcomes.subscribe(card_id) as outcome:
            try:
                card = await self._steps.run(self._submit_and_bind(prepared, card_id))
            except ConversationBusy:
                raise
            except SubmitOutcomeUnknown:
                return self._unconfirmed(prepared)
            except (OmniError, StoreUnavailable) as error:
                return self._roll_back(prepared, error)
            except _NotBound as error:
                return Message(ask_replies.job_not_stored(error.job))
            if prepared.on_submitted is not None:
                self._run_in_background(prepared.on_submitted())
            bind_job(card.job)
            await self._start(card.job)
            try:
                reply = await self._follow_service.outcome_of_new(card, outcome, prepared.target)
            except StoreUnavailable as error:
                log.warning("card outcome unknown", card=card.id, reason=str(error))
                reply = replies.card_is_late()
        return Message(reply) if isinstance(reply, str) else reply

    async def _submit_and_bind(self, prepared: PreparedQuestion, card_id: CardId) -> Card:
        """Raises the errors of `OmniQuestions.submit`, StoreUnavailable if nothing was submitted, and _NotBound."""
        pending = prepared.pending
        question = replace(prepared.question, webhook=self._events.webhook(pending.id))
        submitted = await self._omni_questions.submit(question)
        self._events.record_submitted(first_reading(submitted, question, self._now()))
        bind_job(submitted.job)
        card = Card(
            id=card_id,
            job=submitted.job,
            channel=prepared.target.channel,
            requester=pending.user,
            followers=(pending.user,),
            requested_at=pending.asked_at,
            thread=prepared.thread,
            asked_by_bot=True,
        )
        self._audit(prepared, "submitted", submitted.job)
        try:
            return await retry_until_stored(
                partial(self._questions.bind, pending.id, card), question=pending.id
            )
        except StoreUnavailable as error:
            log.error("job not stored", job=submitted.job, reason=str(error))
            raise _NotBound(submitted.job) from error

    def _unconfirmed(self, prepared: PreparedQuestion) -> Reply:
        self._audit(prepared, "outcome unknown")

        async def mark_reported() -> None:
            try:
                await self._questions.mark_reported(prepared.pending.id)
            except StoreUnavailable as error:
                # The user is notified once more, as of an interrupted question.
                log.warning("question not marked reported", reason=str(error))

        return Reply(prepared.unconfirmed_reply, mark_reported)

    def _roll_back(self, prepared: PreparedQuestion, error: Exception, reply: str | None = None) -> Reply:
        self._audit(prepared, " ".join(["failed:", type(error).__name__, *_status(error)]))
        if isinstance(error, AskRefused):
            detail = error.detail.replace(prepared.question.prompt, "…")[:LONGEST_LOGGED_DETAIL]
            log.warning("question refused by omni", status=error.status, detail=detail)
        if reply is None:
            reply = ask_replies.rejected(error) if isinstance(error, OmniError) else replies.storage_down()
        return self._intents.withdrawn(prepared.pending, Message(reply))

    async def _submit_when_free(self, prepared: PreparedQuestion) -> None:
        async with heartbeat(self._questions, prepared.pending, self._now):
            reply = await self._submit_after_earlier_jobs(prepared)
            # With the heartbeat: if this process ends now, another notifies the user.
            if isinstance(reply, Reply):
                if await self._notify(prepared.pending, reply.message):
                    await reply.on_delivered()
            elif reply is not None:
                await self._notify(prepared.pending, reply)

    async def _submit_after_earlier_jobs(self, prepared: PreparedQuestion) -> Message | Reply | None:
        jobs = await prepared.find_earlier_jobs() if prepared.find_earlier_jobs is not None else ()
        try:
            if not await _wait_for_jobs(self._omni, jobs):
                # The job that kept the conversation busy has just ended, or is not known.
                await asyncio.sleep(CONVERSATION_POLL_SECONDS)
                try:
                    return await self._submit_if_pending(prepared)
                except ConversationBusy:
                    await asyncio.sleep(UNKNOWN_JOB_SECONDS - CONVERSATION_POLL_SECONDS)
            return await self._submit_if_pending(prepared)
        except ConversationBusy as error:
            return self._roll_back(prepared, error, ask_replies.still_busy())
        except StoreUnavailable as error:
            return self._roll_back(prepared, error)

    async def _submit_if_pending(self, prepared: PreparedQuestion) -> Message | Reply | None:
        if not await self._questions.heartbeat(prepared.pending.id, self._now()):
            return None  # this process was paused for so long that another has notified the user
        return await self._submit(prepared)

    async def _notify(self, pending: PendingQuestion, message: Message) -> bool:
        """Send the user a direct message, because the interaction is over. False if Slack did not accept it."""
        failures = 0
        while failures < NOTIFY_TRIES:
            try:
                await send_direct_message(
                    self._messages,
                    pending.channel,
                    pending.user,
                    message,
                    mark=pending.id,
                    since=pending.asked_at,
                )
            except SlackError as error:
                if isinstance(error, OutcomeUnknown):
                    await asyncio.sleep(SETTLED_AFTER_SECONDS)
                failures = await back_off(error, failures)
            else:
                return True
        log.warning("reply not delivered", user=pending.user)
        return False

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except Exception:
                log.exception("background task failed")

        task = asyncio.create_task(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _audit(self, prepared: PreparedQuestion, outcome: str, job: JobId | None = None) -> None:
        audit(prepared.act, prepared.pending.user, prepared.target.channel, outcome, job=job)


async def _wait_for_jobs(omni: OmniJobs, jobs: Sequence[JobId]) -> bool:
    """Wait until these jobs have ended. False if none was running. Raises ConversationBusy after
    `LONGEST_WAIT_SECONDS`."""

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
            active = [job for job in jobs if await is_active(job, urgent=True)]
            if not active:
                return False
            while active:
                await asyncio.sleep(CONVERSATION_POLL_SECONDS)
                active = [job for job in active if await is_active(job)]
    except TimeoutError:
        raise ConversationBusy("409") from None
    return True


def _status(error: Exception) -> tuple[str, ...]:
    return (str(error.status),) if isinstance(error, AskRefused) else ()


class _NotBound(Exception):
    """Omni accepted a question, but its job could not be stored."""

    def __init__(self, job: JobId) -> None:
        super().__init__(job)
        self.job = job
