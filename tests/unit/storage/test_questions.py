"""What every table of asks must do: the two in SQL, and the one in memory that other tests use."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from bot.domain.cards import Card, CardId, MessageTs, TeamId, UserId
from bot.domain.ports.storage import CardRepository, QuestionRepository
from bot.domain.questions import ModelId, PendingQuestion, QuestionId
from bot.storage.questions import SqlQuestionLookup, SqlQuestionRepository
from tests.support.databases import (
    ADA,
    GRACE,
    HERE,
    JOB,
    NOON,
    OTHER_JOB,
    TEAM,
    THERE,
    Opened,
    new_card,
    opened,
)
from tests.support.fakes import FakeCards, FakeQuestions

LATER = NOON + timedelta(minutes=5)
CARD = CardId("card")


@dataclass
class Tables:
    """The questions, and the cards beside them."""

    questions: QuestionRepository
    card_repository: CardRepository


@pytest.fixture
async def tables(kept_in: str | None) -> AsyncIterator[Tables]:
    """Empty tables of each kind."""
    if kept_in is None:
        cards = FakeCards()
        yield Tables(FakeQuestions(cards), cards)
    else:
        async with opened(kept_in) as database:
            yield Tables(SqlQuestionRepository(await database.process(), HERE.team), await database.store())


def ask(name: str = "ask", user: UserId = ADA, minutes: float = 0.0, **more: object) -> PendingQuestion:
    at = NOON + timedelta(minutes=minutes)
    return replace(PendingQuestion(QuestionId(name), HERE, user, at, at), **more)  # type: ignore[arg-type]


def answering(name: str = "new", **more: object) -> Card:
    return replace(new_card(HERE, ADA, name=name), thread=MessageTs("1.1"), asked_by_bot=True, **more)  # type: ignore[arg-type]


async def test_question_without_heartbeat_is_interrupted(tables: Tables) -> None:
    mine = ask(model=ModelId("m"))
    assert await tables.questions.begin(mine)
    assert list(await tables.questions.interrupted(NOON)) == []
    assert list(await tables.questions.interrupted(LATER)) == [mine]
    assert await tables.questions.heartbeat(mine.id, LATER)
    assert list(await tables.questions.interrupted(LATER)) == []
    (found,) = await tables.questions.interrupted(LATER + timedelta(seconds=1))
    assert found == replace(mine, touched_at=LATER)


async def test_question_is_stored_once(tables: Tables) -> None:
    assert await tables.questions.begin(ask(model=ModelId("m")))
    assert not await tables.questions.begin(ask(minutes=1))
    assert list(await tables.questions.interrupted(LATER)) == [ask(model=ModelId("m"))]


async def test_job_and_card_are_stored_together(tables: Tables) -> None:
    await tables.questions.begin(ask())
    assert await tables.questions.bind(QuestionId("ask"), answering()) == answering()
    assert await tables.card_repository.get(CardId("new")) == answering()
    assert list(await tables.questions.interrupted(LATER)) == []
    assert not await tables.questions.heartbeat(QuestionId("ask"), LATER)


async def test_asker_comes_before_any_follower(tables: Tables) -> None:
    """Also where the follow was stored before the job was bound to its question."""
    await tables.card_repository.add(new_card(HERE, GRACE, asked_at=NOON - timedelta(minutes=1)))
    await tables.questions.begin(ask())
    bound = await tables.questions.bind(QuestionId("ask"), answering())
    assert bound.followers == (GRACE, ADA)
    first = await tables.card_repository.first_card(JOB)
    assert first is not None and first.requester == ADA


async def test_later_follow_does_not_make_an_asker(tables: Tables) -> None:
    """A follow is stored beside the questions until it has a card, and gives no right to the job."""
    await tables.card_repository.add(new_card(HERE, ADA))
    await tables.questions.begin(replace(ask(), user=GRACE, follow=JOB))
    await tables.questions.bind(
        QuestionId("ask"), new_card(THERE, GRACE, asked_at=NOON + timedelta(minutes=1))
    )
    first = await tables.card_repository.first_card(JOB)
    assert first is not None and first.requester == ADA


async def test_asker_stays_first_without_card(tables: Tables) -> None:
    await tables.questions.begin(ask())
    await tables.questions.bind(QuestionId("ask"), answering())
    _, (mine,) = await tables.card_repository.claim(JOB)
    await tables.card_repository.remove(mine)
    await tables.card_repository.add(new_card(THERE, GRACE))
    first = await tables.card_repository.first_card(JOB)
    assert first is not None and first.requester == ADA


async def test_second_question_with_the_job_takes_nothing_over(tables: Tables) -> None:
    mine = replace(ask(), id=QuestionId("z"))
    for question in (replace(ask(user=GRACE, minutes=1), id=QuestionId("a")), mine):
        await tables.questions.begin(question)
        await tables.questions.bind(question.id, replace(answering(), requester=question.user))
    first = await tables.card_repository.first_card(JOB)
    assert first is not None and first.requester == ADA


async def test_later_follower_is_not_the_asker(tables: Tables) -> None:
    await tables.card_repository.add(new_card(HERE, ADA))
    await tables.questions.begin(ask(user=GRACE, minutes=1, follow=JOB))
    await tables.questions.bind(
        QuestionId("ask"), new_card(THERE, GRACE, asked_at=NOON + timedelta(minutes=1))
    )
    first = await tables.card_repository.first_card(JOB)
    assert first is not None and first.requester == ADA


async def test_binding_twice_changes_nothing_more(tables: Tables) -> None:
    await tables.questions.begin(ask())
    first = await tables.questions.bind(QuestionId("ask"), answering())
    await tables.card_repository.unfollow(first.id, ADA)
    again = await tables.questions.bind(QuestionId("ask"), answering())
    assert again == await tables.card_repository.get(first.id) == replace(first, followers=())


async def test_bind_joins_an_existing_card(tables: Tables) -> None:
    await tables.questions.begin(ask())
    await tables.card_repository.add(new_card(HERE, GRACE, name="theirs"))
    bound = await tables.questions.bind(QuestionId("ask"), answering())
    assert (bound.id, bound.followers) == ("theirs", (GRACE, ADA))


async def test_rollback_deletes_only_unbound_questions(tables: Tables) -> None:
    for name in ("gone", "bound"):
        await tables.questions.begin(ask(name))
    await tables.questions.bind(QuestionId("bound"), answering())
    for name in ("gone", "bound", "never there"):
        await tables.questions.rollback(QuestionId(name))
    assert await tables.questions.count(TEAM, ADA, NOON) == 1
    assert await tables.card_repository.get(CardId("new")) is not None


async def test_reported_question_still_counts(tables: Tables) -> None:
    await tables.questions.begin(ask())
    await tables.questions.mark_reported(QuestionId("ask"))
    assert list(await tables.questions.interrupted(LATER)) == []
    assert not await tables.questions.heartbeat(QuestionId("ask"), LATER)
    assert await tables.questions.count(TEAM, ADA, NOON) == 1


async def test_an_orphan_is_taken_over_once(tables: Tables) -> None:
    await tables.questions.begin(ask())
    (orphan,) = await tables.questions.interrupted(LATER)
    assert await tables.questions.take_over(orphan, LATER)
    assert not await tables.questions.take_over(orphan, LATER + timedelta(seconds=1))


async def test_resumed_question_is_not_taken_over(tables: Tables) -> None:
    await tables.questions.begin(ask())
    (orphan,) = await tables.questions.interrupted(LATER)
    await tables.questions.heartbeat(orphan.id, LATER)
    assert not await tables.questions.take_over(orphan, LATER + timedelta(seconds=1))


async def test_questions_are_counted_per_user(tables: Tables) -> None:
    for name, user, minutes in (("1", ADA, 0), ("2", ADA, 10), ("3", ADA, 20), ("4", GRACE, 20)):
        await tables.questions.begin(ask(name, user, minutes))
    assert await tables.questions.count(TEAM, ADA, NOON + timedelta(minutes=10)) == 2
    assert await tables.questions.count(TEAM, GRACE, NOON) == 1
    assert await tables.questions.count(TeamId("T0OTHER"), ADA, NOON) == 0


async def test_follow_requests_are_not_counted(tables: Tables) -> None:
    follow = ask(follow=JOB)
    await tables.questions.begin(follow)
    assert list(await tables.questions.interrupted(LATER)) == [follow]
    assert await tables.questions.bind(follow.id, answering()) == answering()
    assert list(await tables.questions.interrupted(LATER)) == []
    assert await tables.questions.count(TEAM, ADA, NOON) == 0


async def test_last_model_is_remembered(tables: Tables) -> None:
    assert await tables.questions.last_model(TEAM, ADA) is None
    for name, minutes, model in (("1", 0, "first"), ("2", 20, "last"), ("3", 10, "middle"), ("4", 30, None)):
        await tables.questions.begin(ask(name, ADA, minutes, model=model))
    await tables.questions.begin(ask("5", GRACE, 40, model="hers"))
    assert await tables.questions.last_model(TEAM, ADA) == "last"


async def test_old_asks_are_forgotten(tables: Tables) -> None:
    for name, minutes in (("1", 0), ("2", 10)):
        await tables.questions.begin(ask(name, ADA, minutes))
    assert await tables.questions.delete_old(NOON + timedelta(minutes=10)) == 1
    assert [left.id for left in await tables.questions.interrupted(NOON + timedelta(hours=1))] == ["2"]


# Retrying


async def a_card(tables: Tables) -> None:
    await tables.card_repository.add(new_card(HERE, ADA, name=CARD, job=OTHER_JOB))


async def retried_by(tables: Tables) -> UserId | None:
    card = await tables.card_repository.get(CARD)
    assert card is not None
    return card.retried_by


async def begin_retry(tables: Tables, name: str, user: UserId) -> bool:
    await tables.questions.begin(ask(name, user))
    return await tables.questions.claim_retry(QuestionId(name), CARD, user)


async def test_card_is_retried_once(tables: Tables) -> None:
    await a_card(tables)
    assert await begin_retry(tables, "1", GRACE)
    assert not await begin_retry(tables, "2", ADA)
    assert await retried_by(tables) == GRACE
    assert [one.retry_of for one in await tables.questions.interrupted(LATER)] == [CARD, None]


@pytest.mark.parametrize("end", ["rollback", "mark_reported"])
async def test_late_retry_takes_nothing_back(tables: Tables, end: str) -> None:
    await a_card(tables)
    await begin_retry(tables, "1", GRACE)
    await begin_retry(tables, "2", GRACE)
    await getattr(tables.questions, end)(QuestionId("2"))
    assert await retried_by(tables) == GRACE


async def test_settled_question_retries_nothing(tables: Tables) -> None:
    await a_card(tables)
    await tables.questions.begin(ask("1", GRACE))
    await tables.questions.mark_reported(QuestionId("1"))
    assert not await tables.questions.claim_retry(QuestionId("1"), CARD, GRACE)
    assert not await tables.questions.claim_retry(QuestionId("2"), CARD, GRACE)
    assert await retried_by(tables) is None


async def test_missing_card_is_not_retried(tables: Tables) -> None:
    assert not await begin_retry(tables, "1", ADA)
    assert list(await tables.questions.interrupted(LATER)) == [ask("1")]


@pytest.mark.parametrize("end", ["rollback", "mark_reported"])
async def test_failed_retry_can_be_repeated(tables: Tables, end: str) -> None:
    await a_card(tables)
    await begin_retry(tables, "1", GRACE)
    await getattr(tables.questions, end)(QuestionId("1"))
    assert await retried_by(tables) is None
    assert await begin_retry(tables, "2", GRACE)
    await getattr(tables.questions, end)(QuestionId("1"))
    assert await retried_by(tables) == GRACE


@pytest.mark.parametrize("end", ["rollback", "mark_reported"])
async def test_submitted_retry_stays(tables: Tables, end: str) -> None:
    await a_card(tables)
    await begin_retry(tables, "1", GRACE)
    await tables.questions.bind(QuestionId("1"), answering())
    await getattr(tables.questions, end)(QuestionId("1"))
    assert await retried_by(tables) == GRACE


async def test_no_column_holds_a_question(database: Opened) -> None:
    questions = SqlQuestionRepository(await database.process(), HERE.team)
    await questions.begin(ask(model=ModelId("m")))
    async with questions.transactions.database.engine.begin() as connection:
        row = (await connection.execute(text("SELECT * FROM asks"))).mappings().one()
    assert set(row) == {
        *("id", "team", "channel", "thread", "user", "asked_at", "touched_at"),
        *("model", "retry_of", "job", "told", "follow"),
    }
    assert JOB not in map(str, row.values())


async def test_question_is_found_by_its_team(database: Opened) -> None:
    mine = ask()
    questions = SqlQuestionRepository(await database.process(), TEAM)
    found = SqlQuestionLookup(questions.transactions)
    await questions.begin(mine)
    assert await found.get(TEAM, mine.id) == mine
    assert await found.get(TeamId("T0OTHER"), mine.id) is None
    assert await found.get(TEAM, QuestionId("another")) is None
    bound = answering()
    await questions.bind(mine.id, bound)
    assert await found.get(TEAM, mine.id) == replace(mine, job=bound.job)
