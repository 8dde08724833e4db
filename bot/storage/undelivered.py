"""Failed cards in SQL: rows of the table of cards, until all their followers were notified."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, update

from bot.domain import Card, CardFailure, CardId, TeamId, UserId
from bot.storage.card_rows import NOT_POSTED, is_unreported, load_cards, require_ownership
from bot.storage.tables import cards, followers, replies
from bot.storage.transactions import Transactions, transactional


class SqlFailedCardRepository:
    """`FailedCardRepository` of one team. Every statement names the team."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._team = team

    @transactional
    def add(self, connection: Connection, card: Card, why: CardFailure, at: datetime) -> None:
        mine = and_(self._is(card.id), cards.c.token == card.token)
        failed = NOT_POSTED | {"failure": why.name, "closed_at": at, "token": None, "history": None}
        if connection.execute(update(cards).where(mine).values(failed)).rowcount == 0:
            require_ownership(connection, card, self._team)
        connection.execute(delete(replies).where(replies.c.card == card.id))
        self._delete_if_unfollowed(connection, card.id)

    @transactional
    def take_unreported(self, connection: Connection, before: datetime, at: datetime) -> Card | None:
        since = func.coalesce(cards.c.completion_reply_started_at, cards.c.closed_at)
        overdue = and_(cards.c.team == self._team, is_unreported, since < before)
        found = load_cards(connection, overdue, lock=True)
        if not found:
            return None
        taken = update(cards).where(self._is(found[0].id)).values(completion_reply_started_at=at)
        connection.execute(taken)
        return found[0]

    @transactional
    def mark_reported(self, connection: Connection, card_id: CardId, follower: UserId) -> None:
        if load_cards(connection, and_(self._is(card_id), is_unreported), lock=True):
            theirs = delete(followers).where(followers.c.card == card_id, followers.c.user == follower)
            connection.execute(theirs)
            self._delete_if_unfollowed(connection, card_id)

    def _delete_if_unfollowed(self, connection: Connection, card_id: CardId) -> None:
        unfollowed = ~exists().where(followers.c.card == card_id)
        connection.execute(delete(cards).where(self._is(card_id), is_unreported, unfollowed))

    def _is(self, card_id: CardId) -> ColumnElement[bool]:
        return and_(cards.c.team == self._team, cards.c.id == card_id)
