"""The watches that were given up, in SQL: rows of the table of watches, until the last of their followers was told."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, func, update

from bot.rows import NO_CARD, make_sure_of_claim, seconds, select_watches, waits_for_word
from bot.tables import followers, replies, watches
from bot.transactions import Transactions, whole
from bot.watch import NoCard, TeamId, UserId, Watch, WatchId


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

    @whole
    async def left(self, before: datetime) -> Sequence[Watch]:
        since = func.coalesce(watches.c.notice_tried_at, watches.c.closed_at)
        overdue = and_(watches.c.team == self._team, waits_for_word(), since < before.timestamp())
        async with self.transactions.begin() as connection:
            return await select_watches(connection, overdue)

    @whole
    async def telling(self, watch: Watch, at: datetime) -> bool:
        as_before = watches.c.notice_tried_at.is_not_distinct_from(seconds(watch.notice_tried_at))
        mine = and_(self._is(watch.id), waits_for_word(), as_before)
        begun = update(watches).where(mine).values(notice_tried_at=at.timestamp())
        async with self.transactions.begin() as connection:
            return (await connection.execute(begun)).rowcount > 0

    @whole
    async def told(self, watch: WatchId, follower: UserId) -> None:
        this = and_(self._is(watch), waits_for_word())
        all_of_it = followers.c.watch == watch
        async with self.transactions.begin() as connection:
            if not await select_watches(connection, this, lock=True):
                return
            await connection.execute(delete(followers).where(all_of_it, followers.c.user == follower))
            await connection.execute(delete(watches).where(this, ~exists().where(all_of_it)))

    def _is(self, watch: WatchId) -> ColumnElement[bool]:
        return and_(watches.c.team == self._team, watches.c.id == watch)
