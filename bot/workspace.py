"""One Slack workspace with its Omni: every part that belongs to it, built and not yet started."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.askstore import StoredAsks
from bot.budget import Gate
from bot.durations import StoredDurations
from bot.errors import StoreUnavailable
from bot.ledger import StoredLedger
from bot.members import OmniUsers
from bot.meter import Meter
from bot.metrics import Reading
from bot.omni import OmniApi, omni_client
from bot.parts import Parts, Rules, World, assemble, edit_gate, omni_gate
from bot.settings import Settings
from bot.sharing import Sharing, sharing
from bot.slack import Identity, SlackBoard, whisper
from bot.slackpeople import SlackDirectory
from bot.slackviews import SlackViews
from bot.socketmode import SocketMode
from bot.store import Store
from bot.transactions import Transactions


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
    ledger: StoredLedger
    requests_per_minute: int
    """What Omni allows the key."""

    async def reading(self) -> Reading:
        """How it stands, for `metrics`."""
        try:
            left = await self.ledger.left(self.requests.budget, self.requests.rate)
        except StoreUnavailable:
            left = None
        waiting = {
            "omni_requests": self.requests.waiting,
            "cards": self.parts.drawing.waiting,
            "errands": self.parts.errands.under_way,
        }
        return Reading(self.parts.follower.states, waiting, self.requests_per_minute, left)


@asynccontextmanager
async def build(
    settings: Settings, identity: Identity, slack: Slack, transactions: Transactions, meter: Meter
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
        omni = OmniApi(http, requests, random, meter)
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
            meter=meter,
        )
        url = settings.database_url.get_secret_value()
        shared = await closing.enter_async_context(sharing(transactions, url, random))
        parts = assemble(world, rules, edits, shared.arrivals, shared.run)
        bolt = bolt_app(identity, slack.bot, settings.slack_api_url)
        parts.register(bolt)
        app_token = settings.slack_app_token.get_secret_value()
        socket = SocketMode(bolt, app_token, slack.app)
        yield Bot(parts, shared, board, socket, requests, ledger, rules.requests_per_minute)


def bolt_app(identity: Identity, slack: AsyncWebClient, api_url: str) -> AsyncApp:
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
