"""Failed cards in SQL: rows of the table of cards, until all their followers were notified."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

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
    async def add(self, card: Card, why: CardFailure, at: datetime) -> None:
        mine = and_(self._is(card.id), cards.c.claim == card.token)
        given_up = NOT_POSTED | {"given_up": why.name, "closed_at": at.timestamp(), "claim": None}
        async with self.transactions.begin() as connection:
            if (await connection.execute(update(cards).where(mine).values(given_up))).rowcount == 0:
                await require_ownership(connection, card, self._team)
            await connection.execute(delete(replies).where(replies.c.watch == card.id))
            await self._delete_if_unfollowed(connection, card.id)

    @transactional
    async def take_unreported(self, before: datetime, at: datetime) -> Card | None:
        since = func.coalesce(cards.c.notice_tried_at, cards.c.closed_at)
        overdue = and_(cards.c.team == self._team, is_unreported(), since < before.timestamp())
        async with self.transactions.begin() as connection:
            found = await load_cards(connection, overdue, lock=True)
            if not found:
                return None
            taken = update(cards).where(self._is(found[0].id)).values(notice_tried_at=at.timestamp())
            await connection.execute(taken)
            return found[0]

    @transactional
    async def mark_reported(self, card_id: CardId, follower: UserId) -> None:
        this = and_(self._is(card_id), is_unreported())
        async with self.transactions.begin() as connection:
            if await load_cards(connection, this, lock=True):
                theirs = delete(followers).where(followers.c.watch == card_id, followers.c.user == follower)
                await connection.execute(theirs)
                await self._delete_if_unfollowed(connection, card_id)

    async def _delete_if_unfollowed(self, connection: AsyncConnection, card_id: CardId) -> None:
        unfollowed = ~exists().where(followers.c.watch == card_id)
        await connection.execute(delete(cards).where(self._is(card_id), is_unreported(), unfollowed))

    def _is(self, card_id: CardId) -> ColumnElement[bool]:
        return and_(cards.c.team == self._team, cards.c.id == card_id)
