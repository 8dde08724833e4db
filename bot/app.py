"""The composition root: opens what all workspaces share, runs them and Slack's connection, and closes it in reverse."""

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from random import Random

import structlog
from slack_bolt.async_app import AsyncApp

from bot import web
from bot.askstore import AllAsks
from bot.credentials import Source
from bot.database import Database
from bot.delivery import Delivery
from bot.dispatch import Dispatch
from bot.exposition import Exposition
from bot.gates import OmniGates
from bot.health import Health, Vitals
from bot.httpmode import HttpMode
from bot.installing import Installing
from bot.ledger import StoredLedger
from bot.metrics import Metrics
from bot.oauth import OAuth
from bot.serversecret import server_secret
from bot.settings import Settings
from bot.sharing import Sharing, sharing
from bot.singleworkspace import SingleWorkspace
from bot.slack import slack_client, slack_session
from bot.socketmode import SocketMode
from bot.transactions import Transactions
from bot.watch import TeamId
from bot.webhook import Inside, WebhookDoor
from bot.workspace import Common, at_most, build, now
from bot.workspaces import Workspaces

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
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the bot until `stop` is set. Raises what `run` raises."""
    health, door, metrics = Health(), WebhookDoor(now), Metrics()
    token = settings.metrics_token
    exposition = Exposition(token.get_secret_value() if token else None, metrics, health)
    workspaces: Workspaces | None = None

    installing: Installing | None = None

    async def app_of(team: TeamId) -> AsyncApp | None:
        if workspaces is None:
            return None
        return await (workspaces.only_app if installing is None else installing.app_of)(team)

    dispatch = Dispatch(app_of)
    http = _http_mode(settings, dispatch)
    oauth = OAuth() if settings.slack_client_id else None
    async with AsyncExitStack() as closing:
        if settings.port is not None:
            # First of all: while Slack can't be reached, the process is alive and says that it is not ready.
            routes = [
                *health.routes(),
                *exposition.routes(),
                *door.routes(),
                *(http.routes() if http else ()),
                *(oauth.routes() if oauth else ()),
            ]
            await closing.enter_async_context(web.serve(settings.host, settings.port, routes))
        url = settings.database_url.get_secret_value()
        database = await Database.open(url)
        closing.push_async_callback(database.close)
        # Nobody else can open what only one process may use.
        alone_since = None if database.is_shared else now()
        transactions = Transactions(database)
        closing.push_async_callback(_settle, transactions)
        session = await closing.enter_async_context(slack_session())
        shared = await closing.enter_async_context(sharing(transactions, url, Random()))
        ledger = StoredLedger(transactions, now)
        slack = slack_client(settings.app_token, settings.slack_api_url, session, metrics)
        source: Source
        if oauth is None:
            source, leaving = SingleWorkspace(settings, session, slack), None
        else:
            installing = Installing(settings, transactions, session)
            source, leaving = installing.installations, installing.leaving
        secret = await server_secret(transactions, "omni webhook")
        door.inside = Inside(secret, AllAsks(transactions), shared.switchboard.tell)
        common = Common(
            settings=settings,
            session=session,
            transactions=transactions,
            ledger=ledger,
            gates=OmniGates(ledger),
            sharing=shared,
            webhook_secret=secret,
            meter=metrics,
            alone_since=alone_since,
            leaving=leaving,
        )
        workspaces = Workspaces(source, partial(build, common))
        # However this ends, no workspace outlives what it stands on.
        closing.push_async_callback(workspaces.stop)
        starting = asyncio.create_task(workspaces.look())
        if not await _before(stop, starting):
            return
        starting.result()
        if oauth is not None and installing is not None:
            oauth.open(installing.open(workspaces))
            closing.callback(oauth.close)
        delivery = http or SocketMode(dispatch, settings.app_token, slack)
        health.vitals = Vitals(
            is_connected=delivery.is_connected,
            refused=workspaces.refused,
            is_anybody_following=shared.runners.is_anybody_following,
            transactions=transactions,
            now=now,
        )
        exposition.read, exposition.count = workspaces.readings, workspaces.count_jobs
        await _work(workspaces, delivery, shared, stop, is_alone=not database.is_shared)
    log.info("stopped")


def _http_mode(settings: Settings, dispatch: Dispatch) -> HttpMode | None:
    if settings.app_token or settings.slack_signing_secret is None:
        return None
    return HttpMode(dispatch, settings.slack_signing_secret.get_secret_value())


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
    workspaces: Workspaces, delivery: Delivery, shared: Sharing, stop: asyncio.Event, *, is_alone: bool
) -> None:
    """Run beside each other what all workspaces share; then end it all, in order."""
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(shared.listen(), name="listen")
        running = group.create_task(shared.runners.run(workspaces.of), name="runners")
        looking = [group.create_task(workspaces.run(), name="workspaces")]
        if not is_alone:
            looking.append(group.create_task(workspaces.share_requests(), name="share"))
        delivering = group.create_task(delivery.run(), name="delivery")
        await stop.wait()
        log.info("stopping")
        # New requests end first; each workspace ends those under way.
        delivering.cancel()
        await asyncio.wait({delivering})
        for task in looking:
            task.cancel()
        shared.runners.leave()
        await workspaces.stop()
        running.cancel()
        listening.cancel()


async def _settle(transactions: Transactions) -> None:
    await at_most(WRITES_WITHIN_SECONDS, "writes", transactions.settle())
