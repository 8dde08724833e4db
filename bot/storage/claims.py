"""Claims many jobs in one transaction: after a restart thousands of follows begin in the same moment."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from sqlalchemy import and_, update

from bot.domain import Card, FencingToken, JobId, TeamId
from bot.storage.card_rows import select_cards
from bot.storage.tables import watches
from bot.storage.transactions import Transactions

CLAIMED_AT_ONCE = 50
"""Jobs in one transaction. More would keep others from the database for longer than they notice."""

Claimed = tuple[FencingToken, Sequence[Card]]


class Claims:
    """Gathers the claims of a team's jobs that are wanted in the same moment."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self._transactions = transactions
        self._ours = watches.c.team == team
        self._wanted: list[tuple[JobId, asyncio.Future[Claimed]]] = []
        self._claiming: asyncio.Task[None] | None = None

    async def claim(self, job: JobId) -> Claimed:
        """See `CardRepository.claim`."""
        claimed: asyncio.Future[Claimed] = asyncio.get_running_loop().create_future()
        self._wanted.append((job, claimed))
        if self._claiming is None or self._claiming.done():
            self._claiming = asyncio.create_task(self._claim_all(), name="claim")
        return await claimed

    async def _claim_all(self) -> None:
        while self._wanted:
            batch = self._next_batch()
            try:
                claim, by_job = await self._claim(list(batch))
            except Exception as error:  # noqa: BLE001 - whatever the trouble, those who wait must hear of it
                for claimed in batch.values():
                    if not claimed.done():
                        claimed.set_exception(error)
            else:
                for job, claimed in batch.items():
                    if not claimed.done():
                        claimed.set_result((claim, by_job[job]))

    def _next_batch(self) -> dict[JobId, asyncio.Future[Claimed]]:
        """Take the next of those that wait. A job that is claimed twice has its turn twice: the later claim holds."""
        batch: dict[JobId, asyncio.Future[Claimed]] = {}
        left = []
        for job, claimed in self._wanted:
            if job in batch or len(batch) == CLAIMED_AT_ONCE:
                left.append((job, claimed))
            else:
                batch[job] = claimed
        self._wanted = left
        return batch

    async def _claim(self, jobs: Sequence[JobId]) -> tuple[FencingToken, dict[JobId, list[Card]]]:
        claim = FencingToken(str(uuid4()))
        mine = and_(self._ours, watches.c.job.in_(jobs), watches.c.closed_at.is_(None))
        by_job: dict[JobId, list[Card]] = {job: [] for job in jobs}
        async with self._transactions.begin() as connection:
            # Locked in one order by all processes, so that two of them never wait for each other.
            for card in await select_cards(connection, mine, lock=True):
                by_job[card.job].append(replace(card, token=claim))
            claimed = [card.id for found in by_job.values() for card in found]
            if claimed:
                these = watches.c.id.in_(claimed)
                await connection.execute(update(watches).where(these).values(claim=claim))
        return claim, by_job
