"""Rate limits in SQL: one UPDATE per request, so that all processes on a database share the same budgets."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from bot.ratelimit import Rate
from bot.storage.tables import budgets
from bot.storage.transactions import Transactions, transactional

LONGEST_PAUSE_SECONDS = 300.0
"""The longest pause of a budget."""
ROUNDING_SECONDS = 0.001


class SqlRateLimitStore:
    """`RateLimitStore` with one row per budget: its theoretical arrival time, and the end of its pause."""

    def __init__(self, transactions: Transactions, now: Callable[[], datetime]) -> None:
        """`now`: the clock for SQLite. On PostgreSQL the server's clock is used, since those of processes differ."""
        self.transactions = transactions
        self._process_time = now
        self._has_own_clock = transactions.database.is_shared
        self._statements = _Statements(
            _DATABASE_TIME if self._has_own_clock else bindparam("now", type_=Float)
        )
        self._known: set[str] = set()

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        """See `RateLimitStore.take`."""
        await self._ensure_row(budget, rate)
        return await self._take(budget, rate, urgent=urgent)

    @transactional
    def _take(self, connection: Connection, budget: str, rate: Rate, *, urgent: bool) -> float:
        asked = self._asked(budget, rate, urgent=urgent)
        if connection.execute(self._statements.take, asked).rowcount:
            return 0.0
        early, paused = connection.execute(self._statements.wait, asked).one()
        return max(float(early), float(paused), ROUNDING_SECONDS)

    async def pause(self, budget: str, rate: Rate, seconds: float) -> None:
        """See `RateLimitStore.pause`."""
        await self._ensure_row(budget, rate)
        await self._pause(budget, min(seconds, LONGEST_PAUSE_SECONDS))

    @transactional
    def _pause(self, connection: Connection, budget: str, seconds: float) -> None:
        connection.execute(self._statements.pause, self._timed({"budget": budget, "seconds": seconds}))

    @transactional
    def left(self, connection: Connection, budget: str, rate: Rate) -> float:
        """Return how many requests could be sent now without a wait: 0 while paused, at most the burst."""
        found = connection.scalar(self._statements.left, self._asked(budget, rate, urgent=True))
        burst = 1.0 + rate.tolerance_seconds / rate.interval_seconds
        return burst if found is None else min(burst, max(0.0, float(found)))

    async def _ensure_row(self, budget: str, rate: Rate) -> None:
        """Insert the budget's row if it is missing. If the clock was set back since the last process wrote it, the
        whole burst counts as used: when those requests were sent is unknown."""
        if budget not in self._known:
            await self._begin(budget, rate)
            self._known.add(budget)

    @transactional
    def _begin(self, connection: Connection, budget: str, rate: Rate) -> None:
        if connection.scalar(self._statements.find, {"budget": budget}) is None:
            connection.execute(self._statements.begin, self._timed({"budget": budget}))
        else:
            connection.execute(self._statements.limit, self._asked(budget, rate, urgent=True))

    def _asked(self, budget: str, rate: Rate, *, urgent: bool) -> dict[str, Any]:
        ahead = rate.tolerance_seconds if urgent else rate.background_tolerance_seconds
        furthest = rate.tolerance_seconds + rate.interval_seconds
        return self._timed(
            {"budget": budget, "interval": rate.interval_seconds, "ahead": ahead, "furthest": furthest}
        )

    def _timed(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Add the time on SQLite. Call it inside the transaction: an earlier time would put requests that others took
        meanwhile into the future, where they don't count."""
        return asked if self._has_own_clock else {**asked, "now": self._process_time().timestamp()}


_DATABASE_TIME = cast(func.extract("epoch", func.clock_timestamp()), Float)


class _Statements:
    """Statements that are built once: building `take` costs as much time as running it."""

    def __init__(self, now: ColumnElement[Any]) -> None:
        interval, ahead, furthest, seconds = (
            bindparam(name, type_=Float) for name in ("interval", "ahead", "furthest", "seconds")
        )
        name, arrival, until = budgets.c.name, budgets.c.arrival, budgets.c.paused_until
        this = name == bindparam("budget")
        # A pause longer than the longest, or an arrival further ahead than a request can put it, is left from a
        # clock that was set back: both are ignored.
        is_paused = and_(until > now, until <= now + LONGEST_PAUSE_SECONDS)
        is_too_far = arrival > now + furthest + ROUNDING_SECONDS
        arrives = case((is_too_far, now), else_=arrival)
        spent = case((arrives > now, arrives), else_=now) + interval
        behind = now + furthest - arrives

        self.find = select(name).where(this)
        self.begin = insert(budgets).values(name=bindparam("budget"), arrival=now, paused_until=0.0)
        self.limit = update(budgets).where(this, is_too_far).values(arrival=now + furthest)
        self.take = update(budgets).where(this, arrives <= now + ahead, not_(is_paused)).values(arrival=spent)
        self.wait = select(arrives - ahead - now, case((is_paused, until - now), else_=0.0)).where(this)
        shorter = or_(until < now + seconds, until > now + LONGEST_PAUSE_SECONDS)
        self.pause = update(budgets).where(this, shorter).values(paused_until=now + seconds)
        self.left = select(case((is_paused, 0.0), else_=behind / interval)).where(this)
