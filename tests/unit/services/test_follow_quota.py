"""One person follows only so many running jobs, also when many commands come in the same moment."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from bot.domain.cards import API_CLIENT, Card, CardId, MessageTs, UserId
from bot.domain.errors import TooManyFollows
from bot.domain.jobs import JobId, JobState
from bot.domain.ports.storage import CardRepository, QuestionRepository
from bot.domain.questions import PendingQuestion, QuestionId
from bot.rendering import replies
from bot.services.ask import AskRequest
from bot.storage.questions import SqlQuestionRepository
from tests.support import fakes
from tests.support.ask_world import AskWorld, said
from tests.support.databases import ADA, GRACE, HERE, NOON, TEAM, followed, new_card, opened
from tests.support.fakes import FakeCards, FakeQuestions

MOST = 5
COMMANDS = 20


@dataclass
class Tables:
    """The tables, as several processes have them where the database is shared."""

    stores: list[CardRepository]
    questions: QuestionRepository

    @property
    def store(self) -> CardRepository:
        return self.stores[0]

    async def n_followed(self) -> int:
        return len(await self.store.followed_cards(TEAM, ADA))


@pytest.fixture
async def tables(kept_in: str | None) -> AsyncIterator[Tables]:
    """Empty tables of each kind, with a limit."""
    if kept_in is None:
        kept = FakeCards()
        kept.most_open_follows = MOST
        yield Tables([kept], FakeQuestions(kept))
        return
    async with opened(kept_in) as database:
        stores = [await database.store(most_open_follows=MOST) for _ in range(3)]
        yield Tables(list(stores), SqlQuestionRepository(await database.process(), TEAM, MOST))


def other_job(*people: UserId) -> Card:
    return new_card(HERE, *people, job=JobId(str(uuid4())))


def ask(name: str) -> PendingQuestion:
    return PendingQuestion(QuestionId(name), HERE, ADA, NOON, NOON)


async def refused(*calls: Coroutine[Any, Any, object]) -> int:
    """Make the calls at the same moment. Returns how many are refused because of the limit."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [error.most for error in errors if isinstance(error, TooManyFollows)] == [MOST] * len(errors)
    return len(errors)


async def test_limit_holds_for_commands_at_once(tables: Tables) -> None:
    stores = tables.stores
    calls = [stores[number % len(stores)].add(other_job(ADA)) for number in range(COMMANDS)]
    assert await refused(*calls) == COMMANDS - MOST
    assert await tables.n_followed() == len(await tables.store.open_jobs()) == MOST
    await tables.store.add(other_job(GRACE))


async def test_limit_holds_for_joining_at_once(tables: Tables) -> None:
    theirs = [await tables.store.add(other_job(UserId(f"U{number}"))) for number in range(COMMANDS)]
    calls = [tables.store.add(new_card(HERE, ADA, job=one.job)) for one in theirs]
    assert await refused(*calls) == COMMANDS - MOST
    assert await tables.n_followed() == MOST


async def test_limit_holds_for_resuming_at_once(tables: Tables) -> None:
    rested = []
    for number in range(COMMANDS):
        job = JobId(str(uuid4()))
        rested.append(await followed(tables.store, UserId(f"U{number}"), job=job))
        await tables.store.close(rested[-1], NOON)
    calls = [tables.store.resume(one.id, ADA, NOON + timedelta(hours=1)) for one in rested]
    assert await refused(*calls) == COMMANDS - MOST
    assert await tables.n_followed() == len(await tables.store.open_jobs()) == MOST


async def test_announced_jobs_are_not_limited(tables: Tables) -> None:
    calls = [tables.store.add(other_job(API_CLIENT, ADA)) for _ in range(2 * MOST)]
    assert await refused(*calls) == 0
    assert await refused(tables.store.add(other_job(ADA))) == 1, "those mentioned follow them like any others"


async def test_ended_and_known_jobs_are_no_more_follows(tables: Tables) -> None:
    mine = [await tables.store.add(other_job(ADA)) for _ in range(MOST)]
    assert (await tables.store.add(new_card(HERE, ADA, job=mine[0].job))).followers == (ADA,)
    ended = await followed(tables.store, GRACE, job=JobId(str(uuid4())))
    await tables.store.close(ended, NOON, ended=True)
    assert (await tables.store.add(new_card(HERE, ADA, job=ended.job))).followers == (GRACE, ADA)
    assert await refused(tables.store.add(other_job(ADA))) == 1
    await tables.store.unfollow(mine[0].id, ADA)
    assert await refused(tables.store.add(other_job(ADA))) == 0


async def test_limit_holds_for_questions_at_once(tables: Tables) -> None:
    for _ in range(2):
        await tables.store.add(other_job(ADA))
    calls = [tables.questions.begin(ask(f"{number}")) for number in range(COMMANDS)]
    follows = [tables.store.add(other_job(ADA)) for _ in range(COMMANDS)]
    assert await refused(*calls, *follows) == 2 * COMMANDS - (MOST - 2)
    for number in range(COMMANDS):
        await tables.questions.bind(QuestionId(f"{number}"), other_job(ADA))
    assert await tables.n_followed() == MOST


async def test_question_counts_until_it_came_to_nothing(tables: Tables) -> None:
    for number in range(MOST):
        assert await tables.questions.begin(ask(f"{number}"))
    assert not await tables.questions.begin(ask("0")), "delivered twice"
    assert (
        await refused(tables.questions.begin(ask("more")))
        == await refused(tables.store.add(other_job(ADA)))
        == 1
    )
    await tables.questions.rollback(QuestionId("0"))
    await tables.questions.mark_reported(QuestionId("1"))
    await tables.store.add(other_job(ADA))
    assert await tables.questions.begin(ask("more"))
    assert await refused(tables.questions.begin(ask("even more"))) == 1


@pytest.mark.looptime
async def test_refused_command_gets_the_usual_line() -> None:
    stage = AskWorld()
    stage.card_repository.most_open_follows = MOST
    jobs = [JobId(str(uuid4())) for _ in range(COMMANDS)]
    stage.omni.jobs |= {job: replace(fakes.a_job(), id=job) for job in jobs}
    async with stage.bot() as services:
        with capture_logs() as logs:
            calls = (services.follow.follow(job, fakes.HERE, fakes.ADA) for job in jobs)
            lines = [fakes.said(line) for line in await asyncio.gather(*calls)]
    assert lines.count("") == MOST == len(stage.fake_slack.top_level())
    assert lines.count(replies.too_many_follows(MOST)) == COMMANDS - MOST
    outcomes = [line["outcome"] for line in logs if line["event"] == "audit"]
    assert outcomes.count("refused: too many open follows") == COMMANDS - MOST


@pytest.mark.looptime
async def test_refused_resume_gets_the_usual_line() -> None:
    closed = replace(fakes.a_card(user=fakes.GRACE), message_ts=MessageTs("1.0"), closed_at=fakes.START)
    stage = AskWorld(closed)
    stage.card_repository.most_open_follows = 0
    async with stage.bot() as services:
        line = await services.follow.resume(CardId("watch"), fakes.HERE, MessageTs("1.0"), fakes.ADA)
    assert line == replies.too_many_follows(0)
    assert stage.card_repository.rows == {closed.id: closed}


@pytest.mark.looptime
async def test_follow_button_counts_and_repeats_at_limit() -> None:
    running = replace(fakes.a_card(user=fakes.GRACE), message_ts=MessageTs("1.0"))
    stage = AskWorld(running)
    stage.omni.says(running.job, JobState.EXECUTING)
    stage.card_repository.most_open_follows = 0
    press = (CardId("watch"), fakes.HERE, MessageTs("1.0"))
    async with stage.bot() as services:
        assert await services.follow.join(*press, fakes.ADA) == replies.too_many_follows(0)
        assert await services.follow.join(*press, fakes.GRACE) == replies.followed_before()
    assert stage.card_repository.rows[running.id].followers == (fakes.GRACE,)


@pytest.mark.looptime
async def test_refused_question_gets_the_usual_line() -> None:
    stage = AskWorld()
    stage.card_repository.most_open_follows = 1
    stage.asking.delay_seconds = 1.0
    async with stage.bot() as services:
        with capture_logs() as logs:
            calls = (services.ask.ask(AskRequest("Top products?"), fakes.HERE, fakes.ADA) for _ in range(3))
            lines = [said(line) for line in await asyncio.gather(*calls)]
    assert sorted(lines) == ["", *[replies.too_many_follows(1)] * 2]
    assert len(stage.asking.submitted) == len(stage.questions.rows) == 1
    outcomes = [(line["act"], line["outcome"]) for line in logs if line["event"] == "audit"]
    assert outcomes.count(("ask", "refused: too many open follows")) == 2
