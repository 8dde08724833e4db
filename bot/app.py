"""The composition root: opens what all workspaces share, runs them and Slack's connection, and closes it in reverse."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import aiohttp
import structlog

from bot.domain.ports import Metrics
from bot.ratelimit import OmniRateLimiters
from bot.server import Routes, http
from bot.settings import Settings
from bot.slack import EventSource, SocketMode, slack_client, slack_session
from bot.storage import Database, SqlRateLimitStore, Transactions, sweep_uninstalled
from bot.tasks import end
from bot.workspaces import (
    Agreement,
    Installer,
    ProcessResources,
    SharedResources,
    SingleWorkspace,
    Workspaces,
    at_most,
    build,
    now,
    process_resources,
    server_secret,
)

log = structlog.get_logger()

WRITES_WITHIN_SECONDS = 2.5
"""At the end, how long what is being written may take to be stored. Together with what the workspaces take, and with
closing the socket, it stays under 10 s."""


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT.

    Raises:
        StoreUnavailable: the database can't be opened.
        TokenRefused: Slack refuses one of the tokens.
        PortTaken: `settings.port` can't be listened on.
        SettingsError: another process on the database has other settings.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the bot until `stop` is set. Raises what `run` raises."""
    doors = Routes(settings)
    async with AsyncExitStack() as closing:
        if settings.port is not None:
            # First of all: while Slack can't be reached, the process is alive and says that it is not ready.
            await closing.enter_async_context(http.serve(settings.host, settings.port, doors.routes()))
        database = await Database.open(settings.database_url.get_secret_value())
        closing.push_async_callback(database.close)
        transactions = Transactions(database)
        closing.push_async_callback(_settle, transactions)
        session = await closing.enter_async_context(slack_session())
        slack = slack_client(settings.app_token, settings.slack_api_url, session, doors.metrics)
        installing = Installer(settings, transactions, session) if doors.oauth is not None else None
        common = await closing.enter_async_context(
            _common(settings, session, transactions, doors.metrics, installing)
        )
        source = SingleWorkspace(settings, session, slack) if installing is None else installing.installations
        workspaces = Workspaces(source, partial(build, common))
        # However this ends, no workspace outlives what it stands on.
        closing.push_async_callback(workspaces.stop)
        peers = common.processes.peers
        agreement = None if peers is None or installing is not None else Agreement(peers, source)
        starting = asyncio.create_task(_start(workspaces, agreement))
        if not await _before(stop, starting):
            return
        starting.result()
        if doors.oauth is not None and installing is not None:
            doors.oauth.open(installing.open(workspaces))
            closing.callback(doors.oauth.close)
        apps = workspaces.only_app if installing is None else installing.app_of
        delivery = doors.http or SocketMode(doors.dispatch, settings.app_token, slack)
        doors.open(common, workspaces, apps, delivery)
        upkeep = [workspaces.run, doors.health.watch]
        if database.is_shared:
            upkeep.append(workspaces.share_requests)
        if agreement is not None:
            upkeep.append(partial(agreement.keep, lambda: [each.limiter for each in workspaces.running]))
        if installing is not None:
            upkeep.append(
                partial(sweep_uninstalled, transactions, now, retention_days=settings.retention_days)
            )
        await _work(workspaces, delivery, common.processes, upkeep, stop)
    log.info("stopped")


@asynccontextmanager
async def _common(
    settings: Settings,
    session: aiohttp.ClientSession,
    transactions: Transactions,
    metrics: Metrics,
    installing: Installer | None,
) -> AsyncIterator[SharedResources]:
    """What all workspaces have in common. Raises StoreUnavailable."""
    # Nobody else can open what only one process may use.
    alone_since = None if transactions.database.is_shared else now()
    ledger = SqlRateLimitStore(transactions, now)
    async with process_resources(transactions, settings.database_url.get_secret_value(), Random()) as shared:
        yield SharedResources(
            settings=settings,
            session=session,
            transactions=transactions,
            rate_limits=ledger,
            limiters=OmniRateLimiters(ledger),
            processes=shared,
            webhook_secret=await server_secret(transactions, "omni webhook"),
            metrics=metrics,
            alone_since=alone_since,
            uninstaller=None if installing is None else installing.leaving,
        )


async def _start(workspaces: Workspaces, agreement: Agreement | None) -> None:
    if agreement is not None:
        await agreement.begin()
    await workspaces.look()


async def _before(stop: asyncio.Event, task: asyncio.Task[None]) -> bool:
    """Wait for the task or for the wish to stop, whichever comes first. Whether the task is done."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return False
    return True


async def _work(
    workspaces: Workspaces,
    delivery: EventSource,
    shared: ProcessResources,
    upkeep: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    stop: asyncio.Event,
) -> None:
    """Run beside each other what all workspaces share; then end it all, in order. `upkeep` goes on until it is
    cancelled."""
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(shared.listen(), name="listen")
        running = group.create_task(shared.runners.run(workspaces.of), name="runners")
        keeping = [group.create_task(work(), name="upkeep") for work in upkeep]
        delivering = group.create_task(delivery.run(), name="delivery")
        await stop.wait()
        log.info("stopping")
        # New requests end first; each workspace ends those under way.
        delivering.cancel()
        await asyncio.wait({delivering})
        await end(keeping)
        shared.runners.drain()
        await workspaces.stop()
        running.cancel()
        listening.cancel()


async def _settle(transactions: Transactions) -> None:
    await at_most(WRITES_WITHIN_SECONDS, "writes", transactions.drain())
