"""Pending questions in SQL, one short transaction per call. Their text is not stored."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from bot.domain import Card, CardId, ModelId, PendingQuestion, QuestionId, TeamId, UserId
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
    def begin(self, connection: Connection, question: PendingQuestion) -> bool:
        require_team(self._team, question.channel)
        if connection.scalar(select(questions.c.id).where(questions.c.id == question.id)):  # of any team
            return False
        row = {
            "id": question.id,
            "team": question.channel.team,
            "channel": question.channel.id,
            "user": question.user,
            "asked_at": question.asked_at,
            "touched_at": question.touched_at,
            "model": question.model,
            "follow": question.follow,
        }
        with within_limit(connection, self._team, question.user, self._most_open_follows):
            connection.execute(insert(questions).values(row))
        return True

    @transactional
    def claim_retry(self, connection: Connection, question_id: QuestionId, card: CardId, by: UserId) -> bool:
        this = and_(cards.c.team == self._team, cards.c.id == card)
        if not load_cards(connection, and_(this, cards.c.retried_by.is_(None)), lock=True):
            return False
        if not self._update(connection, question_id, is_pending, retry_of=card):
            return False
        connection.execute(update(cards).where(this).values(retried_by=by))
        return True

    @transactional
    def heartbeat(self, connection: Connection, question_id: QuestionId, at: datetime) -> bool:
        return self._update(connection, question_id, is_pending, touched_at=at)

    @transactional
    def bind(self, connection: Connection, question_id: QuestionId, card: Card) -> Card:
        require_team(self._team, card.channel)
        if self._update(connection, question_id, questions.c.job.is_(None), job=card.job):
            add_card(connection, card)
        found = load_cards(connection, of_job_in_channel(card.job, card.channel))
        return found[0] if found else card

    @transactional
    def rollback(self, connection: Connection, question_id: QuestionId) -> None:
        self._allow_retry(connection, question_id)
        connection.execute(delete(questions).where(self._is(question_id), questions.c.job.is_(None)))

    @transactional
    def mark_reported(self, connection: Connection, question_id: QuestionId) -> None:
        self._allow_retry(connection, question_id)
        self._update(connection, question_id, is_reported=True)

    @transactional
    def interrupted(self, connection: Connection, before: datetime) -> Sequence[PendingQuestion]:
        return load_questions(connection, and_(self._of_team, is_pending, questions.c.touched_at < before))

    @transactional
    def take_over(self, connection: Connection, question: PendingQuestion, at: datetime) -> bool:
        as_seen = questions.c.touched_at == question.touched_at
        return self._update(connection, question.id, is_pending, as_seen, touched_at=at)

    @transactional
    def count(self, connection: Connection, team: TeamId, user: UserId, since: datetime) -> int:
        asked = and_(_of(team, user), questions.c.follow.is_(None), questions.c.asked_at >= since)
        counting = select(func.count()).select_from(questions).where(self._of_team, asked)
        return connection.execute(counting).scalar_one()

    @transactional
    def last_model(self, connection: Connection, team: TeamId, user: UserId) -> ModelId | None:
        chosen = and_(self._of_team, _of(team, user), questions.c.model.is_not(None))
        newest = questions.c.asked_at.desc(), questions.c.id
        return connection.scalar(select(questions.c.model).where(chosen).order_by(*newest).limit(1))

    @transactional
    def delete_old(self, connection: Connection, before: datetime) -> int:
        return connection.execute(
            delete(questions).where(self._of_team, questions.c.asked_at < before)
        ).rowcount

    def _allow_retry(self, connection: Connection, question_id: QuestionId) -> None:
        """Let the card of a pending retry be retried again."""
        for mine in load_questions(connection, and_(self._is(question_id), is_pending)):
            card = and_(cards.c.team == self._team, cards.c.id == mine.retry_of)
            retried = and_(card, cards.c.retried_by == mine.user)
            connection.execute(update(cards).where(retried).values(retried_by=None))

    def _update(
        self,
        connection: Connection,
        question_id: QuestionId,
        *only_if: ColumnElement[bool],
        **columns: object,
    ) -> bool:
        """Update the question. False if nothing matched."""
        this = and_(self._is(question_id), *only_if)
        return connection.execute(update(questions).where(this).values(**columns)).rowcount > 0

    def _is(self, question_id: QuestionId) -> ColumnElement[bool]:
        return and_(self._of_team, questions.c.id == question_id)


class SqlQuestionLookup:
    """Questions of all teams."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    @transactional
    def get(self, connection: Connection, team: TeamId, question_id: QuestionId) -> PendingQuestion | None:
        """Return a team's question; None if there is none or it was deleted. Raises StoreUnavailable."""
        this = and_(questions.c.team == team, questions.c.id == question_id)
        return next(iter(load_questions(connection, this)), None)


def _of(team: TeamId, user: UserId) -> ColumnElement[bool]:
    return and_(questions.c.team == team, questions.c.user == user)
