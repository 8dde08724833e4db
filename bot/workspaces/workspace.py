"""Builds and runs the components of one Slack workspace with its Omni."""

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
    SqlChannelDefaultRepository,
    SqlFailedCardRepository,
    SqlJobDurationRepository,
    SqlPreferenceRepository,
    SqlQuestionRepository,
    SqlRateLimitStore,
    SqlRatingRepository,
    SqlRemovalRepository,
    Transactions,
)
from bot.tasks import end
from bot.tracking import (
    ConversationList,
    ConversationLists,
    look_again,
    sweep,
    sweep_asks,
    sweep_failed_cards,
)
from bot.user_limit import UserLimit
from bot.workspaces.processes import ProcessResources
from bot.workspaces.uninstall import Uninstaller
from bot.workspaces.wiring import Components, Policy, Ports, build_components

log = structlog.get_logger()

REQUESTS_WITHIN_SECONDS = 1.5
POSTS_WITHIN_SECONDS = 2.5
"""How long acknowledged requests and running posts may delay the shutdown."""

now = SteadyClock()
"""The time of this process."""


@dataclass(frozen=True, slots=True)
class SharedResources:
    """Resources shared by all workspaces of a process."""

    settings: Settings
    session: aiohttp.ClientSession
    """For all requests to Slack."""
    transactions: Transactions
    rate_limits: SqlRateLimitStore
    limiters: OmniRateLimiters
    conversations: ConversationLists
    processes: ProcessResources
    webhook_secret: bytes = field(repr=False)
    """The signing secrets of Omni's webhooks are derived from it."""
    metrics: Metrics
    alone_since: datetime | None
    """Since when this process is the only one on the database; None if there can be others."""
    uninstaller: Uninstaller | None = None
    """Handles the app's removal; None with a single workspace."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The components of one team."""

    credentials: Credentials
    app: AsyncApp
    """Handles Slack's requests of the team."""
    components: Components
    messages: WebApiMessages
    cards: CardRepository
    """The team's cards."""
    ledger: SqlRateLimitStore
    limiter: RateLimiter
    """The rate limiter of the Omni key, shared by all workspaces with the same key."""
    conversations: ConversationList
    """The list of conversations of the Omni key, shared likewise."""
    upkeep: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    """Periodic tasks."""

    async def run(self, stop: asyncio.Event) -> None:
        """Run the background tasks until `stop` is set, then end them in order."""
        parts = self.components
        try:
            async with asyncio.TaskGroup() as group:
                drawing = group.create_task(parts.updater.run(), name="drawing")
                keeping = [group.create_task(work(), name="upkeep") for work in self.upkeep]
                await stop.wait()
                # First finish requests, then stop the trackers, then finish their posts.
                await at_most(REQUESTS_WITHIN_SECONDS, "requests", parts.interactions.drain())
                await parts.submitter.stop()
                await end(keeping)
                await parts.runner.stop()
                await at_most(POSTS_WITHIN_SECONDS, "posts", parts.poster.tasks.drain())
                drawing.cancel()
        finally:
            # Also after an error: nothing else stops the trackers.
            await parts.runner.stop()

    async def gauges(self, *, with_key: bool) -> GaugeSnapshot:
        """Read the gauges. `with_key`: include those of the Omni key, which other workspaces may share."""
        waiting = {
            "cards": self.components.updater.waiting,
            "interactions": self.components.interactions.running,
        }
        if not with_key:
            return GaugeSnapshot(self.components.tracker.states, waiting)
        try:
            left = await self.ledger.left(self.limiter.budget, self.limiter.rate)
        except StoreUnavailable:
            left = None
        waiting["omni_requests"] = self.limiter.waiting
        return GaugeSnapshot(
            self.components.tracker.states,
            waiting,
            self.credentials.requests_per_minute,
            self.conversations.hint.is_trusted,
            left,
        )


@asynccontextmanager
async def build(resources: SharedResources, credentials: Credentials) -> AsyncIterator[Workspace]:
    """Build the components of a workspace, without any request. Close its resources on exit."""
    settings, team = resources.settings, credentials.team
    rules = Policy(
        tenant=credentials.omni_base_url,
        settings=settings,
        access=rules_in(settings, credentials),
        default_model=credentials.default_model,
    )
    slack = slack_client(
        credentials.bot_token,
        settings.slack_api_url,
        resources.session,
        resources.metrics,
        team=team if credentials.organization else None,
    )
    most = rules.access.most_open_follows
    store, questions = (
        SqlCardRepository(resources.transactions, team, most),
        SqlQuestionRepository(resources.transactions, team, most),
    )
    failed_cards = SqlFailedCardRepository(resources.transactions, team)
    async with AsyncExitStack() as closing:
        requests = await closing.enter_async_context(resources.limiters.of(credentials))
        edits = edit_limiter(resources.rate_limits, team)
        closing.push_async_callback(edits.close)
        http = await closing.enter_async_context(
            omni_client(credentials.omni_base_url, credentials.omni_api_token)
        )
        messages, directory = WebApiMessages(slack), WebApiDirectory(slack, team)
        people: Lookups[UserId, SlackUser] = Lookups(directory.user)
        user_limit = UserLimit(settings.max_lookups_per_minute)
        omni = OmniClient(http, requests, Random(), resources.metrics, user_limit)
        public_url = settings.public_url
        webhook = webhook_for(public_url, resources.webhook_secret, team) if public_url else None
        closing.callback(resources.processes.switchboard.disconnect, team)
        conversations = resources.conversations.of(credentials.omni_budget)
        ports = Ports(
            omni=omni,
            questions=omni,
            identities=OmniUserMapper(omni, partial(people.get, known_for_seconds=KNOWN_FOR_SECONDS), now),
            messages=messages,
            directory=directory,
            people=people,
            views=WebApiViews(slack),
            cards=store,
            failed_cards=failed_cards,
            job_durations=SqlJobDurationRepository(resources.transactions, team),
            pending_questions=questions,
            preferences=SqlPreferenceRepository(resources.transactions, team),
            removals=SqlRemovalRepository(resources.transactions, team),
            channel_defaults=SqlChannelDefaultRepository(resources.transactions, team),
            ratings=SqlRatingRepository(resources.transactions),
            reply_to_response_url=partial(reply_to_response_url, resources.session, resources.metrics),
            now=now,
            team=team,
            bot_user=credentials.bot_user,
            user_limit=user_limit,
            events=resources.processes.switchboard.connect(team, webhook),
            conversations=conversations,
            metrics=resources.metrics,
        )
        runner_of = partial(resources.processes.runners.runner_for, team)
        parts = build_components(ports, rules, edits, resources.processes.arrivals, runner_of)
        app = bolt_app(credentials, settings.slack_api_url)
        parts.register(app)
        if resources.uninstaller is not None:
            resources.uninstaller.register(app)
        kept = settings.retention_days
        upkeep: list[Callable[[], Coroutine[Any, Any, None]]] = [
            partial(sweep, store, parts.runner, now, retention_days=kept),
            partial(look_again, store, omni, parts.runner.start, now),
            partial(
                sweep_asks, questions, messages, now, retention_days=kept, alone_since=resources.alone_since
            ),
            partial(sweep_failed_cards, failed_cards, messages, now, alone_since=resources.alone_since),
            parts.durations.run,
            parts.home_tabs.run,
        ]
        if settings.omni_list_conversations:
            upkeep.append(partial(conversations.run, omni, requests, parts.tracker.polled_jobs))
        yield Workspace(
            credentials,
            app,
            parts,
            messages,
            store,
            resources.rate_limits,
            requests,
            conversations,
            upkeep,
        )


def rules_in(settings: Settings, credentials: Credentials) -> AccessPolicy:
    """Return the access policy. ALLOWED_TEAMS applies only to workspaces that share the settings' Omni."""
    rules = settings.access_rules
    return replace(rules, teams=frozenset()) if credentials.is_shut else rules


def bolt_app(credentials: Credentials, api_url: str) -> AsyncApp:
    """Build the Bolt app with known credentials. Otherwise Bolt would call Slack before the first acknowledgement."""
    known = AuthorizeResult(
        enterprise_id=credentials.organization,
        team_id=credentials.team,
        bot_user_id=credentials.bot_user,
        bot_id=credentials.bot_id,
        bot_token=credentials.bot_token,
    )

    async def authorize() -> AuthorizeResult:
        return known

    # `SlackEvents` has verified the signatures of HTTP requests.
    return AsyncApp(
        logger=QUIET,
        client=AsyncWebClient(base_url=api_url),
        authorize=authorize,
        request_verification_enabled=False,
    )


async def at_most(seconds: float, what: str, work: Coroutine[Any, Any, None]) -> None:
    """Finish `work` during the shutdown, and log a warning if it takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("left unfinished", what=what)
