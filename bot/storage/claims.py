"""Claims many jobs in one transaction, since after a restart thousands of trackers start at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from sqlalchemy import Connection, and_, update

from bot.domain import Card, FencingToken, JobId, TeamId
from bot.storage.card_rows import load_cards
from bot.storage.tables import cards
from bot.storage.transactions import Transactions, transactional

CLAIMED_AT_ONCE = 50
"""Jobs in one transaction. More would let other callers wait noticeably."""

Claimed = tuple[FencingToken, Sequence[Card]]


class Claims:
    """Batches the claims of a team's jobs that are requested at the same time."""

    def __init__(self, transactions: Transactions, team: TeamId) -> None:
        self.transactions = transactions
        self._of_team = cards.c.team == team
        self._wanted: list[tuple[JobId, asyncio.Future[Claimed]]] = []
        self._claiming: asyncio.Task[None] | None = None

    async def claim(self, job: JobId) -> Claimed:
        """See `CardRepository.claim`."""
        claimed: asyncio.Future[Claimed] = asyncio.get_running_loop().create_future()
        self._wanted.append((job, claimed))
        if self._claiming is None or self._claiming.done():
            self._claiming = asyncio.create_task(self._claim_wanted(), name="claim")
        return await claimed

    async def _claim_wanted(self) -> None:
        while self._wanted:
            batch = self._next_batch()
            try:
                claim, by_job = await self._claim(list(batch))
            except Exception as error:  # noqa: BLE001 - every waiting caller gets the error
                for claimed in batch.values():
                    if not claimed.done():
                        claimed.set_exception(error)
            else:
                for job, claimed in batch.items():
                    if not claimed.done():
                        claimed.set_result((claim, by_job[job]))

    def _next_batch(self) -> dict[JobId, asyncio.Future[Claimed]]:
        """Take the next waiting claims. A job that is claimed twice goes into two batches: the later claim wins."""
        batch: dict[JobId, asyncio.Future[Claimed]] = {}
        left = []
        for job, claimed in self._wanted:
            if job in batch or len(batch) == CLAIMED_AT_ONCE:
                left.append((job, claimed))
            else:
                batch[job] = claimed
        self._wanted = left
        return batch

    @transactional
    def _claim(
        self, connection: Connection, jobs: Sequence[JobId]
    ) -> tuple[FencingToken, dict[JobId, list[Card]]]:
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
