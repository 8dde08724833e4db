"""The composition root: builds every part once, runs them together, and closes them in reverse."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot import web
from bot.askstore import StoredAsks
from bot.budget import Gate
from bot.database import Database
from bot.durations import StoredDurations
from bot.errors import BoardBusy, BoardError, StoreUnavailable, TokenRefused
from bot.ledger import StoredLedger
from bot.members import OmniUsers
from bot.omni import OmniApi, omni_client
from bot.parts import Parts, Rules, World, assemble, edit_gate, omni_gate
from bot.settings import Settings
from bot.sharing import Sharing, sharing
from bot.slack import Identity, SlackBoard, identify, may_connect, slack_client, slack_session, whisper
from bot.slackpeople import SlackDirectory
from bot.slackviews import SlackViews
from bot.socketmode import SocketMode
from bot.store import Store
from bot.sweep import count_jobs, sweep, sweep_asks
from bot.transactions import Transactions

log = structlog.get_logger()

ERRANDS_WITHIN_SECONDS = 1.5
POSTS_WITHIN_SECONDS = 2.5
WRITES_WITHIN_SECONDS = 2.5
"""At the end, how long what was acknowledged may take to be answered, what is being posted to arrive, and what
is being written to be stored. Together with closing the socket they stay under 10 s."""


def now() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Slack:
    """The ways to Slack."""

    session: aiohttp.ClientSession
    bot: AsyncWebClient
    """The Web API with the bot's token."""
    app: AsyncWebClient
    """The Web API with the app's token."""


@dataclass(frozen=True, slots=True)
class Bot:
    """Everything that runs, built and not yet started."""

    parts: Parts
    sharing: Sharing
    board: SlackBoard
    socket: SocketMode
    requests: Gate
    """The budget of requests to Omni."""


@asynccontextmanager
async def build(
    settings: Settings, identity: Identity, slack: Slack, transactions: Transactions
) -> AsyncIterator[Bot]:
    """Build every part; on leaving, close what was opened here."""
    rules = Rules(
        tenant=settings.omni_base_url,
        requests_per_minute=settings.omni_requests_per_minute,
        notify_after_seconds=settings.notify_after_seconds,
        follow_for_seconds=settings.max_follow_hours * 3_600.0,
        access=settings.access_rules,
        default_model=settings.omni_model_id,
    )
    random = Random()
    ledger = StoredLedger(transactions, now)
    async with AsyncExitStack() as closing:
        requests, edits = omni_gate(ledger, rules), edit_gate(ledger)
        closing.push_async_callback(requests.close)
        closing.push_async_callback(edits.close)
        http = await closing.enter_async_context(
            omni_client(settings.omni_base_url, settings.omni_api_token.get_secret_value())
        )
        board = SlackBoard(slack.bot)
        omni = OmniApi(http, requests, random)
        directory = SlackDirectory(slack.bot, identity.team)
        world = World(
            omni=omni,
            asking=omni,
            omni_users=OmniUsers(omni, directory, now),
            board=board,
            directory=directory,
            views=SlackViews(slack.bot),
            watches=Store(transactions),
            durations=StoredDurations(transactions),
            asks=StoredAsks(transactions),
            whisper=partial(whisper, slack.session),
            now=now,
            team=identity.team,
            bot_user=identity.user,
        )
        url = settings.database_url.get_secret_value()
        shared = await closing.enter_async_context(sharing(transactions, url, random))
        parts = assemble(world, rules, edits, shared.arrivals, shared.run)
        bolt = _bolt_app(identity, slack.bot, settings.slack_api_url)
        parts.register(bolt)
        app_token = settings.slack_app_token.get_secret_value()
        yield Bot(parts, shared, board, SocketMode(bolt, app_token, slack.app), requests)


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
    health = Health()
    async with AsyncExitStack() as closing:
        if settings.port is not None:
            # First of all: while Slack can't be reached, the process is alive and says that it is not ready.
            await closing.enter_async_context(web.serve(settings.host, settings.port, health.problem))
        database = await Database.open(settings.database_url.get_secret_value())
        closing.push_async_callback(database.close)
        # Nobody else can open what only one process may use.
        alone_since = None if database.is_shared else now()
        transactions = Transactions(database)
        closing.push_async_callback(_settle, transactions)
        health.transactions = transactions
        slack = await closing.enter_async_context(_slack(settings))
        starting = asyncio.create_task(_introduce(slack))
        if not await _before(stop, starting):
            return
        health.bot = await closing.enter_async_context(
            build(settings, starting.result(), slack, transactions)
        )
        store, parts = Store(transactions), health.bot.parts
        upkeep = [
            sweep(store, parts.runner, now, retention_days=settings.retention_days),
            parts.learning.run(),
            parts.home_tabs.run(),
            sweep_asks(
                StoredAsks(transactions),
                health.bot.board,
                now,
                retention_days=settings.retention_days,
                alone_since=alone_since,
            ),
        ]
        if database.is_shared:
            upkeep.append(count_jobs(store, partial(_share, health.bot)))
        await _work(health.bot, upkeep, stop)
    log.info("stopped")


class Health:
    """Why the bot can't do its work right now, as `/readyz` tells it."""

    def __init__(self) -> None:
        self.bot: Bot | None = None
        self.transactions: Transactions | None = None

    async def problem(self) -> str | None:
        """A few words, or None if all is well."""
        if self.bot is None or self.transactions is None or not await self.bot.socket.is_connected():
            return "not connected to Slack"
        if self.bot.board.refused is not None:
            return "Slack refuses the bot's token"
        try:
            await self.transactions.answers()
        except StoreUnavailable:
            return "database does not answer"
        return None


@asynccontextmanager
async def _slack(settings: Settings) -> AsyncIterator[Slack]:
    async with slack_session() as session:
        yield Slack(
            session,
            slack_client(settings.slack_bot_token.get_secret_value(), settings.slack_api_url, session),
            slack_client(settings.slack_app_token.get_secret_value(), settings.slack_api_url, session),
        )


async def _introduce(slack: Slack) -> Identity:
    """Make sure of both tokens, for as long as it takes Slack to answer. Raises TokenRefused."""
    failures = 0
    while True:
        try:
            identity = await identify(slack.bot)
            await may_connect(slack.app)
        except TokenRefused:
            raise
        except BoardError as error:
            seconds = error.retry_after_seconds if isinstance(error, BoardBusy) else min(30.0, 2.0**failures)
            failures += 1
            log.warning("slack not reached", code=error.code, again_in_seconds=seconds)
            await asyncio.sleep(seconds)
        else:
            log.info("slack knows us", team=identity.team, user=identity.user)
            return identity


async def _before(stop: asyncio.Event, task: asyncio.Task[Identity]) -> bool:
    """Wait for the task or for the wish to stop, whichever comes first. Whether the task is done."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        return False
    return True


async def _work(bot: Bot, upkeep: Sequence[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run the parts beside each other; `upkeep` looks after the table."""
    parts = bot.parts
    async with asyncio.TaskGroup() as group:
        drawing = group.create_task(parts.drawing.run(), name="drawing")
        listening = group.create_task(bot.sharing.listen(), name="listen")
        running = group.create_task(parts.runner.run(), name="runner")
        keeping = [group.create_task(work, name="upkeep") for work in upkeep]
        socket = group.create_task(bot.socket.run(), name="socket")
        await stop.wait()
        log.info("stopping")
        # New requests end first, then those under way, then the follows, then what they had in hand.
        socket.cancel()
        await asyncio.wait({socket})
        await _at_most(ERRANDS_WITHIN_SECONDS, "requests", parts.errands.drain())
        await parts.submitting.end()
        for task in keeping:
            task.cancel()
        await parts.runner.stop()
        running.cancel()
        listening.cancel()
        await _at_most(POSTS_WITHIN_SECONDS, "posts", parts.posting.steps.settle())
        drawing.cancel()


def _share(bot: Bot, jobs: int) -> None:
    """Leave other processes their part of the requests to Omni, by how many of all the jobs they follow."""
    own = max(1, bot.parts.follower.jobs)  # the next may come any moment
    bot.requests.share(own / max(own, jobs))


async def _settle(transactions: Transactions) -> None:
    await _at_most(WRITES_WITHIN_SECONDS, "writes", transactions.settle())


async def _at_most(seconds: float, what: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("left unfinished", what=what)


def _bolt_app(identity: Identity, slack: AsyncWebClient, api_url: str) -> AsyncApp:
    """Bolt, told who it is: left alone it would ask Slack before the first acknowledgement."""
    known = AuthorizeResult(
        enterprise_id=None,
        team_id=identity.team,
        bot_user_id=identity.user,
        bot_id=identity.bot_id,
        bot_token=slack.token,
    )

    async def authorize() -> AuthorizeResult:
        return known

    # Bolt reads SLACK_BOT_TOKEN from the environment by itself and warns at every start that it is not used.
    quiet = logging.getLogger("bot.bolt")
    quiet.setLevel(logging.ERROR)
    return AsyncApp(logger=quiet, client=AsyncWebClient(base_url=api_url), authorize=authorize)
