"""The watches that were given up, in SQL: rows of the table of watches, until the last of their followers was told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain import Card, CardFailure, CardId, TeamId, UserId
from bot.storage.card_rows import NO_CARD, require_ownership, select_cards, waits_for_word
from bot.storage.tables import followers, replies, watches
from bot.storage.transactions import Transactions, transactional


class SqlFailedCardRepository:
    """`FailedCardRepository` of one team. Every statement names it, as in `SqlCardRepository`."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._team = team

    @transactional
    async def add(self, card: Card, why: CardFailure, at: datetime) -> None:
        mine = and_(self._is(card.id), watches.c.claim == card.token)
        given_up = NO_CARD | {"given_up": why.name, "closed_at": at.timestamp(), "claim": None}
        async with self.transactions.begin() as connection:
            if (await connection.execute(update(watches).where(mine).values(given_up))).rowcount == 0:
                await require_ownership(connection, card, self._team)
            await connection.execute(delete(replies).where(replies.c.watch == card.id))
            await self._forget_if_deserted(connection, card.id)

    @transactional
    async def pending(self, before: datetime) -> Sequence[Card]:
        since = func.coalesce(watches.c.notice_tried_at, watches.c.closed_at)
        overdue = and_(watches.c.team == self._team, waits_for_word(), since < before.timestamp())
        async with self.transactions.begin() as connection:
            return await select_cards(connection, overdue)

    @transactional
    async def mark_reporting(self, card: Card, at: datetime) -> Card | None:
        this = and_(self._is(card.id), waits_for_word())
        async with self.transactions.begin() as connection:
            found = await select_cards(connection, this, lock=True)
            lives = [(there.closed_at, there.completion_reply_started_at) for there in found]
            if lives != [(card.closed_at, card.completion_reply_started_at)]:
                return None
            await connection.execute(update(watches).where(this).values(notice_tried_at=at.timestamp()))
            return replace(found[0], completion_reply_started_at=at)

    @transactional
    async def mark_reported(self, card_id: CardId, follower: UserId) -> None:
        this = and_(self._is(card_id), waits_for_word())
        async with self.transactions.begin() as connection:
            if await select_cards(connection, this, lock=True):
                theirs = delete(followers).where(followers.c.watch == card_id, followers.c.user == follower)
                await connection.execute(theirs)
                await self._forget_if_deserted(connection, card_id)

    async def _forget_if_deserted(self, connection: AsyncConnection, card_id: CardId) -> None:
        deserted = ~exists().where(followers.c.watch == card_id)
        await connection.execute(delete(watches).where(self._is(card_id), waits_for_word(), deserted))

    def _is(self, card_id: CardId) -> ColumnElement[bool]:
        return and_(watches.c.team == self._team, watches.c.id == card_id)
