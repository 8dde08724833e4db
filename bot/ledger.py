"""The budgets in SQL: one UPDATE per request, so that all processes on a database spend from the same one."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    and_,
    case,
    cast,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)

from bot.budget import Rate
from bot.tables import budgets
from bot.transactions import Conflict, Transactions, whole

LONGEST_PAUSE_SECONDS = 300.0
"""No budget is paused for longer."""
ROUNDING_SECONDS = 0.001


class StoredLedger:
    """`Ledger` over one row per budget: its theoretical arrival time, and until when nothing may go."""

    def __init__(self, transactions: Transactions, now: Callable[[], datetime]) -> None:
        """`now` tells the time on SQLite. PostgreSQL's own clock serves all processes, whose clocks differ."""
        self.transactions = transactions
        self._process_time = now
        self._known: set[str] = set()

    @whole
    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        """See `Ledger.take`."""
        await self._know(budget)
        now = self._now()
        arrival = _arrival(now, rate)
        ahead = rate.tolerance_seconds if urgent else rate.unhurried_tolerance_seconds
        fits = and_(arrival <= now + ahead, not_(_is_paused(now)))
        spent = case((arrival > now, arrival), else_=now) + rate.interval_seconds
        take = update(budgets).where(budgets.c.name == budget, fits).values(arrival=spent)
        waits = select(
            arrival - ahead - now, case((_is_paused(now), budgets.c.paused_until - now), else_=0.0)
        )
        async with self.transactions.begin() as connection:
            if (await connection.execute(take)).rowcount:
                return 0.0
            early, paused = (await connection.execute(waits.where(budgets.c.name == budget))).one()
        return max(float(early), float(paused), ROUNDING_SECONDS)

    @whole
    async def pause(self, budget: str, _rate: Rate, seconds: float) -> None:
        """See `Ledger.pause`."""
        await self._know(budget)
        now = self._now()
        until = now + min(seconds, LONGEST_PAUSE_SECONDS)
        paused = budgets.c.paused_until
        shorter = or_(paused < until, paused > now + LONGEST_PAUSE_SECONDS)
        pause = update(budgets).where(budgets.c.name == budget, shorter).values(paused_until=until)
        async with self.transactions.begin() as connection:
            await connection.execute(pause)

    @whole
    async def left(self, budget: str, rate: Rate) -> float:
        """How many requests could go at this moment without a wait: none while it is paused, and at most the burst.
        Takes nothing."""
        now = self._now()
        behind = now + (rate.tolerance_seconds + rate.interval_seconds) - _arrival(now, rate)
        left = case((_is_paused(now), 0.0), else_=behind / rate.interval_seconds)
        async with self.transactions.begin() as connection:
            found = await connection.scalar(select(left).where(budgets.c.name == budget))
        burst = 1.0 + rate.tolerance_seconds / rate.interval_seconds
        return burst if found is None else min(burst, max(0.0, float(found)))

    async def _know(self, budget: str) -> None:
        """See that the budget has a row; a new one begins now."""
        if budget in self._known:
            return
        row = insert(budgets).values(name=budget, arrival=self._now(), paused_until=0.0)
        try:
            async with self.transactions.begin() as connection:
                if (await connection.scalar(select(budgets.c.name).where(budgets.c.name == budget))) is None:
                    await connection.execute(row)
        except Conflict:
            pass  # another process was faster
        self._known.add(budget)

    def _now(self) -> ColumnElement[Any]:
        if self.transactions.database.is_shared:
            return cast(func.extract("epoch", func.clock_timestamp()), Float)
        return literal(self._process_time().timestamp(), Float)


def _arrival(now: ColumnElement[Any], rate: Rate) -> ColumnElement[Any]:
    """The budget's arrival time. One that lies further ahead than a request can put it is a trace of a clock
    that was set back, and counts for nothing."""
    furthest = now + (rate.tolerance_seconds + rate.interval_seconds + ROUNDING_SECONDS)
    return case((budgets.c.arrival > furthest, now), else_=budgets.c.arrival)


def _is_paused(now: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether nothing may go. A pause of more than the longest is a trace of a clock that was set back."""
    until = budgets.c.paused_until
    return and_(until > now, until <= now + LONGEST_PAUSE_SECONDS)
