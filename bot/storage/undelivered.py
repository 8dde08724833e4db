"""The watches that were given up, in SQL: rows of the table of watches, until the last of their followers was told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.cards import NoCard, TeamId, UserId, Watch, WatchId
from bot.storage.card_rows import NO_CARD, make_sure_of_claim, select_watches, waits_for_word
from bot.storage.tables import followers, replies, watches
from bot.storage.transactions import Transactions, whole


class StoredGivenUps:
    """`GivenUps` of one team. Every statement names it, as in `Store`."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._team = team

    @whole
    async def give_up(self, watch: Watch, why: NoCard, at: datetime) -> None:
        mine = and_(self._is(watch.id), watches.c.claim == watch.claim)
        given_up = NO_CARD | {"given_up": why.name, "closed_at": at.timestamp(), "claim": None}
        async with self.transactions.begin() as connection:
            if (await connection.execute(update(watches).where(mine).values(given_up))).rowcount == 0:
                await make_sure_of_claim(connection, watch, self._team)
            await connection.execute(delete(replies).where(replies.c.watch == watch.id))
            await self._forget_if_deserted(connection, watch.id)

    @whole
    async def left(self, before: datetime) -> Sequence[Watch]:
        since = func.coalesce(watches.c.notice_tried_at, watches.c.closed_at)
        overdue = and_(watches.c.team == self._team, waits_for_word(), since < before.timestamp())
        async with self.transactions.begin() as connection:
            return await select_watches(connection, overdue)

    @whole
    async def telling(self, watch: Watch, at: datetime) -> Watch | None:
        this = and_(self._is(watch.id), waits_for_word())
        async with self.transactions.begin() as connection:
            found = await select_watches(connection, this, lock=True)
            lives = [(there.closed_at, there.notice_tried_at) for there in found]
            if lives != [(watch.closed_at, watch.notice_tried_at)]:
                return None
            await connection.execute(update(watches).where(this).values(notice_tried_at=at.timestamp()))
            return replace(found[0], notice_tried_at=at)

    @whole
    async def told(self, watch: WatchId, follower: UserId) -> None:
        this = and_(self._is(watch), waits_for_word())
        async with self.transactions.begin() as connection:
            if await select_watches(connection, this, lock=True):
                theirs = delete(followers).where(followers.c.watch == watch, followers.c.user == follower)
                await connection.execute(theirs)
                await self._forget_if_deserted(connection, watch)

    async def _forget_if_deserted(self, connection: AsyncConnection, watch: WatchId) -> None:
        deserted = ~exists().where(followers.c.watch == watch)
        await connection.execute(delete(watches).where(self._is(watch), waits_for_word(), deserted))

    def _is(self, watch: WatchId) -> ColumnElement[bool]:
        return and_(watches.c.team == self._team, watches.c.id == watch)
