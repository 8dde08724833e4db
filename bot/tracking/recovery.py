"""Questions and follows that were in the hands of a process that is gone: their people are told, and nothing is done
again."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from bot.delivery import report_failed_cards, send_direct_message
from bot.domain import JobId, JobNotFound, Message, OmniError, SlackError
from bot.domain.ports import (
    CardRepository,
    FailedCardRepository,
    OmniJobs,
    QuestionRepository,
    Runner,
    SlackMessages,
)
from bot.rendering import ask_replies, replies
from bot.tasks import repeat_until_cancelled

log = structlog.get_logger()


ORPHANED_AFTER = timedelta(minutes=3)
"""For so long no process has said that it has a question in hand: several of its touches were missed."""


async def report_interrupted_questions(
    questions: QuestionRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Tell in direct messages. Who can't be told now is told later, and by one process at a time.

    `alone_since`: since when no other process can have one in hand, if there is but this one.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    before = now() - ORPHANED_AFTER
    for orphan in await questions.interrupted(before if alone_since is None else max(before, alone_since)):
        if not await questions.take_over(orphan, now()):
            continue
        line = Message(replies.interrupted(orphan.follow) if orphan.follow else ask_replies.interrupted())
        try:
            told = await send_direct_message(
                messages, orphan.place, orphan.user, line, mark=orphan.id, since=orphan.asked_at
            )
        except SlackError as error:
            log.warning("orphan not told", user=orphan.user, code=error.code)
            continue
        if told:
            log.info("orphan told", user=orphan.user)
        await questions.mark_reported(orphan.id)


LOOKED_AGAIN_AFTER = timedelta(minutes=10)
"""How long after a follow has ended because Omni did not know the job any more. The card says it in words."""

SWEEP_SECONDS = 60.0
"""How often the table is searched for an open watch that nobody follows."""


async def sweep(
    cards: CardRepository, runner: Runner, now: Callable[[], datetime], *, retention_days: float
) -> None:
    """Compare the table with what is followed, again and again, until cancelled."""

    async def sweep_once() -> None:
        jobs = await cards.open_jobs()
        await runner.start_missing(jobs)
        forgotten = await cards.delete_closed(now() - timedelta(days=retention_days))
        log.debug("swept", jobs=len(jobs), forgotten=forgotten)

    await repeat_until_cancelled(
        sweep_once, every_seconds=SWEEP_SECONDS, failure_event="open follows not read"
    )


async def look_again(
    cards: CardRepository,
    omni: OmniJobs,
    start: Callable[[JobId], Awaitable[None]],
    now: Callable[[], datetime],
) -> None:
    """Ask Omni once more about each job that it did not know any more, until cancelled. `start` follows one that it
    knows after all."""

    async def look_once() -> None:
        try:
            for job in await cards.lost_jobs(now() - LOOKED_AGAIN_AFTER):
                await _look_again(cards, omni, start, job)
        except OmniError as error:
            log.info("no status of a lost job", error=type(error).__name__, reason=str(error))

    await repeat_until_cancelled(look_once, every_seconds=SWEEP_SECONDS, failure_event="lost jobs not read")


async def _look_again(
    cards: CardRepository, omni: OmniJobs, start: Callable[[JobId], Awaitable[None]], job: JobId
) -> None:
    try:
        await omni.status(job)
    except JobNotFound:
        await cards.settle_lost(job, found=False)
        return
    await cards.settle_lost(job, found=True)
    log.info("lost job found", job=job)
    await start(job)


async def sweep_asks(
    questions: QuestionRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    retention_days: float,
    alone_since: datetime | None = None,
) -> None:
    """Tell of the questions that nobody has in hand any more, and forget old ones, until cancelled. `alone_since`: see
    `report_interrupted_questions`."""

    async def sweep_once() -> None:
        await report_interrupted_questions(questions, messages, now, alone_since=alone_since)
        await questions.delete_old(now() - timedelta(days=retention_days))

    await repeat_until_cancelled(sweep_once, every_seconds=SWEEP_SECONDS, failure_event="asks not read")


async def sweep_given_ups(
    failed_cards: FailedCardRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Tell of the follows that came to nothing, until cancelled. `alone_since`: see `report_failed_cards`."""
    await repeat_until_cancelled(
        lambda: report_failed_cards(failed_cards, messages, now, alone_since=alone_since),
        every_seconds=SWEEP_SECONDS,
        failure_event="given up follows not read",
    )
