"""How the processes on a database share the follows: the only one on SQLite, or one of several on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from bot.arrivals import Arrivals
from bot.entries import Entries
from bot.jobevents import Switchboard
from bot.pgnotify import PgNotify
from bot.pgpool import open_pool
from bot.queue import Queue
from bot.queueschema import prepare
from bot.runner import Runners, TaskRunners
from bot.transactions import Transactions


@dataclass(frozen=True, slots=True)
class Sharing:
    """What differs between one process and several."""

    runners: Runners
    arrivals: Arrivals
    switchboard: Switchboard
    """Where what Omni tells goes to whoever follows the job."""
    listen: Callable[[], Coroutine[Any, Any, object]]
    """Hears what other processes have to tell, until cancelled."""
    peers: PgNotify | None = None
    """Where the settings of other processes show; None: there can be no other."""


@asynccontextmanager
async def sharing(transactions: Transactions, url: str, random: Random) -> AsyncIterator[Sharing]:
    """What fits the database. Raises StoreUnavailable."""
    if not transactions.database.is_shared:
        yield Sharing(TaskRunners(transactions.answers), Arrivals(), Switchboard(), asyncio.Event().wait)
        return
    await prepare(url)
    async with open_pool(url) as pool:
        relay = PgNotify(url, pool)
        entries = await Entries.over(pool, breathe=transactions.answers, registered=relay.show)
        yield Sharing(Queue(entries, relay, random), Arrivals(relay), Switchboard(relay), relay.run, relay)
