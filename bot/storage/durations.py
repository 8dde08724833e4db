"""Durations of a team's newest jobs, in SQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, or_, select

from bot.domain import JobId, TeamId
from bot.storage.tables import durations
from bot.storage.transactions import Transactions, transactional

KEPT = 50
"""Durations that are kept of each team: enough for quartiles, few enough to follow a change."""


class SqlJobDurationRepository:
    """`JobDurationRepository` for the jobs of one team."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._team = team

    @transactional
    def add(self, connection: Connection, seconds: Mapping[JobId, float], ended_at: datetime) -> None:
        known = set(connection.scalars(select(durations.c.job).where(durations.c.job.in_(list(seconds)))))
        rows = [
            {"job": job, "seconds": took, "ended_at": ended_at, "team": self._team}
            for job, took in seconds.items()
            if job not in known
        ]
        if rows:
            connection.execute(insert(durations), rows)
            # Those without a team are an older version's, and of no use.
            replaced = or_(durations.c.team == self._team, durations.c.team.is_(None))
            kept = self._newest("job")
            connection.execute(delete(durations).where(replaced, durations.c.job.not_in(kept)))

    @transactional
    def newest(self, connection: Connection) -> Sequence[float]:
        return list(connection.scalars(self._newest("seconds")))

    def _newest(self, column: str) -> Select[Any]:
        mine = select(durations.c[column]).where(durations.c.team == self._team)
        return mine.order_by(durations.c.ended_at.desc(), durations.c.job).limit(KEPT)
