"""Claims many jobs in one transaction, since after a restart thousands of trackers start at once."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from sqlalchemy import Connection, and_, update

from bot.domain import Card, FencingToken, JobId, TeamId
from bot.storage.card_rows import load_cards
from bot.storage.tables import cards
from bot.storage.transactions import Transactions, transactional

CLAIMED_AT_ONCE = 50
"""Jobs in one transaction. More would let other callers wait noticeably."""

Claimed = tuple[FencingToken, dict[JobId, list[Card]]]


@dataclass(slots=True)
class _Batch:
    jobs: set[JobId] = field(default_factory=set)
    claimed: asyncio.Task[Claimed] | None = None


class Claims:
    """Batches the claims of a team's jobs that are requested at the same time."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._of_team = cards.c.team == team
        self._next = _Batch()
        self._one_at_a_time = asyncio.Lock()

    async def claim(self, job: JobId) -> tuple[FencingToken, Sequence[Card]]:
        """See `CardRepository.claim`."""
        # A job that is claimed twice goes into two batches: the later claim wins.
        if job in self._next.jobs or len(self._next.jobs) == CLAIMED_AT_ONCE:
            self._next = _Batch()
        batch = self._next
        batch.jobs.add(job)
        batch.claimed = batch.claimed or asyncio.create_task(self._claim_batch(batch), name="claim")
        token, by_job = await asyncio.shield(batch.claimed)
        return token, by_job[job]

    async def _claim_batch(self, batch: _Batch) -> Claimed:
        async with self._one_at_a_time:
            if batch is self._next:
                self._next = _Batch()
            return await self._claim(batch.jobs)

    @transactional
    def _claim(self, connection: Connection, jobs: Collection[JobId]) -> Claimed:
        token = FencingToken(str(uuid4()))
        mine = and_(self._of_team, cards.c.job.in_(jobs), cards.c.closed_at.is_(None))
        by_job: dict[JobId, list[Card]] = {job: [] for job in jobs}
        # Locked in one order by all processes, so that two of them never wait for each other.
        for card in load_cards(connection, mine, lock=True):
            by_job[card.job].append(replace(card, token=token))
        claimed = [card.id for found in by_job.values() for card in found]
        if claimed:
            connection.execute(update(cards).where(cards.c.id.in_(claimed)).values(token=token))
        return token, by_job
