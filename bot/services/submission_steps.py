"""Says that a process has a question in hand, as long as it has: nobody shall take it for one that a dead one left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

import structlog

from bot.domain import CardId, JobId, JobNotFound, OmniError, PendingQuestion, StoreUnavailable
from bot.domain.ports import OmniJobs, QuestionRepository
from bot.tasks import retry_until_stored

log = structlog.get_logger()


TOUCHED_EVERY_SECONDS = 30.0


@asynccontextmanager
async def heartbeat(
    questions: QuestionRepository, question: PendingQuestion, now: Callable[[], datetime]
) -> AsyncIterator[None]:
    """Say so again and again, until the context is left."""
    touching = asyncio.create_task(_touch(questions, question, now), name=f"touch {question.id}")
    try:
        yield
    finally:
        touching.cancel()


async def _touch(
    questions: QuestionRepository, question: PendingQuestion, now: Callable[[], datetime]
) -> None:
    while True:
        await asyncio.sleep(TOUCHED_EVERY_SECONDS)
        try:
            await questions.heartbeat(question.id, now())
        except StoreUnavailable as error:
            log.warning("ask not touched", reason=str(error))


BETWEEN_LOOKS_SECONDS = 5.0

UNKNOWN_JOB_SECONDS = 60.0
"""How long is waited where none of the jobs runs, so that another must: about as long as most take."""

WAITS_AT_MOST_SECONDS = 1_800.0


async def wait_for_conversation(omni: OmniJobs, ahead: Sequence[JobId]) -> bool:
    """Wait for the end of these jobs. False if that takes longer than a question can wait."""
    try:
        async with asyncio.timeout(WAITS_AT_MOST_SECONDS):
            # At once: a job that ends before the first look can't be told from one that nobody knows.
            active = [job for job in ahead if await _is_active(omni, job, urgent=True)]
            if not active:
                await asyncio.sleep(UNKNOWN_JOB_SECONDS)
            while active:
                await asyncio.sleep(BETWEEN_LOOKS_SECONDS)
                active = [job for job in active if await _is_active(omni, job)]
    except TimeoutError:
        return False
    return True


async def _is_active(omni: OmniJobs, job: JobId, *, urgent: bool = False) -> bool:
    """Whether it runs; where Omni does not tell, it may."""
    try:
        return not (await omni.status(job, urgent=urgent)).state.is_final
    except JobNotFound:
        return False
    except (OmniError, StoreUnavailable) as error:
        log.info("no status", job=job, error=type(error).__name__)
        return True


async def rollback(questions: QuestionRepository, question: PendingQuestion) -> None:
    """Forget a question that is in the table."""
    try:
        await retry_until_stored(CardId(question.id), partial(questions.rollback, question.id))
    except StoreUnavailable as error:
        log.warning("ask not withdrawn", reason=str(error))


async def rollback_if_begun(questions: QuestionRepository, question: PendingQuestion, now: datetime) -> None:
    """Forget a question of which the database did not say whether it has taken it. Another process may have taken the
    same message up, and asks it: what that one has stored is left alone."""
    try:
        is_mine = await retry_until_stored(CardId(question.id), partial(questions.take_over, question, now))
    except StoreUnavailable as error:
        log.warning("ask not withdrawn", reason=str(error))
        return
    if is_mine:
        await rollback(questions, question)
