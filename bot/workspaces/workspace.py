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
from bot.domain import AccessPolicy, Credentials, SlackUser, StoreUnavailable, UserId
from bot.domain.ports import CardRepository, GaugeSnapshot, Metrics
from bot.omni import OmniClient, omni_client, webhook_for
from bot.ratelimit import OmniRateLimiters, RateLimiter, edit_limiter
from bot.services import KNOWN_FOR_SECONDS, Lookups, OmniUserMapper
from bot.settings import Settings
from bot.slack import QUIET, WebApiDirectory, WebApiMessages, WebApiViews, reply_to_response_url, slack_client
from bot.storage import (
    SqlCardRepository,
    SqlFailedCardRepository,
    SqlJobDurationRepository,
    SqlQuestionRepository,
    SqlRateLimitStore,
    Transactions,
)
from bot.tasks import end
from bot.tracking import look_again, sweep, sweep_asks, sweep_given_ups
from bot.user_limit import UserLimit
from bot.workspaces.processes import ProcessResources
from bot.workspaces.uninstall import Uninstaller
from bot.workspaces.wiring import Components, Policy, Ports, build_components

log = structlog.get_logger()

ERRANDS_WITHIN_SECONDS = 1.5
POSTS_WITHIN_SECONDS = 2.5
"""At the end, how long what was acknowledged may take to be answered, and what is being posted to arrive."""

_clock = SteadyClock()


def now() -> datetime:
    """The time, aware UTC, by a clock that nobody sets."""
    return _clock()


@dataclass(frozen=True, slots=True)
class SharedResources:
    """What all workspaces of a process have in common."""

    settings: Settings
    session: aiohttp.ClientSession
    """For all that is sent to Slack."""
    transactions: Transactions
    rate_limits: SqlRateLimitStore
    limiters: OmniRateLimiters
    processes: ProcessResources
    webhook_secret: bytes = field(repr=False)
    """What the signing secrets of Omni's webhooks are made from."""
    metrics: Metrics
    alone_since: datetime | None
    """Since when no other process can use the database, if it is one that only one can."""
    uninstaller: Uninstaller | None = None
    """What is done when a workspace removes the app; None where somebody else is told."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """What runs for one team."""

    credentials: Credentials
    app: AsyncApp
    """What Bolt does with what Slack sends for the team."""
    components: Components
    messages: WebApiMessages
    cards: CardRepository
    """The team's, and nobody else's."""
    ledger: SqlRateLimitStore
    limiter: RateLimiter
    """The budget of requests to Omni, shared by all workspaces that use the same key."""
    upkeep: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    """What looks after the tables and the Home tabs, until cancelled."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run what goes on beside Slack's requests until `stop` is set, and then end it all in order."""
        parts = self.components
        try:
            async with asyncio.TaskGroup() as group:
                drawing = group.create_task(parts.updater.run(), name="drawing")
                keeping = [group.create_task(work(), name="upkeep") for work in self.upkeep]
                await stop.wait()
                # Requests under way end first, then the follows, then what they had in hand.
                await at_most(ERRANDS_WITHIN_SECONDS, "requests", parts.interactions.drain())
                await parts.submitter.stop()
                await end(keeping)
                await parts.runner.stop()
                await at_most(POSTS_WITHIN_SECONDS, "posts", parts.poster.tasks.drain())
                drawing.cancel()
        finally:
            # Also when one of them breaks: the follows are nobody's else to end.
            await parts.runner.stop()

    async def gauges(self, *, with_key: bool) -> GaugeSnapshot:
        """How it stands, for `metrics`. `with_key`: also what waits for the key, and is left of it, which other
        workspaces may share."""
        waiting = {"cards": self.components.updater.waiting, "errands": self.components.interactions.running}
        if not with_key:
            return GaugeSnapshot(self.components.tracker.states, waiting)
        try:
            left = await self.ledger.left(self.limiter.budget, self.limiter.rate)
        except StoreUnavailable:
            left = None
        waiting["omni_requests"] = self.limiter.waiting
        return GaugeSnapshot(
            self.components.tracker.states, waiting, self.credentials.requests_per_minute, left
        )


@asynccontextmanager
async def build(common: SharedResources, credentials: Credentials) -> AsyncIterator[Workspace]:
    """Build every part of a workspace, without a word to anybody; on leaving, close what was opened here."""
    settings, team = common.settings, credentials.team
    rules = Policy(
        tenant=credentials.omni_base_url,
        settings=settings,
        access=rules_in(settings, credentials),
        default_model=credentials.default_model,
    )
    slack = slack_client(credentials.bot_token, settings.slack_api_url, common.session, common.metrics)
    most = rules.access.most_open_follows
    store, asks = (
        SqlCardRepository(common.transactions, team, most),
        SqlQuestionRepository(common.transactions, team, most),
    )
    given_ups = SqlFailedCardRepository(common.transactions, team)
    async with AsyncExitStack() as closing:
        requests = await closing.enter_async_context(common.limiters.of(credentials))
        edits = edit_limiter(common.rate_limits, team)
        closing.push_async_callback(edits.close)
        http = await closing.enter_async_context(
            omni_client(credentials.omni_base_url, credentials.omni_api_token)
        )
        board, directory = WebApiMessages(slack), WebApiDirectory(slack, team)
        people: Lookups[UserId, SlackUser] = Lookups(directory.user)
        user_limit = UserLimit(settings.max_lookups_per_minute)
        omni = OmniClient(http, requests, Random(), common.metrics, user_limit)
        public_url = settings.public_url
        webhook = webhook_for(public_url, common.webhook_secret, team) if public_url else None
        closing.callback(common.processes.switchboard.disconnect, team)
        world = Ports(
            omni=omni,
            questions=omni,
            identities=OmniUserMapper(omni, partial(people.get, known_for_seconds=KNOWN_FOR_SECONDS), now),
            messages=board,
            directory=directory,
            people=people,
            views=WebApiViews(slack),
            cards=store,
            failed_cards=given_ups,
            job_durations=SqlJobDurationRepository(common.transactions),
            pending_questions=asks,
            reply_to_response_url=partial(reply_to_response_url, common.session, common.metrics),
            now=now,
            team=team,
            bot_user=credentials.bot_user,
            user_limit=user_limit,
            events=common.processes.switchboard.connect(team, webhook),
            metrics=common.metrics,
        )
        runner_of = partial(common.processes.runners.runner_for, team)
        parts = build_components(world, rules, edits, common.processes.arrivals, runner_of)
        app = bolt_app(credentials, settings.slack_api_url)
        parts.register(app)
        if common.uninstaller is not None:
            common.uninstaller.register(app)
        kept = settings.retention_days
        upkeep = (
            partial(sweep, store, parts.runner, now, retention_days=kept),
            partial(look_again, store, omni, parts.runner.start, now),
            partial(sweep_asks, asks, board, now, retention_days=kept, alone_since=common.alone_since),
            partial(sweep_given_ups, given_ups, board, now, alone_since=common.alone_since),
            parts.durations.run,
            parts.home_tabs.run,
        )
        yield Workspace(credentials, app, parts, board, store, common.rate_limits, requests, upkeep)


def rules_in(settings: Settings, credentials: Credentials) -> AccessPolicy:
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
