"""Pending questions in SQL, one short transaction per call. Their text is not stored."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain import Card, CardId, ModelId, PendingQuestion, QuestionId, TeamId, UserId, WriteConflict
from bot.storage.card_rows import (
    add_card,
    is_pending,
    load_cards,
    load_questions,
    of_job_in_channel,
    require_team,
    within_limit,
)
from bot.storage.tables import cards, questions
from bot.storage.transactions import Transactions, transactional


class SqlQuestionRepository:
    """`QuestionRepository` of one team. Every statement names the team."""

    def __init__(
        self, transactions: Transactions, team: TeamId, most_open_follows: int | None = None
    ) -> None:
        """`most_open_follows`: as for `SqlCardRepository`."""
        self.transactions = transactions
        self._team = team
        self._most_open_follows = most_open_follows
        self._of_team = questions.c.team == team

    @transactional
    async def begin(self, question: PendingQuestion) -> bool:
        require_team(self._team, question.channel)
        row = {
            "id": question.id,
            "team": question.channel.team,
            "channel": question.channel.id,
            "user": question.user,
            "asked_at": question.asked_at.timestamp(),
            "touched_at": question.touched_at.timestamp(),
            "model": question.model,
            "follow": question.follow,
        }
        try:
            async with (
                self.transactions.begin() as connection,
                within_limit(connection, self._team, question.user, self._most_open_follows),
            ):
                await connection.execute(insert(questions).values(row))
        except WriteConflict:
            return False
        return True

    @transactional
    async def claim_retry(self, question_id: QuestionId, card: CardId, by: UserId) -> bool:
        this = and_(cards.c.team == self._team, cards.c.id == card)
        mine = update(questions).where(self._is(question_id), is_pending).values(retry_of=card)
        async with self.transactions.begin() as connection:
            if not await load_cards(connection, and_(this, cards.c.retried_by.is_(None)), lock=True):
                return False
            if (await connection.execute(mine)).rowcount == 0:
                return False
            await connection.execute(update(cards).where(this).values(retried_by=by))
        return True

    @transactional
    async def heartbeat(self, question_id: QuestionId, at: datetime) -> bool:
        mine = update(questions).where(self._is(question_id), is_pending).values(touched_at=at.timestamp())
        async with self.transactions.begin() as connection:
            return (await connection.execute(mine)).rowcount > 0

    @transactional
    async def bind(self, question_id: QuestionId, card: Card) -> Card:
        try:
            return await self._bind(question_id, card)
        except WriteConflict:
            return await self._bind(question_id, card)

    async def _bind(self, question_id: QuestionId, card: Card) -> Card:
        require_team(self._team, card.channel)
        unbound = and_(self._is(question_id), questions.c.job.is_(None))
        async with self.transactions.begin() as connection:
            binding = update(questions).where(unbound).values(job=card.job)
            if (await connection.execute(binding)).rowcount > 0:
                await add_card(connection, card)
            found = await load_cards(connection, of_job_in_channel(card))
        return found[0] if found else card

    @transactional
    async def rollback(self, question_id: QuestionId) -> None:
        async with self.transactions.begin() as connection:
            await self._allow_retry(connection, question_id)
            await connection.execute(
                delete(questions).where(self._is(question_id), questions.c.job.is_(None))
            )

    @transactional
    async def mark_reported(self, question_id: QuestionId) -> None:
        async with self.transactions.begin() as connection:
            await self._allow_retry(connection, question_id)
            await connection.execute(update(questions).where(self._is(question_id)).values(told=1))

    @transactional
    async def interrupted(self, before: datetime) -> Sequence[PendingQuestion]:
        async with self.transactions.begin() as connection:
            untouched = and_(self._of_team, is_pending, questions.c.touched_at < before.timestamp())
            return await load_questions(connection, untouched)

    @transactional
    async def take_over(self, question: PendingQuestion, at: datetime) -> bool:
        as_seen = and_(
            is_pending, self._is(question.id), questions.c.touched_at == question.touched_at.timestamp()
        )
        taking = update(questions).where(as_seen).values(touched_at=at.timestamp())
        async with self.transactions.begin() as connection:
            return (await connection.execute(taking)).rowcount > 0

    @transactional
    async def count(self, team: TeamId, user: UserId, since: datetime) -> int:
        asked = and_(_of(team, user), questions.c.follow.is_(None), questions.c.asked_at >= since.timestamp())
        async with self.transactions.begin() as connection:
            counting = select(func.count()).select_from(questions).where(self._of_team, asked)
            return (await connection.execute(counting)).scalar_one()

    @transactional
    async def last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        chosen = and_(self._of_team, _of(team, user), questions.c.model.is_not(None))
        newest = (
            select(questions.c.model)
            .where(chosen)
            .order_by(questions.c.asked_at.desc(), questions.c.id)
            .limit(1)
        )
        async with self.transactions.begin() as connection:
            model = await connection.scalar(newest)
        return ModelId(model) if model else None

    @transactional
    async def delete_old(self, before: datetime) -> int:
        old = delete(questions).where(self._of_team, questions.c.asked_at < before.timestamp())
        async with self.transactions.begin() as connection:
            return (await connection.execute(old)).rowcount

    async def _allow_retry(self, connection: AsyncConnection, question_id: QuestionId) -> None:
        """Let the card of a pending retry be retried again."""
        for mine in await load_questions(connection, and_(self._is(question_id), is_pending)):
            card = and_(cards.c.team == self._team, cards.c.id == mine.retry_of)
            retried = and_(card, cards.c.retried_by == mine.user)
            await connection.execute(update(cards).where(retried).values(retried_by=None))

    def _is(self, question_id: QuestionId) -> ColumnElement[bool]:
        return and_(self._of_team, questions.c.id == question_id)


class SqlQuestionLookup:
    """Questions of all teams."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    @transactional
    async def get(self, team: TeamId, question_id: QuestionId) -> PendingQuestion | None:
        """Return a team's question; None if there is none or it was deleted. Raises StoreUnavailable."""
        async with self.transactions.begin() as connection:
            found = await load_questions(
                connection, and_(questions.c.team == team, questions.c.id == question_id)
            )
        return found[0] if found else None


def _of(team: TeamId, user: UserId) -> ColumnElement[bool]:
    return and_(questions.c.team == team, questions.c.user == user)
