"""Takes up what dead processes left behind: open cards, lost jobs, interrupted questions, unreported failures."""

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
"""After this long without a heartbeat a question counts as interrupted: several heartbeats were missed."""


async def report_interrupted_questions(
    questions: QuestionRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Notify users of interrupted questions by direct message; failed ones again later, and one process at a time.

    Nothing is submitted again. `alone_since`: when the only process started; none of its own questions is older.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    before = now() - ORPHANED_AFTER
    for orphan in await questions.interrupted(before if alone_since is None else max(before, alone_since)):
        if not await questions.take_over(orphan, now()):
            continue
        line = Message(replies.interrupted(orphan.follow) if orphan.follow else ask_replies.interrupted())
        try:
            is_sent = await send_direct_message(
                messages, orphan.channel, orphan.user, line, mark=orphan.id, since=orphan.asked_at
            )
        except SlackError as error:
            log.warning("interruption not reported", user=orphan.user, code=error.code)
            continue
        if is_sent:
            log.info("interruption reported", user=orphan.user)
        await questions.mark_reported(orphan.id)


LOOKED_AGAIN_AFTER = timedelta(minutes=10)
"""When a job that Omni did not know is polled once more. The card states this delay."""

SWEEP_SECONDS = 60.0
"""How often the database is searched."""


async def sweep(
    cards: CardRepository, runner: Runner, now: Callable[[], datetime], *, retention_days: float
) -> None:
    """Start trackers for open jobs without one and delete old cards, periodically until cancelled."""

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
    """Poll each lost job once more, periodically until cancelled; `start` tracks the jobs that Omni knows after all."""

    async def look_once() -> None:
        for job in await cards.lost_jobs(now() - LOOKED_AGAIN_AFTER):
            try:
                await _look_again(cards, omni, start, job)
            except OmniError as error:
                log.info("no status of a lost job", job=job, error=type(error).__name__, reason=str(error))

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
    """Report interrupted questions and delete old ones, periodically until cancelled. `alone_since`: see
    `report_interrupted_questions`."""

    async def sweep_once() -> None:
        await report_interrupted_questions(questions, messages, now, alone_since=alone_since)
        await questions.delete_old(now() - timedelta(days=retention_days))

    await repeat_until_cancelled(sweep_once, every_seconds=SWEEP_SECONDS, failure_event="asks not read")


async def sweep_failed_cards(
    failed_cards: FailedCardRepository,
    messages: SlackMessages,
    now: Callable[[], datetime],
    *,
    alone_since: datetime | None = None,
) -> None:
    """Report failed cards, periodically until cancelled. `alone_since`: see `report_failed_cards`."""
    await repeat_until_cancelled(
        lambda: report_failed_cards(failed_cards, messages, now, alone_since=alone_since),
        every_seconds=SWEEP_SECONDS,
        failure_event="failed cards not read",
    )
