"""What the processes of one database know and nobody else: random, made by the first of them, kept with the follows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from secrets import token_hex
from typing import Any

from sqlalchemy import insert, select

from bot.delivery import CardOutcomes
from bot.domain import WriteConflict
from bot.domain.ports import Runners
from bot.storage import Transactions, secrets
from bot.tracking import EventRouter
from bot.worker import FollowQueue, PgNotify, QueueRunners, TaskRunners, open_pool, prepare

BYTES = 32


async def server_secret(transactions: Transactions, name: str) -> bytes:
    """The secret of that name, the same in every process and after every restart. Raises StoreUnavailable."""
    try:
        return await transactions.run(_known_or_new(transactions, name))
    except WriteConflict:
        # Another process has made it in this moment.
        return await transactions.run(_known_or_new(transactions, name))


async def _known_or_new(transactions: Transactions, name: str) -> bytes:
    async with transactions.begin() as connection:
        value = await connection.scalar(select(secrets.c.value).where(secrets.c.name == name))
        if value is None:
            value = token_hex(BYTES)
            await connection.execute(insert(secrets).values(name=name, value=value))
    return bytes.fromhex(value)


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """What differs between one process and several."""

    runners: Runners
    arrivals: CardOutcomes
    switchboard: EventRouter
    """Where what Omni tells goes to whoever follows the job."""
    listen: Callable[[], Coroutine[Any, Any, object]]
    """Hears what other processes have to tell, until cancelled."""
    peers: PgNotify | None = None
    """Where the settings of other processes show; None: there can be no other."""


@asynccontextmanager
async def process_resources(
    transactions: Transactions, url: str, random: Random
) -> AsyncIterator[ProcessResources]:
    """What fits the database. Raises StoreUnavailable."""
    if not transactions.database.is_shared:
        yield ProcessResources(
            TaskRunners(transactions.ping), CardOutcomes(), EventRouter(), asyncio.Event().wait
        )
        return
    await prepare(url)
    async with open_pool(url) as pool:
        relay = PgNotify(url, pool)
        entries = await FollowQueue.over(pool, breathe=transactions.ping, registered=relay.show)
        yield ProcessResources(
            QueueRunners(entries, relay, random), CardOutcomes(relay), EventRouter(relay), relay.run, relay
        )
