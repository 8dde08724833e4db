"""What is open in the table is followed, at the start and ever after, and what is long over is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.cards import CardId
from bot.domain.errors import OmniUnreachable, StoreUnavailable
from bot.domain.jobs import JobId, JobState
from bot.domain.questions import PendingQuestion, QuestionId
from bot.rendering import ask_replies, replies
from bot.tracking.recovery import SWEEP_SECONDS, look_again, report_interrupted_questions, sweep, sweep_asks
from tests.support.ask_world import OLD_JOB, ManyJobs
from tests.support.fakes import (
    ADA,
    HERE,
    JOB,
    START,
    FakeCards,
    FakeQuestions,
    FakeSlackMessages,
    a_card,
    now,
)

pytestmark = pytest.mark.looptime


class RememberingRunner:
    """Remembers what it was asked to see followed, and when."""

    def __init__(self) -> None:
        self.ensured: list[tuple[float, list[JobId]]] = []
        self.error: Exception | None = None

    async def start(self, job: JobId) -> None:
        raise AssertionError("a sweep disturbs nobody who follows already")

    async def start_missing(self, jobs: Sequence[JobId]) -> None:
        if self.error is not None:
            raise self.error
        self.ensured.append((asyncio.get_running_loop().time(), list(jobs)))

    async def stop(self) -> None: ...


@asynccontextmanager
async def swept(cards: FakeCards, retention_days: float = 30.0) -> AsyncIterator[RememberingRunner]:
    runner = RememberingRunner()
    task = asyncio.create_task(sweep(cards, runner, now, retention_days=retention_days))
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_open_job_is_taken_up_at_once_and_again_every_minute() -> None:
    cards = FakeCards(a_card())
    async with swept(cards) as runner:
        await asyncio.sleep(0.1)
        assert runner.ensured == [(0.0, [JOB])]
        cards.rows[CardId("watch")] = replace(a_card(), closed_at=now())
        await asyncio.sleep(2 * SWEEP_SECONDS)
    assert runner.ensured == [(0.0, [JOB]), (SWEEP_SECONDS, []), (2 * SWEEP_SECONDS, [])]


async def test_what_was_closed_longer_ago_than_it_is_kept_is_forgotten() -> None:
    closed = {
        days: replace(a_card(f"{days}"), closed_at=START - timedelta(days=days)) for days in (29, 31, 900)
    }
    ancient = replace(a_card("open"), requested_at=START - timedelta(days=900))
    cards = FakeCards(*closed.values(), ancient)
    async with swept(cards):
        await asyncio.sleep(0.1)
        assert set(cards.rows) == {"29", "open"}


async def test_it_is_kept_as_long_as_the_operator_wants() -> None:
    cards = FakeCards(replace(a_card(), closed_at=START))
    async with swept(cards, retention_days=0.5):
        await asyncio.sleep(12 * 3_600 - 30)
        assert set(cards.rows) == {"watch"}
        await asyncio.sleep(SWEEP_SECONDS + 60)
        assert cards.rows == {}


@pytest.mark.parametrize("who", ["table", "queue"])
async def test_a_database_that_is_away_is_asked_again_with_the_next_sweep(who: str) -> None:
    cards = FakeCards(a_card())
    async with swept(cards) as runner:
        cards.error = StoreUnavailable("away") if who == "table" else None
        runner.error = StoreUnavailable("away") if who == "queue" else None
        await asyncio.sleep(2.5 * SWEEP_SECONDS)
        assert runner.ensured == []
        cards.error = runner.error = None
        await asyncio.sleep(SWEEP_SECONDS)
    assert runner.ensured == [(3 * SWEEP_SECONDS, [JOB])]


# Lost jobs


async def test_unreadable_lost_job_delays_no_other() -> None:
    lost = replace(a_card(), closed_at=START - timedelta(hours=1), outcome=JobState.UNKNOWN)
    cards, omni, started = FakeCards(replace(lost, id=CardId("old"), job=OLD_JOB), lost), ManyJobs(), []
    omni.jobs[OLD_JOB] = OmniUnreachable("HTTP 500")

    async def start(job: JobId) -> None:
        started.append(job)

    task = asyncio.create_task(look_again(cards, omni, start, now))
    await asyncio.sleep(0.5 * SWEEP_SECONDS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert started == [JOB]


# Asks


async def test_a_process_that_is_alone_tells_at_once_of_what_the_one_before_it_left() -> None:
    questions, fake_slack = FakeQuestions(FakeCards()), FakeSlackMessages()
    started = START + timedelta(seconds=10)
    for name, at in (("orphan", START), ("mine", started)):
        await questions.begin(PendingQuestion(QuestionId(name), HERE, ADA, at, at))
    sweeping = sweep_asks(questions, fake_slack, lambda: started, retention_days=30.0, alone_since=started)
    task = asyncio.create_task(sweeping)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert questions.told_of == {"orphan"}


async def test_orphaned_follow_is_reported_as_one() -> None:
    questions, fake_slack = FakeQuestions(FakeCards()), FakeSlackMessages()
    await questions.begin(PendingQuestion(QuestionId("orphan"), HERE, ADA, START, START, follow=JOB))
    started = START + timedelta(seconds=10)
    await report_interrupted_questions(questions, fake_slack, lambda: started, alone_since=started)
    assert [posted.message.text for posted in fake_slack.posted.values()] == [replies.interrupted(JOB)]


async def test_orphaned_asks_are_told_of_and_old_ones_forgotten_though_the_database_was_away() -> None:
    questions, fake_slack = FakeQuestions(FakeCards()), FakeSlackMessages()
    for name, at in (("orphan", START), ("old", START - timedelta(days=31))):
        await questions.begin(
            PendingQuestion(QuestionId(name), HERE, ADA, at, at, job=None if name == "orphan" else JOB)
        )
    questions.error = StoreUnavailable("away")
    task = asyncio.create_task(sweep_asks(questions, fake_slack, now, retention_days=30.0))
    await asyncio.sleep(10 * SWEEP_SECONDS)
    assert set(questions.rows) == {"orphan", "old"}
    questions.error = None
    await asyncio.sleep(3 * SWEEP_SECONDS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert set(questions.rows) == {"orphan"} == questions.told_of
    assert [posted.message.text for posted in fake_slack.posted.values()] == [ask_replies.interrupted()]
