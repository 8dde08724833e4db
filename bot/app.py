"""The composition root: builds every part once, runs them together, and closes them in reverse."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Coroutine
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
from bot.arrivals import Arrivals
from bot.budget import Gate, Rate
from bot.cards import Cards
from bot.desk import Desk
from bot.drawing import Drawing
from bot.follower import Follower
from bot.handlers import Handlers
from bot.omni import OmniApi, omni_client
from bot.ports import BoardBusy, BoardError, StoreUnavailable, TokenRefused
from bot.posting import Posting
from bot.runner import Runner, TaskRunner
from bot.settings import Settings
from bot.slack import Identity, SlackBoard, identify, may_connect, slack_client, slack_session, whisper
from bot.socketmode import SocketMode
from bot.store import Store
from bot.tables import Database

log = structlog.get_logger()

EDITS_PER_MINUTE = 50
"""Slack's tier 3, per method and workspace. Source: docs.slack.dev/apis/web-api/rate-limits."""
EDITS_AT_ONCE = 5
REQUESTS_AT_ONCE = 4
"""How many of a minute's requests to Omni may go at once after a silence, so that a person's first answer does
not wait; the more, the slower the rest of that minute."""
SWEEP_SECONDS = 60.0
"""How often the table is searched for an open watch that nobody follows."""
ERRANDS_WITHIN_SECONDS = 1.5
POSTS_WITHIN_SECONDS = 2.5
WRITES_WITHIN_SECONDS = 2.5
"""At the end, how long what was acknowledged may take to be answered, what is being posted to arrive, and what
is being written to be stored. Together with closing the socket they stay under 10 s."""


@dataclass(frozen=True, slots=True)
class Bot:
    """Everything that runs, built and not yet started."""

    store: Store
    runner: Runner
    drawing: Drawing
    posting: Posting
    handlers: Handlers
    socket: SocketMode


def now() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


@asynccontextmanager
async def build(
    settings: Settings,
    identity: Identity,
    session: aiohttp.ClientSession,
    slack: AsyncWebClient,
    socket: AsyncWebClient,
    store: Store,
) -> AsyncIterator[Bot]:
    """Put the parts together; on leaving, close what was opened here.

    `slack` and `socket` are the Web API clients of the bot's token and of the app's.
    """
    limit = settings.omni_requests_per_minute
    random = Random()
    async with AsyncExitStack() as closing:
        omni_gate = Gate(store, "omni", Rate.within(limit, burst=REQUESTS_AT_ONCE))
        closing.push_async_callback(omni_gate.close)
        edit_gate = Gate(store, "chat.update", Rate.within(EDITS_PER_MINUTE, burst=EDITS_AT_ONCE))
        closing.push_async_callback(edit_gate.close)
        http = await closing.enter_async_context(
            omni_client(settings.omni_base_url, settings.omni_api_token.get_secret_value())
        )
        omni = OmniApi(http, omni_gate, random)
        board = SlackBoard(slack)
        arrivals = Arrivals()
        drawing = Drawing(board, store, edit_gate)
        posting = Posting(board, now)
        cards = Cards(
            board=board,
            watches=store,
            drawing=drawing,
            posting=posting,
            arrivals=arrivals,
            now=now,
            tenant=settings.omni_base_url,
            notify_after_seconds=settings.notify_after_seconds,
        )
        follower = Follower(
            omni=omni, watches=store, cards=cards, now=now, random=random, requests_per_minute=limit
        )
        runner = TaskRunner(follower.follow)
        desk = Desk(
            omni=omni,
            board=board,
            watches=store,
            arrivals=arrivals,
            start=runner.start,
            now=now,
            bot_user=identity.user,
        )
        handlers = Handlers(desk, partial(whisper, session), identity.team)
        app = _bolt_app(identity, slack, settings.slack_api_url)
        handlers.register(app)
        app_token = settings.slack_app_token.get_secret_value()
        yield Bot(store, runner, drawing, posting, handlers, SocketMode(app, app_token, socket))


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
        database = await Database.open(settings.database_url)
        closing.push_async_callback(database.close)
        store = Store(database, now)
        closing.push_async_callback(_settle, store)
        session = await closing.enter_async_context(slack_session())
        slack = slack_client(settings.slack_bot_token.get_secret_value(), settings.slack_api_url, session)
        socket = slack_client(settings.slack_app_token.get_secret_value(), settings.slack_api_url, session)
        starting = asyncio.create_task(_introduce(slack, socket))
        if not await _before(stop, starting):
            return
        bot = await closing.enter_async_context(
            build(settings, starting.result(), session, slack, socket, store)
        )
        health.bot = bot
        await _work(bot, stop)
    log.info("stopped")


class Health:
    """Why the bot can't do its work right now, as `/readyz` tells it."""

    def __init__(self) -> None:
        self.bot: Bot | None = None

    async def problem(self) -> str | None:
        """A few words, or None if all is well."""
        if self.bot is None or not await self.bot.socket.is_connected():
            return "not connected to Slack"
        try:
            await self.bot.store.answers()
        except StoreUnavailable:
            return "database does not answer"
        return None


async def _introduce(slack: AsyncWebClient, socket: AsyncWebClient) -> Identity:
    """Make sure of both tokens, for as long as it takes Slack to answer. Raises TokenRefused."""
    failures = 0
    while True:
        try:
            identity = await identify(slack)
            await may_connect(socket)
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


async def _work(bot: Bot, stop: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as parts:
        drawing = parts.create_task(bot.drawing.run(), name="drawing")
        sweep = parts.create_task(_sweep(bot), name="sweep")
        socket = parts.create_task(bot.socket.run(), name="socket")
        await stop.wait()
        log.info("stopping")
        # New requests end first, then those under way, then the follows, then what they had in hand.
        socket.cancel()
        await asyncio.wait({socket})
        await _at_most(ERRANDS_WITHIN_SECONDS, "requests", bot.handlers.drain())
        sweep.cancel()
        await bot.runner.stop()
        await _at_most(POSTS_WITHIN_SECONDS, "posts", bot.posting.steps.settle())
        drawing.cancel()


async def _sweep(bot: Bot) -> None:
    """Take up every open follow: all of them at the start, and later any that was lost on the way."""
    while True:
        try:
            jobs = await bot.store.open_jobs()
        except StoreUnavailable as error:
            log.error("open follows not read", reason=str(error))
        else:
            for job in jobs:
                bot.runner.ensure(job)
            log.debug("swept", jobs=len(jobs))
        await asyncio.sleep(SWEEP_SECONDS)


async def _settle(store: Store) -> None:
    await _at_most(WRITES_WITHIN_SECONDS, "writes", store.settle())


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
