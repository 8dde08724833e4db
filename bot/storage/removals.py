"""Answers that are taken back, in SQL, and the posts that must not follow them."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, update

from bot.domain import NEEDS_REDRAW, CardId, ReplyKind, TeamId, UserId
from bot.storage.card_rows import load_cards, rows_of_card
from bot.storage.tables import cards, replies
from bot.storage.transactions import Transactions, transactional


class SqlRemovalRepository:
    """`RemovalRepository` of one team. Every statement names the team."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._team = team

    @transactional
    def request(self, connection: Connection, card_id: CardId, by: UserId) -> bool:
        removable = and_(cards.c.ended == 1, cards.c.message_ts.is_not(None), cards.c.removed_by.is_(None))
        reopened = {"removed_by": by, "closed_at": None, "token": None, "shown_fingerprint": NEEDS_REDRAW}
        requested = update(cards).where(self._is(card_id), removable).values(reopened)
        return connection.execute(requested).rowcount > 0

    @transactional
    def begin_post(self, connection: Connection, card_id: CardId, kind: ReplyKind, at: datetime) -> bool:
        # Locked, so that a removal comes before this or finds the row.
        there = load_cards(connection, self._is(card_id), lock=True)
        if not there or there[0].removed_by is not None:
            return False
        connection.execute(insert(replies).values(card=card_id, kind=kind, started_at=at))
        return True

    @transactional
    def forget_replies(self, connection: Connection, card_id: CardId, kinds: Collection[ReplyKind]) -> None:
        deleted = and_(rows_of_card(replies, card_id, self._team), replies.c.kind.in_(kinds))
        connection.execute(delete(replies).where(deleted))

    @transactional
    def forget_completion_reply(self, connection: Connection, card_id: CardId) -> None:
        none = {"completion_reply_started_at": None, "completion_reply_ts": None}
        connection.execute(update(cards).where(self._is(card_id)).values(none))

    def _is(self, card_id: CardId) -> ColumnElement[bool]:
        return and_(cards.c.team == self._team, cards.c.id == card_id)
