"""The asks in SQL, one short transaction per call. No question is stored."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.cards import TeamId, UserId, Watch, WatchId
from bot.domain.errors import Conflict
from bot.domain.questions import Ask, AskId, ModelId
from bot.storage.card_rows import (
    add_watch,
    in_hand,
    make_sure_of_team,
    same_place,
    select_asks,
    select_watches,
    within_limit,
)
from bot.storage.tables import asks, watches
from bot.storage.transactions import Transactions, whole


class StoredAsks:
    """`Asks` of one team, over a database that may hold those of others. Every statement names the team."""

    def __init__(
        self, transactions: Transactions, team: TeamId, most_open_follows: int | None = None
    ) -> None:
        """`most_open_follows`: as for `Store`."""
        self.transactions = transactions
        self._team = team
        self._most_open_follows = most_open_follows
        self._ours = asks.c.team == team

    @whole
    async def begin(self, ask: Ask) -> bool:
        make_sure_of_team(self._team, ask.place)
        row = {
            "id": ask.id,
            "team": ask.place.team,
            "channel": ask.place.channel,
            "user": ask.user,
            "asked_at": ask.asked_at.timestamp(),
            "touched_at": ask.touched_at.timestamp(),
            "model": ask.model,
            "follow": ask.follow,
        }
        try:
            async with (
                self.transactions.begin() as connection,
                within_limit(connection, self._team, ask.user, self._most_open_follows),
            ):
                await connection.execute(insert(asks).values(row))
        except Conflict:
            return False
        return True

    @whole
    async def retries(self, ask: AskId, card: WatchId, by: UserId) -> bool:
        this = and_(watches.c.team == self._team, watches.c.id == card)
        mine = update(asks).where(self._is(ask), in_hand).values(retry_of=card)
        async with self.transactions.begin() as connection:
            if not await select_watches(connection, and_(this, watches.c.retried_by.is_(None)), lock=True):
                return False
            if (await connection.execute(mine)).rowcount == 0:
                return False
            await connection.execute(update(watches).where(this).values(retried_by=by))
        return True

    @whole
    async def touch(self, ask: AskId, at: datetime) -> bool:
        mine = update(asks).where(self._is(ask), in_hand).values(touched_at=at.timestamp())
        async with self.transactions.begin() as connection:
            return (await connection.execute(mine)).rowcount > 0

    @whole
    async def bind(self, ask: AskId, watch: Watch) -> Watch:
        try:
            return await self._bind(ask, watch)
        except Conflict:
            return await self._bind(ask, watch)

    async def _bind(self, ask: AskId, watch: Watch) -> Watch:
        make_sure_of_team(self._team, watch.place)
        unbound = and_(self._is(ask), asks.c.job.is_(None))
        async with self.transactions.begin() as connection:
            binding = update(asks).where(unbound).values(job=watch.job)
            if (await connection.execute(binding)).rowcount > 0:
                await add_watch(connection, watch)
            found = await select_watches(connection, same_place(watch))
        return found[0] if found else watch

    @whole
    async def withdraw(self, ask: AskId) -> None:
        async with self.transactions.begin() as connection:
            await self._let_retry(connection, ask)
            await connection.execute(delete(asks).where(self._is(ask), asks.c.job.is_(None)))

    @whole
    async def told(self, ask: AskId) -> None:
        async with self.transactions.begin() as connection:
            await self._let_retry(connection, ask)
            await connection.execute(update(asks).where(self._is(ask)).values(told=1))

    @whole
    async def orphans(self, before: datetime) -> Sequence[Ask]:
        async with self.transactions.begin() as connection:
            untouched = and_(self._ours, in_hand, asks.c.touched_at < before.timestamp())
            return await select_asks(connection, untouched)

    @whole
    async def take_over(self, ask: Ask, at: datetime) -> bool:
        as_seen = and_(in_hand, self._is(ask.id), asks.c.touched_at == ask.touched_at.timestamp())
        taking = update(asks).where(as_seen).values(touched_at=at.timestamp())
        async with self.transactions.begin() as connection:
            return (await connection.execute(taking)).rowcount > 0

    @whole
    async def count(self, team: TeamId, user: UserId, since: datetime) -> int:
        asked = and_(_of(team, user), asks.c.follow.is_(None), asks.c.asked_at >= since.timestamp())
        async with self.transactions.begin() as connection:
            counting = select(func.count()).select_from(asks).where(self._ours, asked)
            return (await connection.execute(counting)).scalar_one()

    @whole
    async def last_model(self, team: TeamId, user: UserId) -> ModelId | None:
        chosen = and_(self._ours, _of(team, user), asks.c.model.is_not(None))
        newest = select(asks.c.model).where(chosen).order_by(asks.c.asked_at.desc(), asks.c.id).limit(1)
        async with self.transactions.begin() as connection:
            model = await connection.scalar(newest)
        return ModelId(model) if model else None

    @whole
    async def forget_asks(self, before: datetime) -> int:
        old = delete(asks).where(self._ours, asks.c.asked_at < before.timestamp())
        async with self.transactions.begin() as connection:
            return (await connection.execute(old)).rowcount

    async def _let_retry(self, connection: AsyncConnection, ask: AskId) -> None:
        """Take back that a card was retried, if nothing has come of the ask yet."""
        for mine in await select_asks(connection, and_(self._is(ask), in_hand)):
            card = and_(watches.c.team == self._team, watches.c.id == mine.retry_of)
            retried = and_(card, watches.c.retried_by == mine.user)
            await connection.execute(update(watches).where(retried).values(retried_by=None))

    def _is(self, ask: AskId) -> ColumnElement[bool]:
        return and_(self._ours, asks.c.id == ask)


class AllAsks:
    """The asks of all teams, for what names the team itself."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    @whole
    async def get(self, team: TeamId, ask: AskId) -> Ask | None:
        """One ask of a team's; None where there is none, or it is forgotten. Raises StoreUnavailable."""
        async with self.transactions.begin() as connection:
            found = await select_asks(connection, and_(asks.c.team == team, asks.c.id == ask))
        return found[0] if found else None


def _of(team: TeamId, user: UserId) -> ColumnElement[bool]:
    return and_(asks.c.team == team, asks.c.user == user)
