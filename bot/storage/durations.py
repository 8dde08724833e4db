"""Durations of the newest few hundred jobs, in SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, insert, select

from bot.domain import JobId, WriteConflict
from bot.storage.tables import durations
from bot.storage.transactions import Transactions, transactional

KEPT = 200
"""Durations that are kept: enough for their distribution, few enough to follow a change."""


class SqlJobDurationRepository:
    """`JobDurationRepository` over one database."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    @transactional
    async def add(self, seconds: Mapping[JobId, float], ended_at: datetime) -> None:
        try:
            await self._add(seconds, ended_at)
        except WriteConflict:
            # Another process has just stored one of them.
            await self._add(seconds, ended_at)

    async def _add(self, seconds: Mapping[JobId, float], ended_at: datetime) -> None:
        time = ended_at.timestamp()
        async with self.transactions.begin() as connection:
            known = set(
                await connection.scalars(select(durations.c.job).where(durations.c.job.in_(list(seconds))))
            )
            rows = [
                {"job": job, "seconds": took, "ended_at": time}
                for job, took in seconds.items()
                if job not in known
            ]
            if rows:
                await connection.execute(insert(durations), rows)
                await connection.execute(delete(durations).where(durations.c.job.not_in(_newest("job"))))

    @transactional
    async def newest(self) -> Sequence[float]:
        async with self.transactions.begin() as connection:
            return list(await connection.scalars(_newest("seconds")))


def _newest(column: str) -> Select[Any]:
    return select(durations.c[column]).order_by(durations.c.ended_at.desc(), durations.c.job).limit(KEPT)
