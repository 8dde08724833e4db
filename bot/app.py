"""The composition root: opens, runs and shuts down everything that one process needs."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import aiohttp
import structlog

from bot import __version__
from bot.domain import WorkspaceNotOpened
from bot.domain.ports import Metrics
from bot.ratelimit import OmniRateLimiters
from bot.server import Routes, http
from bot.settings import Settings
from bot.slack import EventSource, SocketMode, slack_client, slack_session
from bot.storage import Database, SqlRateLimitStore, Transactions, shown
from bot.tasks import end
from bot.tracking import ConversationLists
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
    sweep_uninstalled,
)

log = structlog.get_logger()

WRITES_WITHIN_SECONDS = 2.5
"""How long database writes may delay the shutdown. With the workspaces and the socket, it takes less than 10 s."""


async def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT.

    Raises:
        StoreUnavailable: the database can't be opened.
        TokenRefused: Slack refuses one of the tokens.
        PortTaken: `settings.port` can't be listened on.
        SettingsError: another process on the database has other settings.
        WorkspaceNotOpened: the only workspace could not be opened.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the bot until `stop` is set. Raises as `run`."""
    routes = Routes(settings)
    log.info(
        "starting",
        version=__version__,
        mode="socket" if routes.http is None else "http",
        workspaces="one" if routes.oauth is None else "several",
        database=shown(settings.database_url.get_secret_value()),
        port=settings.port or "none",
    )
    async with AsyncExitStack() as closing:
        if settings.port is not None:
            # First, so that the process reports its health while it waits for Slack.
            await closing.enter_async_context(http.serve(settings.host, settings.port, routes.routes()))
        database = await Database.open(settings.database_url.get_secret_value())
        closing.push_async_callback(database.close)
        transactions = Transactions(database)
        closing.push_async_callback(_drain, transactions)
        session = await closing.enter_async_context(slack_session())
        slack = slack_client(settings.app_token, settings.slack_api_url, session, routes.metrics)
        installing = Installer(settings, transactions, session) if routes.oauth is not None else None
        resources = await closing.enter_async_context(
            _shared_resources(settings, session, transactions, routes.metrics, installing)
        )
        source = SingleWorkspace(settings, session, slack) if installing is None else installing.installations
        workspaces = Workspaces(source, partial(build, resources))
        # Workspaces must stop before the resources that they use are closed.
        closing.push_async_callback(workspaces.stop)
        peers = resources.processes.peers
        agreement = None if peers is None or installing is not None else Agreement(peers, source)
        starting = asyncio.create_task(_start(workspaces, agreement))
        if not await _done_before(stop, starting):
            return
        starting.result()
        if installing is None and workspaces.problem():
            raise WorkspaceNotOpened
        if routes.oauth is not None and installing is not None:
            routes.oauth.open(installing.open(workspaces, peers))
            closing.callback(routes.oauth.close)
        apps = workspaces.only_app if installing is None else installing.app_of
        event_source = routes.http or SocketMode(routes.dispatcher, slack)
        routes.open(resources, workspaces, apps, event_source)
        upkeep = [workspaces.run, routes.health.watch]
        if database.is_shared:
            upkeep.append(workspaces.share_requests)
        if agreement is not None:
            upkeep.append(partial(agreement.keep, lambda: [each.limiter for each in workspaces.running]))
        if installing is not None:
            upkeep.append(
                partial(sweep_uninstalled, transactions, now, retention_days=settings.retention_days)
            )
        await _work(workspaces, event_source, resources.processes, upkeep, stop)
    log.info("stopped")


@asynccontextmanager
async def _shared_resources(
    settings: Settings,
    session: aiohttp.ClientSession,
    transactions: Transactions,
    metrics: Metrics,
    installing: Installer | None,
) -> AsyncIterator[SharedResources]:
    """Open the shared resources. Raises StoreUnavailable."""
    # No other process can open a SQLite database that is in use.
    alone_since = None if transactions.database.is_shared else now()
    rate_limits = SqlRateLimitStore(transactions, now)
    async with process_resources(
        transactions, settings.database_url.get_secret_value(), Random()
    ) as processes:
        yield SharedResources(
            settings=settings,
            session=session,
            transactions=transactions,
            rate_limits=rate_limits,
            limiters=OmniRateLimiters(rate_limits),
            conversations=ConversationLists(),
            processes=processes,
            webhook_secret=await server_secret(transactions, "omni webhook"),
            metrics=metrics,
            alone_since=alone_since,
            uninstaller=None if installing is None else installing.uninstaller,
        )


async def _start(workspaces: Workspaces, agreement: Agreement | None) -> None:
    if agreement is not None:
        await agreement.begin()
    await workspaces.refresh()


async def _done_before(stop: asyncio.Event, task: asyncio.Task[None]) -> bool:
    """Wait until the task is done or `stop` is set. Returns whether the task is done."""
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
    event_source: EventSource,
    processes: ProcessResources,
    upkeep: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    stop: asyncio.Event,
) -> None:
    """Run the shared tasks until `stop` is set, then end them in order. `upkeep` runs until cancelled."""
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(processes.listen(), name="listen")
        running = group.create_task(processes.runners.run(workspaces.of), name="runners")
        upkeep_tasks = [group.create_task(work(), name="upkeep") for work in upkeep]
        receiving = group.create_task(event_source.run(), name="event_source")
        await stop.wait()
        log.info("stopping")
        # First stop receiving requests; each workspace then finishes those in progress.
        receiving.cancel()
        await asyncio.wait({receiving})
        await end(upkeep_tasks)
        processes.runners.drain()
        await workspaces.stop()
        running.cancel()
        listening.cancel()


async def _drain(transactions: Transactions) -> None:
    await at_most(WRITES_WITHIN_SECONDS, "writes", transactions.drain())
