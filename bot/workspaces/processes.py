"""Resources shared by all workspaces of a process, and the secret shared by all processes of a database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, insert, select

from bot.delivery import CardOutcomes
from bot.domain.ports import Runners
from bot.storage import Transactions, secrets
from bot.tracking import EventRouter
from bot.worker import WORKERS, FollowQueue, PgNotify, QueueRunners, TaskRunners, open_pool, prepare

BYTES = 32


async def server_secret(transactions: Transactions, name: str) -> bytes:
    """Load the random secret of that name, or create it. All processes get the same one. Raises StoreUnavailable."""

    def load_or_create(connection: Connection) -> bytes:
        value = connection.scalar(select(secrets.c.value).where(secrets.c.name == name))
        if value is None:
            value = token_hex(BYTES)
            connection.execute(insert(secrets).values(name=name, value=value))
        return bytes.fromhex(value)

    return await transactions.run(load_or_create)


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """Resources that depend on whether there can be several processes."""

    runners: Runners
    arrivals: CardOutcomes
    switchboard: EventRouter
    """Routes webhook events to the process that tracks the job."""
    listen: Callable[[], Coroutine[Any, Any, object]]
    """Receives messages from other processes, until cancelled."""
    peers: PgNotify | None = None
    """Shows the settings of other processes; None if there can be no others."""


@asynccontextmanager
async def process_resources(
    transactions: Transactions, url: str, random: Random
) -> AsyncIterator[ProcessResources]:
    """Open the resources that fit the database. Raises StoreUnavailable."""
    if not transactions.database.is_shared:
        yield ProcessResources(
            TaskRunners(transactions.ping), CardOutcomes(), EventRouter(), asyncio.Event().wait
        )
        return
    await prepare(url)
    async with open_pool(url) as pool:
        bus = PgNotify(url, pool)
        queue = await FollowQueue.over(pool, breathe=transactions.ping, registered=partial(bus.hold, WORKERS))
        yield ProcessResources(
            QueueRunners(queue, bus, random), CardOutcomes(bus), EventRouter(bus), bus.run, bus
        )
