"""What a follow costs the database: two writes for what people see, none for what they don't."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import cast

import pytest

from bot.delivery import updates
from bot.delivery.outcomes import CardOutcomes
from bot.domain.cards import Card, ChannelId, ChannelRef, UserId
from bot.domain.jobs import Job, JobId, JobState, Progress
from bot.domain.ports.omni import IdentityMapper, OmniQuestions, QueuePosition
from bot.domain.ports.slack import SlackViews
from bot.domain.ports.storage import QuestionRepository
from bot.domain.ports.worker import Runner
from bot.ratelimit import Rate, RateLimiter
from bot.services.lookups import Lookups
from bot.storage.cards import SqlCardRepository
from bot.storage.durations import SqlJobDurationRepository
from bot.storage.rate_limits import SqlRateLimitStore
from bot.storage.removals import SqlRemovalRepository
from bot.storage.transactions import Transactions
from bot.storage.undelivered import SqlFailedCardRepository
from bot.tracking import tracked_job
from bot.user_limit import UserLimit
from bot.worker.runner import TaskRunner
from bot.workspaces.wiring import Ports, build_components
from tests.support.databases import Opened, statements
from tests.support.fakes import (
    ADA,
    HERE,
    JOB,
    FakeChannelDefaults,
    FakeDirectory,
    FakeOmni,
    FakePreferences,
    FakeRatings,
    FakeSlackMessages,
    a_card,
    a_job,
)
from tests.support.tracking import RULES, TALLEST, charts, tell_nobody

PLENTY = Rate(interval_seconds=0.000_001, tolerance_seconds=1.0)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let questions and edits follow each other as fast as they can."""
    monkeypatch.setattr(tracked_job, "poll_interval_seconds", lambda *_: 0.005)
    monkeypatch.setattr(updates, "BETWEEN_EDITS_SECONDS", 0.0)


class MeteredOmni(FakeOmni):
    """Omni behind the stored budget of its key."""

    def __init__(self, limiter: RateLimiter) -> None:
        super().__init__(a_job())
        self.gate = limiter

    async def status(self, job: JobId, *, urgent: bool = False, position: QueuePosition | None = None) -> Job:
        await self.gate.acquire(urgent=urgent, position=position)
        return await super().status(job, urgent=urgent)


@dataclass
class Followed:
    """A job that is followed over a real database."""

    omni: MeteredOmni
    fake_slack: FakeSlackMessages
    runner: Runner
    process: Transactions

    async def polled(self, times: int) -> None:
        """Wait until Omni was asked so many times more."""
        enough = len(self.omni.asked) + times
        await until(lambda: len(self.omni.asked) >= enough)

    async def goes_on(self, step: int) -> None:
        """The job takes a step; wait until people see it and the database knows."""
        self.omni.answer = a_job(progress=Progress(f"step {step}", step))
        await until(lambda: f"step {step}" in self.fake_slack.top_level()[0].message.text)
        async with asyncio.timeout(10.0):
            while not all(
                card.shown_fingerprint
                for card in await SqlCardRepository(self.process, HERE.team).followed_cards(HERE.team, ADA)
            ):
                await asyncio.sleep(0.002)


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10.0):
        while not condition():
            await asyncio.sleep(0.002)


def now() -> datetime:
    return datetime.now(UTC)


def just_asked() -> Card:
    return replace(a_card(), requested_at=now())


@asynccontextmanager
async def following(database: Opened) -> AsyncIterator[Followed]:
    process = await database.process()
    ledger, store, fake_slack = (
        SqlRateLimitStore(process, now),
        SqlCardRepository(process, HERE.team),
        FakeSlackMessages(),
    )
    requests, edits = RateLimiter(ledger, "omni", PLENTY), RateLimiter(ledger, "chat.update", PLENTY)
    omni = MeteredOmni(requests)
    world = Ports(
        omni=omni,
        messages=fake_slack,
        cards=store,
        failed_cards=SqlFailedCardRepository(process, HERE.team),
        job_durations=SqlJobDurationRepository(process, HERE.team),
        pending_questions=cast(QuestionRepository, None),
        preferences=FakePreferences(),
        channel_defaults=FakeChannelDefaults(),
        ratings=FakeRatings(),
        removals=SqlRemovalRepository(process, HERE.team),
        questions=cast(OmniQuestions, None),
        views=cast(SlackViews, None),
        directory=FakeDirectory(),
        people=Lookups(FakeDirectory().user),
        identities=cast(IdentityMapper, None),
        reply_to_response_url=tell_nobody,
        now=now,
        team=HERE.team,
        bot_user=UserId("U0BOT"),
        user_limit=UserLimit(1_000),
    )
    parts = build_components(world, RULES, edits, CardOutcomes(), TaskRunner)
    task = asyncio.create_task(parts.updater.run())
    try:
        yield Followed(omni, fake_slack, parts.runner, process)
    finally:
        await parts.runner.stop()
        await parts.poster.tasks.drain()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await requests.close()
        await edits.close()


@pytest.fixture
async def followed(database: Opened) -> AsyncIterator[Followed]:
    """A running job whose card was posted."""
    async with following(database) as followed:
        await SqlCardRepository(followed.process, HERE.team).add(just_asked())
        await followed.runner.start(JOB)
        await until(lambda: followed.fake_slack.posted)
        await followed.goes_on(0)
        yield followed


def writes(sent: Sequence[str]) -> Counter[str]:
    """How often something was written into which table."""
    words = [statement.split() for statement in sent]
    return Counter(
        word[1] if word[0] == "UPDATE" else word[2]
        for word in words
        if word[0] in ("INSERT", "UPDATE", "DELETE")
    )


async def test_an_unchanged_job_costs_one_write_per_question_and_that_is_the_budgets(
    followed: Followed,
) -> None:
    with statements(followed.process.database) as sent:
        asked = len(followed.omni.asked)
        await followed.polled(30)
        asked = len(followed.omni.asked) - asked
    written = writes(sent)
    assert set(written) == {"budgets"}
    assert abs(written["budgets"] - asked) <= 1, "one may be on its way"


@pytest.mark.parametrize("changes", [1, 5])
async def test_a_change_that_people_see_costs_two_writes_and_one_of_the_edits_budget(
    followed: Followed, changes: int
) -> None:
    edits = len(followed.fake_slack.times("update"))
    with statements(followed.process.database) as sent:
        asked = len(followed.omni.asked)
        for step in range(1, changes + 1):
            await followed.goes_on(step)
        asked = len(followed.omni.asked) - asked
    assert len(followed.fake_slack.times("update")) - edits == changes
    written = writes(sent)
    assert set(written) == {"watches", "budgets"}
    assert written["watches"] == 2 * changes
    assert written["budgets"] <= asked + 1 + changes


async def test_a_whole_life_costs_two_writes_for_all_that_people_see_and_one_to_begin_and_to_end(
    database: Opened,
) -> None:
    async with following(database) as followed:
        store = SqlCardRepository(followed.process, HERE.team)
        await followed.process.ping()
        with statements(followed.process.database) as sent:
            await store.add(just_asked())
            await followed.runner.start(JOB)
            await until(lambda: followed.fake_slack.posted)
            for step in range(3):
                await followed.goes_on(step)
            followed.omni.answer = a_job(JobState.FAILED)
            await until(followed.fake_slack.replies)
            async with asyncio.timeout(10.0):
                while await store.open_jobs():
                    await asyncio.sleep(0.01)
    seen = len(followed.fake_slack.posted) + len(followed.fake_slack.times("update"))
    assert seen == 1 + 3 + 1 + 1, "a card, three steps, the end, a reply"
    written = writes(sent)
    to_add, to_begin, to_end = 1, 1, 1
    assert written["watches"] <= 2 * seen + to_add + to_begin + to_end
    assert written["followers"] == 1


async def test_an_answer_that_goes_on_in_its_thread_costs_two_writes_for_each_reply_and_file(
    database: Opened,
) -> None:
    async with following(database) as followed:
        store = SqlCardRepository(followed.process, HERE.team)
        await followed.process.ping()
        followed.omni.answer = a_job(JobState.COMPLETE, answer=TALLEST)
        followed.omni.image = b"a picture"
        await store.add(just_asked())
        with statements(followed.process.database) as sent:
            await followed.runner.start(JOB)
            async with asyncio.timeout(20.0):
                while await store.open_jobs():
                    await asyncio.sleep(0.01)
    assert len(followed.fake_slack.replies()) == 5 and len(followed.fake_slack.uploaded) == 1
    assert charts(followed.fake_slack) == ["card"]
    written = writes(sent)
    assert written["replies"] == 2 * (5 + 2)
    assert written["watches"] == 2 + 2 + 1 + 1, "a card, its chart, to begin and to end"


@pytest.mark.parametrize("cards", [1, 50])
async def test_a_look_at_the_table_is_two_reads_however_many_cards_there_are(
    database: Opened, cards: int
) -> None:
    store = await database.store(HERE.team)
    for number in range(cards):
        await store.add(a_card(f"watch{number}", ChannelRef(HERE.team, ChannelId(f"C{number}"))))
    claim, _ = await store.claim(JOB)
    with statements(store.transactions.database) as sent:
        assert len(await store.open_cards(JOB, claim)) == cards
    assert [statement.split()[0] for statement in sent if not statement.startswith("BEGIN")] == [
        "SELECT",
        "SELECT",
    ]
