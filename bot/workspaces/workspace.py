"""One Slack workspace with its Omni: every part that belongs to it, built, and run until it is closed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import SteadyClock
from bot.domain.access import AccessRules
from bot.domain.cards import UserId
from bot.domain.credentials import Credentials
from bot.domain.errors import StoreUnavailable
from bot.domain.people import Person
from bot.domain.ports.metrics import Meter, Reading
from bot.domain.ports.storage import Watches
from bot.omni.client import OmniApi, omni_client
from bot.omni.webhooks import webhook_of
from bot.ratelimit import Gate, OmniGates, edit_gate
from bot.services.authorization import KNOWN_FOR_SECONDS
from bot.services.lookups import Lookups
from bot.services.omni_users import OmniUsers
from bot.settings import Settings
from bot.slack.directory import SlackDirectory
from bot.slack.dispatch import QUIET
from bot.slack.messages import SlackBoard, slack_client
from bot.slack.views import SlackViews, whisper
from bot.storage.cards import Store
from bot.storage.durations import StoredDurations
from bot.storage.questions import StoredAsks
from bot.storage.rate_limits import StoredLedger
from bot.storage.transactions import Transactions
from bot.storage.undelivered import StoredGivenUps
from bot.tasks import end
from bot.tracking.recovery import look_again, sweep, sweep_asks, sweep_given_ups
from bot.user_limit import UserLimit
from bot.workspaces.processes import Sharing
from bot.workspaces.uninstall import Leaving
from bot.workspaces.wiring import Parts, Rules, World, assemble

log = structlog.get_logger()

ERRANDS_WITHIN_SECONDS = 1.5
POSTS_WITHIN_SECONDS = 2.5
"""At the end, how long what was acknowledged may take to be answered, and what is being posted to arrive."""

_clock = SteadyClock()


def now() -> datetime:
    """The time, aware UTC, by a clock that nobody sets."""
    return _clock()


@dataclass(frozen=True, slots=True)
class Common:
    """What all workspaces of a process have in common."""

    settings: Settings
    session: aiohttp.ClientSession
    """For all that is sent to Slack."""
    transactions: Transactions
    ledger: StoredLedger
    gates: OmniGates
    sharing: Sharing
    webhook_secret: bytes = field(repr=False)
    """What the signing secrets of Omni's webhooks are made from."""
    meter: Meter
    alone_since: datetime | None
    """Since when no other process can use the database, if it is one that only one can."""
    leaving: Leaving | None = None
    """What is done when a workspace removes the app; None where somebody else is told."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """What runs for one team."""

    credentials: Credentials
    app: AsyncApp
    """What Bolt does with what Slack sends for the team."""
    parts: Parts
    board: SlackBoard
    watches: Watches
    """The team's, and nobody else's."""
    ledger: StoredLedger
    requests: Gate
    """The budget of requests to Omni, shared by all workspaces that use the same key."""
    upkeep: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    """What looks after the tables and the Home tabs, until cancelled."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run what goes on beside Slack's requests until `stop` is set, and then end it all in order."""
        parts = self.parts
        try:
            async with asyncio.TaskGroup() as group:
                drawing = group.create_task(parts.drawing.run(), name="drawing")
                keeping = [group.create_task(work(), name="upkeep") for work in self.upkeep]
                await stop.wait()
                # Requests under way end first, then the follows, then what they had in hand.
                await at_most(ERRANDS_WITHIN_SECONDS, "requests", parts.errands.drain())
                await parts.submitting.end()
                await end(keeping)
                await parts.runner.stop()
                await at_most(POSTS_WITHIN_SECONDS, "posts", parts.posting.steps.settle())
                drawing.cancel()
        finally:
            # Also when one of them breaks: the follows are nobody's else to end.
            await parts.runner.stop()

    async def reading(self, *, with_key: bool) -> Reading:
        """How it stands, for `metrics`. `with_key`: also what waits for the key, and is left of it, which other
        workspaces may share."""
        waiting = {"cards": self.parts.drawing.waiting, "errands": self.parts.errands.under_way}
        if not with_key:
            return Reading(self.parts.follower.states, waiting)
        try:
            left = await self.ledger.left(self.requests.budget, self.requests.rate)
        except StoreUnavailable:
            left = None
        waiting["omni_requests"] = self.requests.waiting
        return Reading(self.parts.follower.states, waiting, self.credentials.requests_per_minute, left)


@asynccontextmanager
async def build(common: Common, credentials: Credentials) -> AsyncIterator[Workspace]:
    """Build every part of a workspace, without a word to anybody; on leaving, close what was opened here."""
    settings, team = common.settings, credentials.team
    rules = Rules(
        tenant=credentials.omni_base_url,
        settings=settings,
        access=rules_in(settings, credentials),
        default_model=credentials.default_model,
    )
    slack = slack_client(credentials.bot_token, settings.slack_api_url, common.session, common.meter)
    most = rules.access.most_open_follows
    store, asks = Store(common.transactions, team, most), StoredAsks(common.transactions, team, most)
    given_ups = StoredGivenUps(common.transactions, team)
    async with AsyncExitStack() as closing:
        requests = await closing.enter_async_context(common.gates.of(credentials))
        edits = edit_gate(common.ledger, team)
        closing.push_async_callback(edits.close)
        http = await closing.enter_async_context(
            omni_client(credentials.omni_base_url, credentials.omni_api_token)
        )
        board, directory = SlackBoard(slack), SlackDirectory(slack, team)
        people: Lookups[UserId, Person] = Lookups(directory.person)
        user_limit = UserLimit(settings.max_lookups_per_minute)
        omni = OmniApi(http, requests, Random(), common.meter, user_limit)
        public_url = settings.public_url
        webhook = webhook_of(public_url, common.webhook_secret, team) if public_url else None
        closing.callback(common.sharing.switchboard.disconnect, team)
        world = World(
            omni=omni,
            asking=omni,
            omni_users=OmniUsers(omni, partial(people.get, known_for_seconds=KNOWN_FOR_SECONDS), now),
            board=board,
            directory=directory,
            people=people,
            views=SlackViews(slack),
            watches=store,
            given_ups=given_ups,
            durations=StoredDurations(common.transactions),
            asks=asks,
            whisper=partial(whisper, common.session, common.meter),
            now=now,
            team=team,
            bot_user=credentials.bot_user,
            user_limit=user_limit,
            events=common.sharing.switchboard.connect(team, webhook),
            meter=common.meter,
        )
        runner_of = partial(common.sharing.runners.of, team)
        parts = assemble(world, rules, edits, common.sharing.arrivals, runner_of)
        app = bolt_app(credentials, settings.slack_api_url)
        parts.register(app)
        if common.leaving is not None:
            common.leaving.register(app)
        kept = settings.retention_days
        upkeep = (
            partial(sweep, store, parts.runner, now, retention_days=kept),
            partial(look_again, store, omni, parts.runner.start, now),
            partial(sweep_asks, asks, board, now, retention_days=kept, alone_since=common.alone_since),
            partial(sweep_given_ups, given_ups, board, now, alone_since=common.alone_since),
            parts.learning.run,
            parts.home_tabs.run,
        )
        yield Workspace(credentials, app, parts, board, store, common.ledger, requests, upkeep)


def rules_in(settings: Settings, credentials: Credentials) -> AccessRules:
    """The settings' rules. What they say of teams is for whoever shares the settings' Omni."""
    rules = settings.access_rules
    return replace(rules, teams=frozenset()) if credentials.is_shut else rules


def bolt_app(credentials: Credentials, api_url: str) -> AsyncApp:
    """Bolt, told who it is: left alone it would ask Slack before the first acknowledgement."""
    known = AuthorizeResult(
        enterprise_id=None,
        team_id=credentials.team,
        bot_user_id=credentials.bot_user,
        bot_id=credentials.bot_id,
        bot_token=credentials.bot_token,
    )

    async def authorize() -> AuthorizeResult:
        return known

    # What comes over HTTP was verified before it was given to anybody; see `httpmode`.
    return AsyncApp(
        logger=QUIET,
        client=AsyncWebClient(base_url=api_url),
        authorize=authorize,
        request_verification_enabled=False,
    )


async def at_most(seconds: float, what: str, work: Coroutine[Any, Any, None]) -> None:
    """Do what may take so long at the end, and say if it was not done by then."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("left unfinished", what=what)
