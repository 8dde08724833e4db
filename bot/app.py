"""The composition root: opens what all share, builds the bot, runs its parts together, and closes them in reverse."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import structlog

from bot import web
from bot.askstore import StoredAsks
from bot.database import Database
from bot.errors import BoardBusy, BoardError, TokenRefused
from bot.exposition import Exposition
from bot.health import Health, Vitals
from bot.meter import Meter
from bot.metrics import Metrics, Reading
from bot.settings import Settings
from bot.slack import Identity, identify, may_connect, slack_client, slack_session
from bot.store import Store
from bot.sweep import count_jobs, sweep, sweep_asks
from bot.transactions import Transactions
from bot.workspace import Bot, Slack, build, now

log = structlog.get_logger()

ERRANDS_WITHIN_SECONDS = 1.5
POSTS_WITHIN_SECONDS = 2.5
WRITES_WITHIN_SECONDS = 2.5
"""At the end, how long what was acknowledged may take to be answered, what is being posted to arrive, and what
is being written to be stored. Together with closing the socket they stay under 10 s."""


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
    health, metrics = Health(), Metrics()
    token = settings.metrics_token
    exposition = Exposition(token.get_secret_value() if token else None, metrics, health)
    async with AsyncExitStack() as closing:
        if settings.port is not None:
            # First of all: while Slack can't be reached, the process is alive and says that it is not ready.
            routes = [*health.routes(), *exposition.routes()]
            await closing.enter_async_context(web.serve(settings.host, settings.port, routes))
        database = await Database.open(settings.database_url.get_secret_value())
        closing.push_async_callback(database.close)
        # Nobody else can open what only one process may use.
        alone_since = None if database.is_shared else now()
        transactions = Transactions(database)
        closing.push_async_callback(_settle, transactions)
        slack = await closing.enter_async_context(_slack(settings, metrics))
        starting = asyncio.create_task(_introduce(slack))
        if not await _before(stop, starting):
            return
        bot = await closing.enter_async_context(
            build(settings, starting.result(), slack, transactions, metrics)
        )
        store, parts = Store(transactions), bot.parts
        health.vitals = Vitals(
            is_connected=bot.socket.is_connected,
            refused=lambda: bot.board.refused,
            is_anybody_following=parts.runner.is_anybody_following,
            transactions=transactions,
            now=now,
        )
        exposition.read, exposition.count = partial(_read, bot), partial(_count, store)
        upkeep = [
            sweep(store, parts.runner, now, retention_days=settings.retention_days),
            parts.learning.run(),
            parts.home_tabs.run(),
            sweep_asks(
                StoredAsks(transactions),
                bot.board,
                now,
                retention_days=settings.retention_days,
                alone_since=alone_since,
            ),
        ]
        if database.is_shared:
            upkeep.append(count_jobs(store, partial(_share, bot)))
        await _work(bot, upkeep, stop)
    log.info("stopped")


@asynccontextmanager
async def _slack(settings: Settings, meter: Meter) -> AsyncIterator[Slack]:
    async with slack_session() as session:
        yield Slack(
            session,
            slack_client(settings.slack_bot_token.get_secret_value(), settings.slack_api_url, session, meter),
            slack_client(settings.slack_app_token.get_secret_value(), settings.slack_api_url, session, meter),
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


async def _read(bot: Bot) -> Sequence[Reading]:
    return [await bot.reading()]


async def _count(store: Store) -> int:
    return len(await store.open_jobs())


async def _settle(transactions: Transactions) -> None:
    await _at_most(WRITES_WITHIN_SECONDS, "writes", transactions.settle())


async def _at_most(seconds: float, what: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("left unfinished", what=what)
