"""The watches and the budgets in SQL, one short transaction per call. No prompt and no answer is stored."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.budget import Rate
from bot.job import JobId
from bot.ports import StoreUnavailable
from bot.tables import Database, budgets, followers, watches
from bot.watch import ChannelId, Place, TeamId, Ts, UserId, Watch, WatchId
from bot.whole import WholeSteps

LONGEST_PAUSE_SECONDS = 300.0
"""No budget is paused for longer."""

_still_open = watches.c.closed_at.is_(None)


P = ParamSpec("P")
T = TypeVar("T")


def _whole(
    method: Callable[Concatenate["Store", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Store", P], Coroutine[Any, Any, T]]:
    """Let no cancelled caller tear a transaction."""

    @wraps(method)
    async def run(store: "Store", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.steps.run(method(store, *args, **kwargs))

    return run


class Store:
    """`Watches` and `Ledger` over one database."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._engine = database.engine
        self._now = now
        self.steps = WholeSteps()
        self._ending = False

    async def settle(self) -> None:
        """Let the transaction under way end and none begin after it. For the end of the process."""
        self._ending = True
        await self.steps.settle()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                if self._ending:
                    raise StoreUnavailable("the process ends")
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable(str(getattr(error, "orig", None) or type(error).__name__)) from error

    @_whole
    async def answers(self) -> None:
        """Raise StoreUnavailable if the database can't be read."""
        async with self._transaction() as connection:
            await connection.execute(select(watches.c.id).limit(1))

    # Watches

    @_whole
    async def add(self, watch: Watch) -> Watch:
        async with self._transaction() as connection:
            await _add(connection, watch)
            return (await _select(connection, _same_place(watch)))[0]

    @_whole
    async def get(self, watch: WatchId) -> Watch | None:
        async with self._transaction() as connection:
            found = await _select(connection, watches.c.id == watch)
        return found[0] if found else None

    @_whole
    async def open_watches(self, job: JobId) -> Sequence[Watch]:
        async with self._transaction() as connection:
            return await _select(connection, and_(watches.c.job == job, _still_open))

    @_whole
    async def open_jobs(self) -> Sequence[JobId]:
        by_age = (
            select(watches.c.job)
            .where(_still_open)
            .group_by(watches.c.job)
            .order_by(func.min(watches.c.asked_at))
        )
        async with self._transaction() as connection:
            return [JobId(job) for job in await connection.scalars(by_age)]

    @_whole
    async def open_watches_of(self, team: TeamId, follower: UserId) -> Sequence[Watch]:
        followed = exists().where(followers.c.watch == watches.c.id, followers.c.user == follower)
        async with self._transaction() as connection:
            found = await _select(connection, and_(watches.c.team == team, _still_open, followed))
        return found[::-1]

    @_whole
    async def unfollow(self, watch: WatchId, follower: UserId) -> int | None:
        mine = delete(followers).where(followers.c.watch == watch, followers.c.user == follower)
        left = select(func.count()).select_from(followers).where(followers.c.watch == watch)
        async with self._transaction() as connection:
            if (await connection.execute(mine)).rowcount == 0:
                return None
            return (await connection.execute(left)).scalar_one()

    @_whole
    async def card_tried(self, watch: WatchId, at: datetime | None) -> None:
        await self._set(watch, card_tried_at=at.timestamp() if at else None)

    @_whole
    async def card_posted(self, watch: WatchId, ts: Ts, fingerprint: str | None) -> None:
        await self._set(watch, card=ts, shown=fingerprint)

    @_whole
    async def card_shows(self, watch: WatchId, card: Ts, fingerprint: str | None) -> None:
        await self._set(watch, watches.c.card == card, shown=fingerprint)

    @_whole
    async def card_is_gone(self, watch: WatchId, card: Ts) -> None:
        await self._set(watch, watches.c.card == card, card_gone=1)

    @_whole
    async def notice_tried(self, watch: WatchId, at: datetime | None) -> None:
        await self._set(watch, notice_tried_at=at.timestamp() if at else None)

    @_whole
    async def notice_posted(self, watch: WatchId, ts: Ts, fingerprint: str | None) -> None:  # noqa: ARG002
        await self._set(watch, notice=ts)

    @_whole
    async def move(self, watch: Watch, to: Sequence[Watch]) -> bool:
        async with self._transaction() as connection:
            found = await _select(connection, watches.c.id == watch.id)
            if [there.followers for there in found] != [watch.followers]:
                return False
            await connection.execute(delete(watches).where(watches.c.id == watch.id))
            for elsewhere in to:
                await _add(connection, elsewhere)
            return True

    @_whole
    async def start_over(self, watch: WatchId, card: Ts) -> None:
        nothing = dict.fromkeys(("card_tried_at", "card", "shown", "notice_tried_at", "notice"))
        await self._set(watch, watches.c.card == card, card_gone=0, **nothing)

    @_whole
    async def close(self, watch: WatchId, at: datetime) -> None:
        await self._set(watch, closed_at=at.timestamp())

    @_whole
    async def close_if_deserted(self, watch: WatchId, at: datetime) -> None:
        followed = exists().where(followers.c.watch == watch)
        await self._set(watch, ~followed, closed_at=at.timestamp())

    @_whole
    async def remove(self, watch: WatchId) -> None:
        async with self._transaction() as connection:
            await connection.execute(delete(watches).where(watches.c.id == watch))

    async def _set(self, watch: WatchId, *only_if: ColumnElement[bool], **columns: object) -> None:
        async with self._transaction() as connection:
            await connection.execute(update(watches).where(watches.c.id == watch, *only_if).values(**columns))

    # Ledger

    @_whole
    async def take(self, budget: str, rate: Rate) -> float:
        now = self._now().timestamp()
        async with self._transaction() as connection:
            arrival, paused_until = await _budget(connection, budget, now)
            # Times further ahead than anything here puts them are traces of a clock that was set back.
            if now < paused_until <= now + LONGEST_PAUSE_SECONDS:
                return paused_until - now
            if arrival > now + rate.tolerance_seconds + rate.interval_seconds + 0.001:
                arrival = now
            if arrival > now + rate.tolerance_seconds:
                return arrival - rate.tolerance_seconds - now
            spent = max(arrival, now) + rate.interval_seconds
            await connection.execute(update(budgets).where(budgets.c.name == budget).values(arrival=spent))
            return 0.0

    @_whole
    async def pause(self, budget: str, _rate: Rate, seconds: float) -> None:
        now = self._now().timestamp()
        until = now + min(seconds, LONGEST_PAUSE_SECONDS)
        paused = budgets.c.paused_until
        shorter = or_(paused < until, paused > now + LONGEST_PAUSE_SECONDS)
        async with self._transaction() as connection:
            await _budget(connection, budget, now)
            await connection.execute(
                update(budgets).where(budgets.c.name == budget, shorter).values(paused_until=until)
            )


async def _budget(connection: AsyncConnection, budget: str, now: float) -> tuple[float, float]:
    """When the budget's next request is due and until when it is paused; a new budget begins now."""
    row = select(budgets.c.arrival, budgets.c.paused_until).where(budgets.c.name == budget)
    found = (await connection.execute(row)).first()
    if found is None:
        await connection.execute(insert(budgets).values(name=budget, arrival=now, paused_until=0.0))
        return now, 0.0
    return float(found.arrival), float(found.paused_until)


def _same_place(watch: Watch) -> ColumnElement[bool]:
    return and_(
        watches.c.team == watch.place.team,
        watches.c.channel == watch.place.channel,
        watches.c.job == watch.job,
    )


async def _add(connection: AsyncConnection, watch: Watch) -> None:
    there = await _select(connection, _same_place(watch))
    if not there:
        row = {
            "id": watch.id,
            "job": watch.job,
            "team": watch.place.team,
            "channel": watch.place.channel,
            "requester": watch.requester,
            "asked_at": watch.asked_at.timestamp(),
        }
        await connection.execute(insert(watches).values(row))
        await _let_follow(connection, watch.id, watch.followers)
        return
    kept = there[0]
    if kept.closed_at is not None or not kept.followers:
        again = {"closed_at": None, "requester": watch.requester, "asked_at": watch.asked_at.timestamp()}
        await connection.execute(update(watches).where(watches.c.id == kept.id).values(again))
        await connection.execute(delete(followers).where(followers.c.watch == kept.id))
        kept = (await _select(connection, watches.c.id == kept.id))[0]
    await _let_follow(connection, kept.id, [user for user in watch.followers if user not in kept.followers])


async def _let_follow(connection: AsyncConnection, watch: WatchId, users: Sequence[UserId]) -> None:
    if users:
        await connection.execute(insert(followers), [{"watch": watch, "user": user} for user in users])


async def _select(connection: AsyncConnection, condition: ColumnElement[bool]) -> list[Watch]:
    rows = await connection.execute(
        select(watches).where(condition).order_by(watches.c.asked_at, watches.c.id)
    )
    found = [row._mapping for row in rows]
    who: dict[str, list[UserId]] = {row["id"]: [] for row in found}
    for watch, user in await connection.execute(
        select(followers.c.watch, followers.c.user)
        .where(followers.c.watch.in_(who))
        .order_by(followers.c.number)
    ):
        who[watch].append(UserId(user))
    return [_watch(row, tuple(who[row["id"]])) for row in found]


def _watch(row: Any, who: tuple[UserId, ...]) -> Watch:
    return Watch(
        id=WatchId(row["id"]),
        job=JobId(row["job"]),
        place=Place(TeamId(row["team"]), ChannelId(row["channel"])),
        requester=UserId(row["requester"]),
        followers=who,
        asked_at=_time(row["asked_at"]),
        card_tried_at=_time_or_none(row["card_tried_at"]),
        card=Ts(row["card"]) if row["card"] else None,
        card_gone=bool(row["card_gone"]),
        shown=row["shown"],
        notice_tried_at=_time_or_none(row["notice_tried_at"]),
        notice=Ts(row["notice"]) if row["notice"] else None,
        closed_at=_time_or_none(row["closed_at"]),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
