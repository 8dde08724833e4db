"""Durations of the newest few hundred jobs, in SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from bot.domain import JobId
from bot.storage.tables import durations
from bot.storage.transactions import Transactions, transactional

KEPT = 200
"""Durations that are kept: enough for their distribution, few enough to follow a change."""


class SqlJobDurationRepository:
    """`JobDurationRepository` over one database."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    @transactional
    def add(self, connection: Connection, seconds: Mapping[JobId, float], ended_at: datetime) -> None:
        known = set(connection.scalars(select(durations.c.job).where(durations.c.job.in_(list(seconds)))))
        rows = [
            {"job": job, "seconds": took, "ended_at": ended_at}
            for job, took in seconds.items()
            if job not in known
        ]
        if rows:
            connection.execute(insert(durations), rows)
            connection.execute(delete(durations).where(durations.c.job.not_in(_newest("job"))))

    @transactional
    def newest(self, connection: Connection) -> Sequence[float]:
        return list(connection.scalars(_newest("seconds")))


def _newest(column: str) -> Select[Any]:
    return select(durations.c[column]).order_by(durations.c.ended_at.desc(), durations.c.job).limit(KEPT)
